import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import {
  type DatabaseClockOfTest,
  openDatabaseClock,
  untilRead,
} from '../support/database-clock.ts'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { freshDatabase, type Service, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { type Door, revokeUnderLoad } from '../support/workloads/revocation.ts'

const MIDDLE = Date.UTC(2031, 4, 6, 7, 20, 30, 123)
const NEXT_MINUTE = Date.UTC(2031, 4, 6, 7, 21)
/** Three services, one after another, on a machine that may be busy. */
const START_MS = 180_000
const CALLERS = 24
/** `npm run soak` proves the same of Node with 10,000. */
const TRIALS = 40

describe('of two workerd processes with gate objects, one without and one of Node, on one Postgres,', () => {
  /** Each of the first two has an object for the same keys, as there are for a moment while the platform moves one. */
  let workers: [Service, Service, Service]
  let node: ServiceProcess
  let doors: Door[]
  let clock: DatabaseClockOfTest
  let sql: postgres.Sql

  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    clock = await openDatabaseClock(databaseUrl)
    const chain = { devnetUrl: inject('devnetUrl') }
    const env = {
      ...sharedEnv(clock.databaseUrl, chain),
      OPERATOR_PRIVATE_KEY: await fundedOperator(chain),
    }
    const start = (gateObjects: string) =>
      startService('workerd', {
        databaseUrl,
        env: { ...env, DATABASE_URL: databaseUrl, GATE_OBJECTS: gateObjects },
        maxConnections: 1,
      })
    node = await startProcess(env)
    workers = [await start('1'), await start('1'), await start('0')]
    for (const worker of workers.slice(0, 2)) await reachGateObject(worker)
    doors = [...workers.map(doorOf), node]
    sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  }, START_MS)
  afterAll(async () => {
    await Promise.all([node.stop(), sql.end(), clock.close()])
    for (const service of workers) await service.close()
  })

  async function setClocks(now: number): Promise<void> {
    for (const worker of workers) worker.clock.now = now
    await clock.set(now)
    await node.setClock(now)
    await untilRead(node, now)
  }

  /** Many requests at once, a quarter through each door. 404 is what a key sees that was let through. */
  async function burst(apiKey: string): Promise<number[]> {
    const answers = await Promise.all(
      Array.from({ length: 5 * CALLERS }, (_, place) =>
        (doors[place % 4] as Door).ask(`/orders/${randomUUID()}/execute`, {
          method: 'POST',
          key: apiKey,
        }),
      ),
    )
    expect(new Set(answers.map((answer) => answer?.status))).toEqual(new Set([404, 429]))
    return answers
      .filter((answer) => answer?.status === 404)
      .map((answer) => Number(answer?.headers['x-ratelimit-remaining']))
      .sort((one, other) => other - one)
  }

  it('a limit of 24 a minute lets exactly 24 of 120 pass, and each sees a remaining of its own', async () => {
    await setClocks(MIDDLE)
    const limits = { rateLimit: CALLERS }
    const { apiKey, keyId } = await createKey(workers[0], newWallet(workers[0]), limits)
    const [object] = workers
    object.statements.length = 0
    expect(await burst(apiKey)).toEqual(Array.from({ length: 24 }, (_, place) => 23 - place))
    // 30 requests came through this worker, and its object has gathered them.
    const counting = object.statements.filter((text) => text.includes('UPDATE key_counters'))
    expect(counting.length).toBeGreaterThan(0)
    expect(counting.length).toBeLessThan(25)
    await setClocks(NEXT_MINUTE)
    expect(await burst(apiKey)).toHaveLength(24)
    const [row] = await sql`SELECT minute_count, total_requests::int, successful_requests::int
      FROM key_counters WHERE key_id = ${keyId}`
    expect(row).toEqual({
      minute_count: 24,
      total_requests: 48,
      successful_requests: 0,
    })
  })

  it.each([
    ['a worker with another object', () => doorOf(workers[1])],
    ['a worker without objects', () => doorOf(workers[2])],
    ['the Node process', () => node],
  ])('no key is let through once a DELETE was answered: a worker with an object and %s', async (_, other) => {
    const now = Date.now()
    await clock.set(undefined)
    await node.setClock(undefined)
    await untilRead(node, now)
    for (const worker of workers) worker.clock.now = now
    const one = doorOf(workers[0])
    const tally = await revokeUnderLoad({ one, other: other(), trials: TRIALS, lanes: 4, users: 1 })
    expect(tally).toMatchObject({
      trials: TRIALS,
      freshRefused: 0,
      acceptedAfter: 0,
      unexpected: {},
    })
  })
})

/** The first requests of an isolate have statements of their own, until its object has replied to a probe. */
async function reachGateObject(worker: Service): Promise<void> {
  const { apiKey } = await createKey(worker, newWallet(worker))
  while (!worker.logged.some((line) => line.includes('gate_object_reached')))
    await worker.call('/me', { headers: { 'X-API-Key': apiKey } })
}

/** A worker, asked as processes are. */
function doorOf(service: Service): Door {
  return {
    clock: service.clock,
    call: service.call,
    async ask(path, { method = 'GET', key, json } = {}) {
      const response = await service.call(path, {
        method,
        headers: { ...(key !== undefined && { 'X-API-Key': key }) },
        ...(json !== undefined && { body: JSON.stringify(json) }),
      })
      const { status, headers } = response
      return { status, headers: Object.fromEntries(headers), body: await response.json(), ms: 0 }
    },
  }
}
