import postgres from 'postgres'
import { afterAll, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { RELEASE } from '../../src/db/release.ts'
import { limitsOf } from '../../src/gate/admit.ts'
import type { GateRequest } from '../../src/gate/decide.ts'
import { openGate } from '../../src/gate/gate.ts'
import { hashSecret, parseSecret } from '../../src/keys/secret.ts'
import {
  GATE_PROTOCOL,
  type GateObjectCalls,
  openGateObject,
} from '../../src/worker/gate-object.ts'
import { refused } from '../support/assertions.ts'
import { type DatabaseClockOfTest, openDatabaseClock } from '../support/database-clock.ts'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { type Isolate, openIsolate } from './isolate.ts'
import { startWorker } from './workerd.ts'

/** The name of the only object where `GATE_OBJECTS` is 1. */
const ONLY_OBJECT = 'gate-0-of-1'
/** The role of the workers, by which their sessions are told from others. */
const ROLE = 'gate_objects'
const POLL = { timeout: 20_000, interval: 20 }
/** A Worker waits 3 s for an object. */
const IN_TIME_MS = 2_500
/** An isolate waits 5 s before it probes an object that did not decide. */
const PROBE_PAUSE_MS = 5_000
/** An object decides nothing on an older reading of the database's release. */
const MAX_READING_AGE_MS = 10_000
const ANOTHER_PROTOCOL = `${GATE_PROTOCOL} and another one`
/** Of a key in a minute; the least that a key may have. */
const LIMIT = 10
const MIDDLE = Date.UTC(2031, 4, 6, 7, 20, 30, 123)
const NEXT_MINUTE = Date.UTC(2031, 4, 6, 7, 21)

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
    await expect.poll(sessions, POLL).toHaveLength(1)
    return () => worker.stop()
  })

  /** The Worker decides by itself until the object has replied to a probe. */
  async function reach(): Promise<void> {
    const { apiKey } = await newKey()
    await expect
      .poll(async () => {
        expect((await use(apiKey)).status).toBe(404)
        return logged.join('\n')
      }, POLL)
      .toContain('gate_object_reached')
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

  it.runIf(process.platform === 'linux')(
    'refuses what a late object may have counted, and decides the next requests by itself',
    async () => {
      const [late, other] = [await newKey(), await newKey()]
      const [session = 0] = await sessions()
      process.kill(session, 'SIGSTOP')
      try {
        const body = await refused(await use(late.apiKey), 'unavailable')
        expect(body.details).toEqual({ reason: 'gate_object' })
        const begun = performance.now()
        expect((await use(other.apiKey)).status).toBe(404)
        expect(performance.now() - begun).toBeLessThan(IN_TIME_MS)
        expect(await counted(other.keyId)).toBe(1)
        expect(logged.join('\n')).toContain('gate_object_unreachable')
        expect(await counted(late.keyId)).toBe(0)
      } finally {
        process.kill(session, 'SIGCONT')
      }
      // The session executes what it was sent before it notices that the object has closed it.
      await expect.poll(() => counted(late.keyId), POLL).toBe(1)
      expect((await use(late.apiKey)).status).toBe(404)
      expect(await counted(late.keyId)).toBe(2)
    },
  )

  it('has a decision of the object about a key whose counters are locked: it is busy, and not counted', async () => {
    const { apiKey, keyId } = await newKey()
    const lock = await holdCounters(keyId)
    const body = await refused(await use(apiKey), 'unavailable')
    expect(body.details).toEqual({ reason: 'key_busy' })
    await lock.release()
    expect(await counted(keyId)).toBe(0)
    expect((await use(apiKey)).status).toBe(404)
    expect(logged.join('\n')).not.toContain('gate_object_unreachable')
  })

  it('uses an object again once that has replied to a probe', async () => {
    const { apiKey, keyId } = await newKey()
    const lock = await holdCounters(keyId)
    const response = use(apiKey)
    await waitsForLock()
    await sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = ${ROLE}`
    await refused(await response, 'unavailable')
    await lock.release()
    logged = []
    service.clock.now += PROBE_PAUSE_MS
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
    // The object may notice it after the first request.
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
    return { hash: hashSecret(secret), ip: '127.0.0.1', scope: undefined }
  }
  const world = (maxWaiting: number) => {
    const { db, mac, log, watch, now, config } = service.world
    const gate = openGate(db, limitsOf(config), { mac, log, now, fixedTime: now, maxWaiting })
    return { db, log, watch, gate }
  }

  it('of another release decides nothing', async () => {
    const { apiKey, keyId } = await newKey()
    const object = openGateObject(Date.now, async () => world(100))
    expect(await object.probe(ANOTHER_PROTOCOL)).toBe(false)
    expect(await object.decide(ANOTHER_PROTOCOL, requestOf(apiKey))).toEqual({
      outcome: 'uncounted',
      why: 'other_release',
    })
    expect(await counted(keyId)).toBe(0)
    const reply = await object.decide(GATE_PROTOCOL, requestOf(apiKey))
    expect(reply).toMatchObject({ outcome: 'decided', decision: { ok: true } })
    expect(await counted(keyId)).toBe(1)
  })

  it('that cannot open, or that too many wait for, decides nothing, and opens later', async () => {
    const { apiKey, keyId } = await newKey()
    const faults = [new Error('the database is away')]
    const object = openGateObject(Date.now, async () => {
      const fault = faults.pop()
      if (fault !== undefined) throw fault
      return world(0)
    })
    for (const why of ['outage', 'overload'])
      expect(await object.decide(GATE_PROTOCOL, requestOf(apiKey))).toEqual({
        outcome: 'uncounted',
        why,
      })
    expect(await counted(keyId)).toBe(0)
  })
})

describe('an isolate and a gate object in another one', () => {
  let own: Service
  let client: postgres.Sql
  let clock: DatabaseClockOfTest
  let key: { apiKey: string; keyId: string }
  let object: GateObjectCalls
  let host: Isolate
  let isolate: Isolate
  beforeEach(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    own = await startService('Postgres', { databaseUrl })
    client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    clock = await openDatabaseClock(databaseUrl)
    key = await createKey(own, newWallet(own), { rateLimit: LIMIT })
    host = openIsolate(own, { databaseUrl: clock.databaseUrl })
    object = host.gateObject()
    isolate = openIsolate(own, { databaseUrl: clock.databaseUrl, objectOf: () => object })
    return async () => {
      await Promise.all([own.close(), clock.close()])
      await client`SELECT pg_terminate_backend(pid) FROM pg_stat_activity
        WHERE datname = current_database() AND pid <> pg_backend_pid()`
      await client.end()
    }
  })

  /** 404 is what a key sees that was let through. */
  const use = ({ apiKey } = key) =>
    isolate.fetch('/orders/unknown/execute', { method: 'POST', headers: { 'X-API-Key': apiKey } })

  /** As often as the key may be used in a minute. */
  async function useUp(): Promise<Response[]> {
    const responses: Response[] = []
    for (let at = 0; at < LIMIT; at++) responses.push(await use())
    expect(responses.map(({ status }) => status)).toEqual(Array(LIMIT).fill(404))
    return responses
  }

  async function uses(keyId = key.keyId): Promise<number> {
    const [row] =
      await client`SELECT total_requests::int AS total FROM key_counters WHERE key_id = ${keyId}`
    return row?.total
  }

  /** With a key of its own, until the object is used. */
  async function reach(): Promise<void> {
    const other = await createKey(own, newWallet(own), { rateLimit: 100 })
    while (!isolate.logged.some((line) => line.includes('gate_object_reached'))) {
      expect((await use(other)).status).toBe(404)
      await Promise.all(isolate.outliving)
    }
  }

  it('decide by the clock of Postgres, whatever their own clocks say', async () => {
    await clock.set(MIDDLE)
    host.clock.now = MIDDLE + 60_000
    isolate.clock.now = MIDDLE - 3_600_000
    await reach()
    for (const { headers } of await useUp())
      expect(headers.get('X-RateLimit-Reset')).toBe(String(NEXT_MINUTE / 1000))
    host.clock.now += 60_000
    await refused(await use(), 'rateLimited')
    await clock.set(NEXT_MINUTE)
    expect((await use()).status).toBe(404)
    expect(await uses()).toBe(LIMIT + 1)
  })

  it('refuse what the object is sent once its release is superseded, however long it was idle', async () => {
    await reach()
    expect((await use()).status).toBe(404)
    await client`INSERT INTO latchkey_releases (release, oldest) VALUES (${RELEASE + 1}, ${RELEASE + 1})`
    host.clock.now += MAX_READING_AGE_MS
    const body = await refused(await use(), 'unavailable')
    expect(body.details).toEqual({ reason: 'release' })
    expect(await uses()).toBe(1)
    expect(host.logged.join('\n')).toContain('release_superseded')
    expect(isolate.logged.join('\n')).not.toContain('release_superseded')
  })

  it.each<[string, () => GateObjectCalls]>([
    ['throws', () => ({ probe: unreachable, decide: unreachable })],
    ['is of another release', () => ofAnotherRelease(host.gateObject())],
  ])('do without an object that %s: each request is counted once', async (_, next) => {
    object = next()
    await useUp()
    await Promise.all(isolate.outliving)
    expect(isolate.logged.join('\n')).toContain('gate_object_unreachable')
    await refused(await use(), 'rateLimited')
    expect(await uses()).toBe(LIMIT)
  })

  it('do without an object that another release has replaced: each request is counted once', async () => {
    await reach()
    object = ofAnotherRelease(host.gateObject())
    await useUp()
    expect(isolate.logged.join('\n')).toContain('"other_release"')
    await refused(await use(), 'rateLimited')
    expect(await uses()).toBe(LIMIT)
  })
})

function unreachable(): Promise<never> {
  return Promise.reject(new Error('no object'))
}

/** An object to which this release is another one. */
function ofAnotherRelease({ probe, decide }: GateObjectCalls): GateObjectCalls {
  return {
    probe: () => probe(ANOTHER_PROTOCOL),
    decide: (_, request) => decide(ANOTHER_PROTOCOL, request),
  }
}
