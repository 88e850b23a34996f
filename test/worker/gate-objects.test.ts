import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { limitsOf } from '../../src/gate/admit.ts'
import type { GateRequest } from '../../src/gate/decide.ts'
import { openGate } from '../../src/gate/gate.ts'
import { hashSecret, parseSecret } from '../../src/keys/secret.ts'
import { GATE_PROTOCOL, openGateObject } from '../../src/worker/gate-object.ts'
import { refused } from '../support/assertions.ts'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { startWorker } from './workerd.ts'

/** The name of the only object where `GATE_OBJECTS` is 1. */
const ONLY_OBJECT = 'gate-0-of-1'
/** The role of the workers, by which their sessions are told from others. */
const ROLE = 'gate_objects'
const POLL = { timeout: 20_000, interval: 20 }
/** A Worker stops waiting for an object after 3 s. */
const IN_TIME_MS = 2_500
/** An isolate knocks again at an object that it left after 5 s. */
const KNOCK_PAUSE_MS = 5_000

let service: Service
let sql: postgres.Sql
beforeAll(async () => {
  const databaseUrl = await freshDatabase('Postgres')
  service = await startService('Postgres', { databaseUrl })
  sql = postgres(databaseUrl, { max: 4, onnotice: () => {} })
  await sql.unsafe(`CREATE ROLE ${ROLE} SUPERUSER LOGIN PASSWORD '${ROLE}'`)
})
afterAll(async () => {
  await Promise.all([service.close(), sql.end()])
})

const newKey = () => createKey(service, newWallet(service))

async function counted(keyId: string): Promise<number> {
  const [row] =
    await sql`SELECT total_requests::int AS total FROM key_counters WHERE key_id = ${keyId}`
  return row?.total
}

describe('a worker with one gate object', () => {
  let worker: Awaited<ReturnType<typeof startWorker>>
  let logged: string[]
  beforeEach(async () => {
    logged = []
    const url = new URL(service.databaseUrl)
    Object.assign(url, { username: ROLE, password: ROLE })
    worker = await startWorker(inject('runFolder'), url.href, {
      ...secretsOf(service),
      GATE_OBJECTS: '1',
      STACKS_API_URL: inject('devnetUrl'),
      QUOTE_URL: `${inject('devnetUrl')}/quote`,
    })
    await reach()
    return () => worker.stop()
  })

  /** The Worker decides by itself until the object has answered its knock. */
  async function reach(): Promise<void> {
    const { apiKey } = await newKey()
    await expect
      .poll(async () => {
        expect((await use(apiKey)).status).toBe(404)
        return logged.join('\n')
      }, POLL)
      .toContain('gate_object_reached')
    await expect.poll(sessions, POLL).toHaveLength(1)
  }

  /** 404 is what a key sees that was let through. */
  async function use(apiKey: string): Promise<Response> {
    const { response, trace } = await worker.call('/api/v1/orders/unknown/execute', {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
      now: service.clock.now,
    })
    logged.push(...trace.logged)
    return response
  }

  /** The worker's sessions, which are the object's once no request is under way. */
  async function sessions(): Promise<number[]> {
    const found = await sql`SELECT pid FROM pg_stat_activity WHERE usename = ${ROLE}`
    return found.map(({ pid }) => pid)
  }

  /** Holds the counters of a key, so that a statement which counts its requests waits, until `release`. */
  async function holdCounters(keyId: string): Promise<{ release(): Promise<unknown> }> {
    const held = Promise.withResolvers<void>()
    const released = Promise.withResolvers<void>()
    const over = sql.begin(async (tx) => {
      await tx`SELECT FROM key_counters WHERE key_id = ${keyId} FOR UPDATE`
      held.resolve()
      await released.promise
    })
    await held.promise
    return {
      release() {
        released.resolve()
        return over
      },
    }
  }

  async function waitsForLock(): Promise<void> {
    const waiting = () =>
      sql`SELECT FROM pg_stat_activity WHERE usename = ${ROLE} AND wait_event_type = 'Lock'`
    await expect.poll(waiting, POLL).toHaveLength(1)
  }

  it('has no session but those of the object, however many requests there are', async () => {
    const [one, other] = [await newKey(), await newKey()]
    const before = await sessions()
    const responses = await Promise.all(
      Array.from({ length: 60 }, (_, at) => use((at % 2 === 0 ? one : other).apiKey)),
    )
    expect(responses.map(({ status }) => status)).toEqual(Array(60).fill(404))
    const after = await sessions()
    expect(after).toEqual(expect.arrayContaining(before))
    expect(after.length).toBeLessThanOrEqual(2)
    expect([await counted(one.keyId), await counted(other.keyId)]).toEqual([30, 30])
  })

  it('refuses what a late object may have counted, and decides the next requests by itself', async () => {
    const [late, other] = [await newKey(), await newKey()]
    const lock = await holdCounters(late.keyId)
    const response = use(late.apiKey)
    await waitsForLock()
    const body = await refused(await response, 'unavailable')
    expect(body.details).toEqual({ reason: 'gate_object' })

    const begun = performance.now()
    expect((await use(other.apiKey)).status).toBe(404)
    expect(performance.now() - begun).toBeLessThan(IN_TIME_MS)
    expect(await counted(other.keyId)).toBe(1)
    expect(logged.join('\n')).toContain('gate_object_left')

    await lock.release()
    await expect.poll(() => counted(late.keyId), POLL).toBe(1)
    expect((await use(late.apiKey)).status).toBe(404)
    expect(await counted(late.keyId)).toBe(2)
  })

  it('returns to an object that it left once the object answers a knock', async () => {
    const { apiKey, keyId } = await newKey()
    const lock = await holdCounters(keyId)
    const response = use(apiKey)
    await waitsForLock()
    await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${ROLE}`
    await refused(await response, 'unavailable')
    await lock.release()
    logged = []
    service.clock.now += KNOCK_PAUSE_MS
    await reach()
  })

  it('refuses what was under way when the object lost its connection, and goes on with another one', async () => {
    const { apiKey, keyId } = await newKey()
    const lock = await holdCounters(keyId)
    const response = use(apiKey)
    await waitsForLock()
    await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${ROLE}`
    await refused(await response, 'unavailable')
    await lock.release()
    expect(await counted(keyId)).toBe(0)
    expect((await use(apiKey)).status).toBe(404)
    expect(await counted(keyId)).toBe(1)
  })

  it('goes on with another connection when the object lost an idle one, and counts what it lets through', async () => {
    const { apiKey, keyId } = await newKey()
    const [before] = await sessions()
    await sql`SELECT pg_terminate_backend(${before ?? 0})`
    await expect.poll(sessions, POLL).toEqual([])
    // The object may hear of it after the first request.
    const first = (await use(apiKey)).status
    const passed = first === 404 ? 1 : 0
    if (passed === 0) expect(first).toBe(503)
    expect(await counted(keyId)).toBe(passed)
    expect((await use(apiKey)).status).toBe(404)
    expect(await counted(keyId)).toBe(passed + 1)
  })

  it('refuses what was under way when the object died, counts it once at most, and goes on with the next one', async () => {
    const { apiKey, keyId } = await newKey()
    const lock = await holdCounters(keyId)
    const begun = performance.now()
    const response = use(apiKey)
    await waitsForLock()
    await worker.killGateObject(ONLY_OBJECT)
    await refused(await response, 'unavailable')
    expect(performance.now() - begun).toBeLessThan(IN_TIME_MS)
    await lock.release()
    await expect.poll(sessions, POLL).toEqual([])
    const before = await counted(keyId)
    expect([0, 1]).toContain(before)
    expect((await use(apiKey)).status).toBe(404)
    expect(await counted(keyId)).toBe(before + 1)
  })
})

