import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest'
import { openGate } from '../../src/gate/gate.ts'
import type { World } from '../../src/world.ts'
import { fundedOperator, sharedEnv, startProcess } from '../support/process.ts'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'
import { contend } from '../support/workloads/contention.ts'

/** What one statement may take, and so the longest that anyone waits for another's. */
const TIMEOUT_MS = 5_000
const MAX_WAITING = 8

/** A gate with a short queue, which gathers only while a statement is under way: whoever comes first is asked for alone. */
function withSmallGate(world: World): World {
  const limits = { perMinute: 1_000, perHour: 1_000, perDay: 1_000 }
  const { db, mac, log, now, distribution } = world
  const options = { mac, log, now, distribution, maxWaiting: MAX_WAITING, maxStatements: 1 }
  return { ...world, gate: openGate(db, limits, options) }
}

describe('the gate', () => {
  let service: Service
  let admin: postgres.Sql
  beforeAll(async () => {
    service = await startService('Postgres', { change: withSmallGate })
    admin = postgres(service.databaseUrl, { max: 4, onnotice: () => {} })
  })
  afterAll(async () => {
    await Promise.all([service.close(), admin.end()])
  })

  const newKey = () => createKey(service, newWallet(service))

  /** 404 is what a key sees that was let through: the order is unknown. */
  async function ask({ apiKey }: { apiKey: string }, of = service) {
    const began = performance.now()
    const response = await of.call(
      `/orders/${randomUUID()}/execute`,
      json({}, { 'X-API-Key': apiKey }),
    )
    const { code } = (await response.json()) as { code: string }
    const retryAfter = response.headers.get('retry-after')
    return { status: response.status, code, retryAfter, ms: performance.now() - began }
  }

  interface Held {
    pid: number
    /** Resolves once a statement waits for the row. */
    isWanted(): Promise<void>
    release(): Promise<void>
  }

  /** Holds a key's counters in another session. */
  async function hold({ keyId }: { keyId: string }): Promise<Held> {
    const [taken, held] = [Promise.withResolvers<number>(), Promise.withResolvers<void>()]
    const session = admin.begin(async (tx) => {
      const [row] = await tx<{ pid: number }[]>`SELECT pg_backend_pid() AS pid
        FROM key_counters WHERE key_id = ${keyId} FOR UPDATE`
      taken.resolve(row?.pid ?? 0)
      await held.promise
    })
    const pid = await taken.promise
    const release = async () => {
      held.resolve()
      await session
    }
    onTestFinished(release)
    return { pid, isWanted: () => waitsFor(pid), release }
  }

  /** Resolves once a statement waits for a session, or when nothing will. */
  async function waitsFor(pid: number, unless = { done: false }): Promise<void> {
    const found = await admin`SELECT FROM pg_stat_activity
      WHERE datname = current_database() AND ${pid} = ANY (pg_blocking_pids(pid))`
    if (found.length === 0 && !unless.done) await waitsFor(pid, unless)
  }

  async function usage({ keyId }: { keyId: string }) {
    const [row] = await admin`SELECT total_requests::int AS total, minute_count AS minute
      FROM key_counters WHERE key_id = ${keyId}`
    return row
  }

  it('refuses with 503 and Retry-After, at once, whoever comes when its queue is full', async () => {
    const [stuck, other] = [await newKey(), await newKey()]
    const held = await hold(stuck)
    const first = ask(stuck)
    await held.isWanted()
    const waiting = Array.from({ length: MAX_WAITING }, () => ask(other))
    const late = await Promise.all(Array.from({ length: 20 }, () => ask(other)))
    for (const { status, code, retryAfter, ms } of late) {
      expect([status, code]).toEqual([503, 'UNAVAILABLE'])
      expect(Number(retryAfter)).toBeGreaterThanOrEqual(1)
      expect(ms).toBeLessThan(1_000)
    }
    await held.release()
    const answered = await Promise.all([first, ...waiting])
    expect(answered.map(({ status }) => status)).toEqual(Array(1 + MAX_WAITING).fill(404))
    expect(await usage(stuck)).toEqual({ total: 1, minute: 1 })
    expect(await usage(other)).toEqual({ total: MAX_WAITING, minute: MAX_WAITING })
  })

  it('answers 503 for a key whose row is held, and the others in time, and then all again', async () => {
    const stuck = await newKey()
    const others = await Promise.all([newKey(), newKey()])
    const held = await hold(stuck)
    const first = ask(stuck)
    await held.isWanted()
    const mixed = [stuck, ...others, stuck, ...others].map((key) => ask(key))
    const answers = await Promise.all([first, ...mixed])
    for (const { ms } of answers) expect(ms).toBeLessThan(TIMEOUT_MS)
    expect(answers.map(({ status }) => status)).toEqual([503, 503, 404, 404, 503, 404, 404])
    await held.release()
    const again = await Promise.all([stuck, ...others].map((key) => ask(key)))
    expect(again.map(({ status }) => status)).toEqual([404, 404, 404])
    expect(await usage(stuck)).toEqual({ total: 1, minute: 1 })
    for (const other of others) expect(await usage(other)).toEqual({ total: 3, minute: 3 })
  })

  it('of two services that share keys never waits in a circle, in whatever order the keys come', async () => {
    const other = await startService('Postgres', {
      databaseUrl: service.databaseUrl,
      env: secretsOf(service),
      change: withSmallGate,
    })
    onTestFinished(other.close)
    const [mine, theirs, ...shared] = await Promise.all(Array.from({ length: 5 }, newKey))
    if (mine === undefined || theirs === undefined) throw new Error('no keys')
    const sorted = await admin<{ id: string }[]>`SELECT id FROM api_keys
      WHERE id = ANY (${shared.map(({ keyId }) => keyId)}) ORDER BY id`
    const keys = sorted.map(({ id }) => shared.find(({ keyId }) => keyId === id) as typeof mine)
    const [first, middle, last] = keys as [typeof mine, typeof mine, typeof mine]

    for (const order of ORDERS)
      for (const pair of [
        [first, last],
        [last, first],
        [first, last],
        [last, first],
      ]) {
        // Each service has a statement under way while its next batch gathers.
        const held = {
          mine: await hold(mine),
          theirs: await hold(theirs),
          middle: await hold(middle),
        }
        const asked = [ask(mine), ...order.map((place) => ask(keys[place] as typeof mine))]
        const askedOther = [ask(theirs, other), ...pair.map((key) => ask(key, other))]
        await Promise.all([held.mine.isWanted(), held.theirs.isWanted()])
        await held.mine.release()
        await held.middle.isWanted()
        const [stuck] = await admin<{ pid: number }[]>`SELECT pid FROM pg_stat_activity
          WHERE datname = current_database() AND wait_event_type = 'Lock'
            AND ${held.middle.pid} = ANY (pg_blocking_pids(pid))`
        await held.theirs.release()
        const unless = { done: false }
        void Promise.all(askedOther).then(() => {
          unless.done = true
        })
        await waitsFor(stuck?.pid ?? 0, unless)
        await held.middle.release()
        asked.push(...askedOther)
        expect((await Promise.all(asked)).map(({ status }) => status)).toEqual(Array(7).fill(404))
      }
  })

  it('answers requests whose statement Postgres ended to break a circle with another program', async () => {
    const [mine, ...pair] = await Promise.all([newKey(), newKey(), newKey()])
    const [first, second] = await admin<{ id: string }[]>`SELECT id FROM api_keys
      WHERE id = ANY (${pair.map(({ keyId }) => keyId)}) ORDER BY key_hash`
    const held = await hold(mine as (typeof pair)[number])
    const asked = [ask(mine as (typeof pair)[number])]
    await held.isWanted()
    asked.push(...pair.map((key) => ask(key)))
    await admin.begin(async (tx) => {
      const [row] = await tx<{ pid: number }[]>`SELECT pg_backend_pid() AS pid
        FROM key_counters WHERE key_id = ${second?.id ?? ''} FOR UPDATE`
      await held.release()
      await waitsFor(row?.pid ?? 0)
      await tx`SELECT FROM key_counters WHERE key_id = ${first?.id ?? ''} FOR UPDATE`
    })
    expect((await Promise.all(asked)).map(({ status }) => status)).toEqual([404, 404, 404])
    for (const key of pair) expect(await usage(key)).toEqual({ total: 1, minute: 1 })
  })

  it('with several statements under way, lets those requests of a key pass that came first', async () => {
    const limits = { perMinute: 30, perHour: 1_000, perDay: 1_000 }
    const several = await startService('Postgres', {
      databaseUrl: service.databaseUrl,
      env: secretsOf(service),
      change: (world) => {
        const { db, mac, log, now } = world
        return { ...world, gate: openGate(db, limits, { mac, log, now, maxStatements: 4 }) }
      },
    })
    onTestFinished(several.close)
    const keys = await Promise.all(Array.from({ length: 8 }, newKey))
    const answers = await Promise.all(
      Array.from({ length: 320 }, (_, at) =>
        ask(keys[at % keys.length] as (typeof keys)[number], several),
      ),
    )
    for (const [place, key] of keys.entries()) {
      const statuses = answers.filter((_, at) => at % keys.length === place)
      expect(statuses.map(({ status }) => status)).toEqual([
        ...Array(30).fill(404),
        ...Array(10).fill(429),
      ])
      expect(await usage(key)).toEqual({ total: 30, minute: 30 })
    }
  })

  it('answers everyone but the one whose row the database will not write', async () => {
    const [poisoned, ...others] = await Promise.all([newKey(), newKey(), newKey(), newKey()])
    await admin.unsafe(`ALTER TABLE key_counters ADD CONSTRAINT poison
      CHECK (key_id <> '${poisoned.keyId}' OR total_requests = 0)`)
    const held = await hold(others[0] as (typeof others)[number])
    const first = ask(others[0] as (typeof others)[number])
    await held.isWanted()
    const batch = [...others, poisoned, ...others].map((key) => ask(key))
    await held.release()
    const [before, ...answers] = await Promise.all([first, ...batch])
    await admin`ALTER TABLE key_counters DROP CONSTRAINT poison`
    expect(before?.status).toBe(404)
    expect(answers.map(({ status }) => status)).toEqual([404, 404, 404, 500, 404, 404, 404])
    expect(await usage(poisoned)).toEqual({ total: 0, minute: 0 })
    expect(await usage(others[1] as (typeof others)[number])).toEqual({ total: 2, minute: 2 })
    expect((await ask(poisoned)).status).toBe(404)
  })
})

/** Every order in which three may come. */
const ORDERS = [
  [0, 1, 2],
  [0, 2, 1],
  [1, 0, 2],
  [1, 2, 0],
  [2, 0, 1],
  [2, 1, 0],
] as const

describe('two processes', () => {
  it('never wait for each other in a circle, whatever the order of their keys', async () => {
    const chain = { devnetUrl: inject('devnetUrl') }
    const databaseUrl = await freshDatabase('Postgres')
    const env = sharedEnv(databaseUrl, chain)
    const start = async () =>
      startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
    const [one, other] = await Promise.all([start(), start()])
    const tally = await contend({
      databaseUrl,
      processes: [one, other],
      requests: 1_500,
      callers: 128,
    })
    await Promise.all([one.stop(), other.stop()])
    expect(tally).toMatchObject({ requests: 1_500, unexpected: {}, deadlocks: 0, miscounted: 0 })
  })
})
