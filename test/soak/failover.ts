import { type Cluster, startCluster } from '../support/cluster.ts'
import { missingForPatroni, type PatroniCluster, startPatroni } from '../support/patroni.ts'
import type { Chain } from '../support/process.ts'
import { type Failover, type FailoverServers, failOver } from '../support/workloads/failover.ts'

interface Scenario {
  name: string
  isSynchronous: boolean
  run(chain: Chain, isSynchronous: boolean): Promise<Failover>
}

export interface Failovers {
  figures: Record<string, unknown>
  faults: string[]
}

const BACK_SECONDS = 5
/** What a client is told of a key that was lost. */
const OF_LOST = /KEY_NOT_FOUND$/
const CUT_OFF_MS = 1_000
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const plainly =
  (ways: (cluster: Cluster) => Pick<FailoverServers, 'fail' | 'comeBack'>): Scenario['run'] =>
  async (chain, isSynchronous) => {
    const cluster = await startCluster()
    try {
      if (isSynchronous) await cluster.setSynchronous(true)
      const { primary, standby, promote } = cluster
      const databaseUrl = await cluster.freshDatabase()
      const addresses = { databaseUrl, oldUrl: primary.url, newUrl: standby.url }
      return await failOver({ chain, servers: { ...addresses, promote, ...ways(cluster) } })
    } finally {
      await cluster.close()
    }
  }

const byPatroni =
  (
    ways: (cluster: PatroniCluster) => Pick<FailoverServers, 'fail' | 'comeBack'>,
  ): Scenario['run'] =>
  async (chain, isSynchronous) => {
    const cluster = await startPatroni({ isSynchronous })
    try {
      const { leader, standby } = cluster
      const databaseUrl = await cluster.freshDatabase()
      const addresses = { databaseUrl, oldUrl: leader.url, newUrl: standby.url }
      return await failOver({
        chain,
        servers: { ...addresses, promote: standby.leads, ...ways(cluster) },
      })
    } finally {
      await cluster.close()
    }
  }

/** Stands still from the failure to the return. */
function frozen(server: { freeze(): () => void }): Pick<FailoverServers, 'fail' | 'comeBack'> {
  let thaw = () => {}
  return {
    async fail() {
      thaw = server.freeze()
    },
    async comeBack() {
      thaw()
    },
  }
}

const PLAIN: readonly Scenario[] = [
  {
    name: 'plain, synchronous, primary killed',
    isSynchronous: true,
    run: plainly(({ primary }) => ({ fail: () => primary.stop('kill') })),
  },
  {
    name: 'plain, synchronous, primary stands still and returns',
    isSynchronous: true,
    run: plainly(({ primary }) => frozen(primary)),
  },
  {
    name: 'plain, asynchronous, primary stands still and returns',
    isSynchronous: false,
    run: plainly(({ primary }) => frozen(primary)),
  },
  {
    name: 'plain, asynchronous, standby cut off for a second, primary killed',
    isSynchronous: false,
    run: plainly(({ primary, standby, ask }) => ({
      async fail() {
        await ask(standby, `ALTER SYSTEM SET primary_conninfo = ''`)
        await ask(standby, 'SELECT pg_reload_conf()')
        await pause(CUT_OFF_MS)
        await primary.stop('kill')
      },
    })),
  },
]

const PATRONI: readonly Scenario[] = [
  {
    name: 'Patroni, synchronous, leader killed',
    isSynchronous: true,
    run: byPatroni(({ leader }) => ({ fail: leader.kill })),
  },
  {
    name: 'Patroni, synchronous, leader stands still and returns',
    isSynchronous: true,
    run: byPatroni(({ leader }) => frozen(leader)),
  },
  {
    name: 'Patroni, asynchronous, leader killed',
    isSynchronous: false,
    run: byPatroni(({ leader }) => ({ fail: leader.kill })),
  },
  {
    name: 'Patroni, asynchronous, switchover',
    isSynchronous: false,
    run: byPatroni(({ switchOver }) => ({ fail: async () => switchOver() })),
  },
]

/** Every scenario, some times over. Without Patroni its part is skipped, with a sentence. */
export async function failovers({
  chain,
  rounds,
  say,
}: {
  chain: Chain
  rounds: number
  say: (text: string) => void
}): Promise<Failovers> {
  const missing = missingForPatroni()
  if (missing !== undefined) say(`failover: ${missing}`)
  const scenarios = missing === undefined ? [...PLAIN, ...PATRONI] : PLAIN
  const total = {
    failovers: 0,
    requests: 0,
    acknowledged: 0,
    lost: 0,
    lostSynchronously: 0,
    wrong: 0,
  }
  let slowestSecondsUntilBack = 0
  const faults: string[] = []
  for (let round = 0; round < rounds; round++)
    for (const { name, isSynchronous, run } of scenarios) {
      const outcome = await run(chain, isSynchronous)
      const lost = Object.values(outcome.lost).reduce((sum, count) => sum + count, 0)
      total.failovers++
      total.requests += outcome.requests
      total.acknowledged += outcome.acknowledged
      total.lost += lost
      total.lostSynchronously += isSynchronous ? lost : 0
      total.wrong += outcome.wrong
      slowestSecondsUntilBack = Math.max(slowestSecondsUntilBack, outcome.secondsUntilBack)
      const losses = Object.entries(outcome.lost).filter(([, count]) => count > 0)
      const named = losses.map(([what, count]) => `${count} ${what}`).join(', ')
      say(
        `failover: ${name}: ${outcome.requests} requests, ${outcome.acknowledged} acknowledged, lost ${named || 'nothing'}, ${outcome.wrong} wrong, back after ${outcome.secondsUntilBack} s, the last 503 after ${outcome.secondsDisturbed} s`,
      )
      faults.push(...faultsOf(outcome, isSynchronous).map((fault) => `${name}: ${fault}`))
    }
  return { figures: { ...total, slowestSecondsUntilBack }, faults }
}

function faultsOf(outcome: Failover, isSynchronous: boolean): string[] {
  const { wrong, unexpected, secondsUntilBack, dishonestProbes, sessionsOnOld, died } = outcome
  return [
    ...(wrong === 0 ? [] : [`${wrong} let through after their revocation`]),
    ...Object.entries(unexpected)
      .filter(([what]) => isSynchronous || !OF_LOST.test(what))
      .map(([what, count]) => `${count} x ${what}`),
    ...(secondsUntilBack < BACK_SECONDS ? [] : [`back after ${secondsUntilBack} s only`]),
    ...dishonestProbes.map((probe) => `readiness was ${probe}`),
    ...sessionsOnOld.map((session) => `a session on the old primary: ${session}`),
    ...(isSynchronous ? outcome.mismatches : []),
    ...died,
  ]
}