describe('a gate object', () => {
  const requestOf = (apiKey: string): GateRequest => {
    const secret = parseSecret(service.world.config.KEY_PREFIX, apiKey)
    if (secret === undefined) throw new Error('not a key')
    const { now } = service.clock
    return { hash: hashSecret(secret), ip: '127.0.0.1', scope: undefined, now }
  }
  const world = (maxWaiting: number) => {
    const { db, mac, log, config } = service.world
    return { db, log, gate: openGate(db, limitsOf(config), { mac, log, maxWaiting }) }
  }

  it('of another release decides nothing, and says so', async () => {
    const { apiKey, keyId } = await newKey()
    const object = openGateObject(async () => world(100))
    expect(await object.knock(GATE_PROTOCOL + 1)).toBe(false)
    expect(await object.decide(GATE_PROTOCOL + 1, requestOf(apiKey))).toEqual({
      outcome: 'uncounted',
    })
    expect(await counted(keyId)).toBe(0)
    const reply = await object.decide(GATE_PROTOCOL, requestOf(apiKey))
    expect(reply).toMatchObject({ outcome: 'decided', decision: { ok: true } })
    expect(await counted(keyId)).toBe(1)
  })

  it('that cannot open, or that too many wait for, decides nothing, and says so', async () => {
    const { apiKey, keyId } = await newKey()
    const faults = [new Error('the database is away')]
    const object = openGateObject(async () => {
      const fault = faults.pop()
      if (fault !== undefined) throw fault
      return world(0)
    })
    for (const _ of ['closed', 'overloaded'])
      expect(await object.decide(GATE_PROTOCOL, requestOf(apiKey))).toEqual({
        outcome: 'uncounted',
      })
    expect(await counted(keyId)).toBe(0)
  })
})
