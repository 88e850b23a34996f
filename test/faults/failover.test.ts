import { randomUUID } from 'node:crypto'
import { setTimeout } from 'node:timers/promises'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { type Cluster, startCluster } from '../support/cluster.ts'
import { fundedOperator, sharedEnv, startProcess } from '../support/process.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { type Failover, type FailoverServers, failOver } from '../support/workloads/failover.ts'
import type { Lost } from '../support/workloads/ledger.ts'

const FAILOVER_MS = 180_000
const BACK_SECONDS = 5
/** A process that stood still for more than 1.2 s notices it. One that stood still for less is as one that has not surveyed yet. */
const NOTICED_MS = 1_500
const NOTHING: Lost = {
  created: 0,
  cancelled: 0,
  executed: 0,
  granted: 0,
  revoked: 0,
  counts: 0,
}

let cluster: Cluster
const stop: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const one of stop.splice(0).reverse()) await one()
})

async function newCluster(): Promise<Cluster> {
  cluster = await startCluster()
  stop.push(cluster.close)
  return cluster
}

const chain = () => ({ devnetUrl: inject('devnetUrl') })

async function serversOf(
  { primary, standby, promote }: Cluster,
  ways: Pick<FailoverServers, 'fail'> & Partial<FailoverServers>,
): Promise<FailoverServers> {
  const databaseUrl = await cluster.freshDatabase()
  return { databaseUrl, oldUrl: primary.url, newUrl: standby.url, promote, ...ways }
}

function holds(outcome: Failover): void {
  expect(outcome).toMatchObject({
    wrong: 0,
    unexpected: {},
    dishonestProbes: [],
    sessionsOnOld: [],
    died: [],
  })
  expect(outcome.secondsUntilBack).toBeLessThan(BACK_SECONDS)
  expect(outcome.secondsDisturbed).toBeLessThan(BACK_SECONDS)
  expect(outcome.acknowledged).toBeGreaterThan(50)
}

describe('after a promotion under load', () => {
  it('with a synchronous standby no acknowledged success is lost, and the service is back within 5 s', {
    timeout: FAILOVER_MS,
  }, async () => {
    await (await newCluster()).setSynchronous(true)
    const servers = await serversOf(cluster, { fail: () => cluster.primary.stop('kill') })
    const outcome = await failOver({ chain: chain(), servers })
    holds(outcome)
    expect(outcome.lost).toEqual(NOTHING)
    expect(outcome.mismatches).toEqual([])
  })

  it('an old primary that stood still and goes on gives no yes, with an asynchronous standby', {
    timeout: FAILOVER_MS,
  }, async () => {
    await newCluster()
    let thaw = () => {}
    const servers = await serversOf(cluster, {
      async fail() {
        thaw = cluster.primary.freeze()
      },
      async comeBack() {
        thaw()
      },
    })
    holds(await failOver({ chain: chain(), servers }))
  })

  it('a process that stood still meanwhile uses no session on the old primary, which still takes writes', {
    timeout: FAILOVER_MS,
  }, async () => {
    const { standby, ask, promote } = await newCluster()
    const env = sharedEnv(await cluster.freshDatabase(), chain())
    const start = async () =>
      startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain()) })
    const [still, other] = await Promise.all([start(), start()])
    stop.push(still.stop, other.stop)
    const wallet = newWallet(other)
    const { apiKey, keyId } = await createKey(other, wallet)
    const use = (through: typeof still) =>
      through.ask(`/orders/${randomUUID()}/execute`, { method: 'POST', key: apiKey })
    const before = await Promise.all(Array.from({ length: 20 }, () => use(still)))
    expect(before.map((answer) => answer?.status)).toEqual(Array(20).fill(404))
    await cluster.caughtUp()

    process.kill(still.pid, 'SIGSTOP')
    const stoodStill = setTimeout(NOTICED_MS)
    await promote()
    const sessions = async () =>
      (await ask(standby, `SELECT FROM pg_stat_activity WHERE application_name = 'latchkey'`))
        .length
    while ((await sessions()) === 0) await use(other)
    const json = wallet.sign({ action: 'delete_api_key', keyId })
    const revoked = await other.ask(`/api-keys/${keyId}`, { method: 'DELETE', json })
    expect(revoked?.status).toBe(200)
    const late = Array.from({ length: 20 }, () => use(still))
    await stoodStill
    process.kill(still.pid, 'SIGCONT')
    const statuses = (await Promise.all(late)).map((answer) => answer?.status)
    expect(statuses.filter((status) => status !== 401 && status !== 503)).toEqual([])
  })
})
