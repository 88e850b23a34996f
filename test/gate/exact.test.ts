import { randomUUID } from 'node:crypto'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, inject, it } from 'vitest'
import { fundedOperator, sharedEnv, startProcess } from '../support/process.ts'
import { writeMacs } from '../support/remac.ts'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'

const SECOND = 1_000
const MINUTE = 60 * SECOND
const HOUR = 60 * MINUTE
const DAY = 24 * HOUR
/** A clock stands wherever a test puts it: here in the middle of a minute, an hour and a day. */
const MIDDLE = Date.UTC(2031, 4, 6, 7, 20, 30, 123)

const LIMITS = { RATE_LIMIT_PER_MINUTE: '24', RATE_LIMIT_PER_HOUR: '60', RATE_LIMIT_PER_DAY: '130' }
const CALLERS = 24

/** What a bot sees of one request. */
interface Seen {
  status: number
  remaining: number
  resetAt: number
  windowSeconds: number
  retryAfter: number | undefined
  details: Record<string, unknown> | undefined
}

/** Two ways into one service. The request finds no order: 404 is what a key sees that was let through and counted. */
interface Pair {
  doors: ((apiKey: string) => Promise<Seen>)[]
  setClocks(one: number, other?: number): Promise<void>
  newKey(): Promise<{ apiKey: string; keyId: string }>
  databaseUrl: string
  close(): Promise<void>
}

describe.each([
  ['services with 24 connections each', pairOfServices],
  ['processes', pairOfProcesses],
])('through two %s', (_, open) => {
  let pair: Pair
  let rows: ReturnType<typeof keyRows>
  beforeAll(async () => {
    pair = await open()
    rows = keyRows(pair.databaseUrl)
  })
  afterAll(async () => {
    await Promise.all([pair.close(), rows.close()])
  })
  beforeEach(() => pair.setClocks(MIDDLE))

  /** Many requests at once, half through each door. */
  async function burst(apiKey: string, requests: number) {
    const seen = await Promise.all(
      Array.from({ length: requests }, (_, place) =>
        (pair.doors[place % 2] as Pair['doors'][number])(apiKey),
      ),
    )
    expect(new Set(seen.map(({ status }) => status))).toEqual(
      new Set(seen.map(({ status }) => (status === 404 ? 404 : 429))),
    )
    return {
      admitted: seen.filter(({ status }) => status === 404),
      refused: seen.filter(({ status }) => status === 429),
    }
  }

  it('a limit of 24 a minute lets exactly 24 of 120 pass, and each sees a remaining of its own', async () => {
    const { apiKey, keyId } = await pair.newKey()
    const { admitted, refused } = await burst(apiKey, 5 * CALLERS)
    expect(descending(admitted)).toEqual(countdown(24))
    expect(new Set(refused.map(({ remaining }) => remaining))).toEqual(new Set([0]))
    expect(await rows.of(keyId)).toMatchObject({
      minute_count: 24,
      hour_count: 24,
      day_count: 24,
      total_requests: 24,
      successful_requests: 0,
    })
  })

  it('exactly the limit passes straight after a boundary of the minute, the hour and the day', async () => {
    const { apiKey, keyId } = await pair.newKey()
    const admittedAt = async (now: number) => {
      await pair.setClocks(now)
      return (await burst(apiKey, 5 * CALLERS)).admitted.length
    }
    expect(await admittedAt(MIDDLE)).toBe(24)
    expect(await admittedAt(startOf(MINUTE, 1) - 1)).toBe(0)
    expect(await admittedAt(startOf(MINUTE, 1))).toBe(24)
    expect(await admittedAt(startOf(MINUTE, 2))).toBe(12)
    expect(await rows.of(keyId)).toMatchObject({ minute_count: 12, hour_count: 60, day_count: 60 })
    expect(await admittedAt(startOf(HOUR, 1) - 1)).toBe(0)
    expect(await admittedAt(startOf(HOUR, 1))).toBe(24)
    expect(await admittedAt(startOf(HOUR, 1) + MINUTE)).toBe(24)
    expect(await admittedAt(startOf(HOUR, 2))).toBe(22)
    expect(await rows.of(keyId)).toMatchObject({ minute_count: 22, hour_count: 22, day_count: 130 })
    expect(await admittedAt(startOf(DAY, 1) - 1)).toBe(0)
    expect(await admittedAt(startOf(DAY, 1))).toBe(24)
    expect(await rows.of(keyId)).toMatchObject({ day_count: 24, total_requests: 154 })
  })

  it('no window lets more than its limit pass while the two clocks are on either side of its start', async () => {
    const { apiKey, keyId } = await pair.newKey()
    const boundary = startOf(MINUTE, 1)
    await pair.setClocks(boundary - 2 * SECOND, boundary + 1 * SECOND)
    const { admitted } = await burst(apiKey, 5 * CALLERS)
    const before = admitted.filter(({ resetAt }) => resetAt === boundary / SECOND)
    const after = admitted.filter(({ resetAt }) => resetAt === (boundary + MINUTE) / SECOND)
    expect(before.length + after.length).toBe(admitted.length)
    expect(descending(after)).toEqual(countdown(24))
    expect(descending(before)).toEqual(countdown(24).slice(0, before.length))
    expect(await rows.of(keyId)).toMatchObject({
      minute_window: boundary / MINUTE,
      minute_count: 24,
      total_requests: admitted.length,
    })
    expect((await burst(apiKey, CALLERS)).admitted).toEqual([])
    await pair.setClocks(boundary + 2 * SECOND, boundary - 1 * SECOND)
    expect((await burst(apiKey, CALLERS)).admitted).toEqual([])
  })

  it('a minute that is used up lets only the next one pass, whichever clock gets there first', async () => {
    const { apiKey } = await pair.newKey()
    const boundary = startOf(MINUTE, 1)
    await pair.setClocks(boundary - 3 * SECOND)
    expect((await burst(apiKey, 2 * CALLERS)).admitted).toHaveLength(24)
    await pair.setClocks(boundary, boundary - 3 * SECOND)
    const { admitted } = await burst(apiKey, 5 * CALLERS)
    expect(admitted).toHaveLength(24)
    expect(new Set(admitted.map(({ resetAt }) => resetAt))).toEqual(
      new Set([(boundary + MINUTE) / SECOND]),
    )
  })

  it('a burst that the hour or the day refuses leaves the key as it was', async () => {
    const { apiKey, keyId } = await pair.newKey()
    for (const minute of [0, 1, 2]) {
      await pair.setClocks(startOf(MINUTE, minute))
      await burst(apiKey, CALLERS)
    }
    const hourUsedUp = await rows.of(keyId)
    expect(hourUsedUp).toMatchObject({ minute_count: 12, hour_count: 60, day_count: 60 })
    for (const minute of [2, 3]) {
      await pair.setClocks(startOf(MINUTE, minute))
      const { refused } = await burst(apiKey, CALLERS)
      expect(refused).toHaveLength(CALLERS)
      expect(await rows.of(keyId)).toEqual(hourUsedUp)
    }
    for (const [hour, minute] of [
      [1, 0],
      [1, 1],
      [1, 2],
      [2, 0],
    ] as const) {
      await pair.setClocks(startOf(HOUR, hour) + minute * MINUTE)
      await burst(apiKey, CALLERS)
    }
    const dayUsedUp = await rows.of(keyId)
    expect(dayUsedUp).toMatchObject({ minute_count: 10, hour_count: 10, day_count: 130 })
    for (const later of [0, MINUTE, HOUR]) {
      await pair.setClocks(startOf(HOUR, 2) + later)
      const { refused } = await burst(apiKey, CALLERS)
      expect(refused).toHaveLength(CALLERS)
      expect(await rows.of(keyId)).toEqual(dayUsedUp)
    }
  })

  it('Retry-After is the wait until every window has room, to the second', async () => {
    const { apiKey } = await pair.newKey()
    const door = pair.doors[0] as Pair['doors'][number]
    const waits = async (now: number, until: number) => {
      await pair.setClocks(now)
      const { refused } = await burst(apiKey, CALLERS + 1)
      expect(new Set(refused.map(({ retryAfter }) => retryAfter))).toEqual(
        new Set([Math.ceil((until - now) / SECOND)]),
      )
      await pair.setClocks(until - 1)
      expect((await door(apiKey)).status).toBe(429)
      return until
    }
    let now = MIDDLE
    for (const until of [
      startOf(MINUTE, 1),
      startOf(MINUTE, 2),
      startOf(HOUR, 1),
      startOf(HOUR, 1) + MINUTE,
      startOf(HOUR, 1) + 2 * MINUTE,
      startOf(HOUR, 2),
      startOf(DAY, 1),
    ])
      now = await waits(now, until)
    await pair.setClocks(now)
    expect((await door(apiKey)).status).toBe(404)
  })
})

describe('a key', () => {
  let service: Service
  let rows: ReturnType<typeof keyRows>
  const extra: Service[] = []
  beforeAll(async () => {
    service = await startService('Postgres')
    rows = keyRows(service.databaseUrl)
  })
  afterAll(async () => {
    await Promise.all([service.close(), rows.close()])
  })
  beforeEach(() => {
    service.clock.now = MIDDLE
  })
  afterEach(() => Promise.all(extra.splice(0).map((other) => other.close())))

  /** The same service with another configuration. */
  async function withConfiguration(env: Record<string, string>): Promise<Service> {
    const other = await startService('Postgres', {
      databaseUrl: service.databaseUrl,
      env: { ...env, ...secretsOf(service) },
    })
    other.clock.now = service.clock.now
    extra.push(other)
    return other
  }
  const newKey = (members = {}) => createKey(service, newWallet(service), members)

  it('that asks once a minute for a day is never refused at 100 an hour', async () => {
    const hourly = await withConfiguration({ RATE_LIMIT_PER_HOUR: '100' })
    const { apiKey, keyId } = await newKey()
    const statuses = new Set<number>()
    for (let minute = 0; minute < 1_440; minute++) {
      hourly.clock.now = MIDDLE + minute * MINUTE
      statuses.add((await ask(hourly, apiKey)).status)
    }
    expect(statuses).toEqual(new Set([404]))
    expect(await rows.of(keyId)).toMatchObject({ total_requests: 1_440, minute_count: 1 })
  })

  it('loses nothing to a request that is refused before its limits are asked', async () => {
    const expiring = { expiresAt: new Date(MIDDLE + HOUR).toISOString() }
    const keys = { ok: await newKey(), expired: await newKey(expiring) }
    const [revoked, suspended, elsewhere] = await Promise.all([newKey(), newKey(), newKey()])
    await rows.change`UPDATE api_keys SET revoked_at = now() WHERE id = ${revoked.keyId}`
    await rows.change`UPDATE api_keys SET suspended_at = now() WHERE id = ${suspended.keyId}`
    await rows.change`UPDATE api_keys SET ip_allowlist = '{192.0.2.0/24}' WHERE id = ${elsewhere.keyId}`
    const all = [keys.ok, keys.expired, revoked, suspended, elsewhere]
    const before = await Promise.all(all.map(({ keyId }) => rows.of(keyId)))

    service.clock.now = MIDDLE + HOUR
    const asked = await Promise.all(
      [
        `${keys.ok.apiKey.slice(0, -1)}-`,
        `${keys.ok.apiKey.slice(0, -6)}000000`,
        keys.expired.apiKey,
        revoked.apiKey,
        suspended.apiKey,
        elsewhere.apiKey,
      ].flatMap((apiKey) => [ask(service, apiKey), ask(service, apiKey)]),
    )
    expect(asked.map(({ status, details }) => [status, details?.reason])).toEqual(
      twice([
        [401, undefined],
        [401, undefined],
        [401, 'expired'],
        [401, 'revoked'],
        [401, 'suspended'],
        [403, undefined],
      ]),
    )
    expect(await Promise.all(all.map(({ keyId }) => rows.of(keyId)))).toEqual(before)
  })

  it('pays for a request that lacks a permission or names no order', async () => {
    const { apiKey, keyId } = await newKey({ permissions: ['create'] })
    expect(await ask(service, apiKey)).toMatchObject({ status: 403, remaining: 99 })
    expect(await rows.of(keyId)).toMatchObject({ minute_count: 1, total_requests: 1 })
  })

  it('may have a limit of its own, lower or higher than the one configured', async () => {
    const [low, high] = [await newKey(), await newKey()]
    await rows.change`UPDATE api_keys SET rate_limit_per_minute = 3 WHERE id = ${low.keyId}`
    await rows.change`UPDATE api_keys SET rate_limit_per_minute = 150 WHERE id = ${high.keyId}`
    for (const { keyId } of [low, high])
      await writeMacs(service.world.db, service.world.mac, sql`id = ${keyId}`)
    const admitted = async ({ apiKey }: { apiKey: string }) => {
      const seen = await Promise.all(Array.from({ length: 200 }, () => ask(service, apiKey)))
      return descending(seen.filter(({ status }) => status === 404))
    }
    expect(await admitted(low)).toEqual(countdown(3))
    expect(await admitted(high)).toEqual(countdown(150))
  })

  it('is held to the limits as they are configured now, not as they were when it was made', async () => {
    const { apiKey } = await newKey()
    const tight = await withConfiguration({ RATE_LIMIT_PER_MINUTE: '5' })
    const wide = await withConfiguration({ RATE_LIMIT_PER_MINUTE: '12', RATE_LIMIT_PER_HOUR: '9' })
    const admitted = async (by: Service) => {
      const seen = await Promise.all(Array.from({ length: 20 }, () => ask(by, apiKey)))
      return seen.filter(({ status }) => status === 404).length
    }
    expect(await admitted(tight)).toBe(5)
    expect(await admitted(tight)).toBe(0)
    expect(await admitted(wide)).toBe(4)
    expect(await ask(tight, apiKey)).toMatchObject({ status: 429, remaining: 0 })
  })

  it('lets those pass who came first, from whatever address', async () => {
    const few = await withConfiguration({ RATE_LIMIT_PER_MINUTE: '9' })
    const { apiKey } = await newKey()
    const other = await newKey()
    // The first is answered by itself; the others gather meanwhile.
    const seen = await Promise.all(
      Array.from({ length: 24 }, (_, place) =>
        ask(few, place % 5 === 4 ? other.apiKey : apiKey, `192.0.2.${place % 3}`),
      ),
    )
    const mine = seen.filter((_, place) => place % 5 !== 4)
    expect(mine.map(({ status }) => status)).toEqual([
      ...Array(9).fill(404),
      ...Array(mine.length - 9).fill(429),
    ])
    expect(mine.slice(0, 9).map(({ remaining }) => remaining)).toEqual(countdown(9))
  })

  it('is told what is left of the window that binds, of two alike the shortest', async () => {
    const even = await withConfiguration({
      RATE_LIMIT_PER_MINUTE: '4',
      RATE_LIMIT_PER_HOUR: '4',
      RATE_LIMIT_PER_DAY: '6',
    })
    const { apiKey } = await newKey()
    const [minute, hour, day] = [startOf(MINUTE, 1), startOf(HOUR, 1), startOf(DAY, 1)]
    const headers = async (now: number) => {
      even.clock.now = now
      return namedHeaders(await send(even, apiKey))
    }
    const state = (now: number, left: number[]) =>
      ['minute', 'hour', 'day']
        .map((name, at) => {
          const end = [Math.floor(now / MINUTE) * MINUTE + MINUTE, hour, day][at] as number
          return `"${name}";r=${left[at]};t=${Math.ceil((end - now) / SECOND)}`
        })
        .join(', ')
    expect(await headers(MIDDLE)).toEqual({
      'x-ratelimit-limit': '4',
      'x-ratelimit-remaining': '3',
      'x-ratelimit-reset': String(minute / SECOND),
      'x-ratelimit-window': '60',
      'ratelimit-policy': '"minute";q=4;w=60, "hour";q=4;w=3600, "day";q=6;w=86400',
      ratelimit: state(MIDDLE, [3, 3, 5]),
    })
    expect(await headers(minute)).toMatchObject({
      'x-ratelimit-limit': '4',
      'x-ratelimit-remaining': '2',
      'x-ratelimit-reset': String(hour / SECOND),
      'x-ratelimit-window': '3600',
      ratelimit: state(minute, [3, 2, 4]),
    })
    await headers(minute)
    await headers(minute)
    expect(await headers(minute + 1)).toMatchObject({
      'x-ratelimit-remaining': '0',
      'x-ratelimit-window': '3600',
      'retry-after': String(Math.ceil((hour - minute - 1) / SECOND)),
      ratelimit: state(minute + 1, [1, 0, 2]),
    })
  })

  it('whose minute and hour are used up waits for the hour, and asks in vain until then', async () => {
    const even = await withConfiguration({ RATE_LIMIT_PER_MINUTE: '4', RATE_LIMIT_PER_HOUR: '4' })
    const { apiKey } = await newKey()
    const statuses = async () =>
      (await Promise.all(Array.from({ length: 4 }, () => ask(even, apiKey)))).map(
        ({ status }) => status,
      )
    expect(await statuses()).toEqual([404, 404, 404, 404])
    const hour = startOf(HOUR, 1)
    expect(await ask(even, apiKey)).toMatchObject({
      status: 429,
      retryAfter: Math.ceil((hour - MIDDLE) / SECOND),
      windowSeconds: 60,
    })
    even.clock.now = hour - 1
    expect(await statuses()).toEqual([429, 429, 429, 429])
    even.clock.now = hour
    expect(await statuses()).toEqual([404, 404, 404, 404])
  })
})

/** Counters as they are stored, read past the service. */
function keyRows(databaseUrl: string) {
  const client = postgres(databaseUrl, { max: 2, onnotice: () => {} })
  return {
    async of(keyId: string): Promise<Record<string, unknown>> {
      const [row] =
        await client`SELECT to_jsonb(key_counters) AS row FROM key_counters WHERE key_id = ${keyId}`
      return row?.row
    },
    /** What an operator would type: the API has no call for it. */
    change: client,
    close: () => client.end(),
  }
}

async function pairOfServices(): Promise<Pair> {
  const one = await startService('Postgres', { maxConnections: CALLERS, env: LIMITS })
  const other = await startService('Postgres', {
    maxConnections: CALLERS,
    databaseUrl: one.databaseUrl,
    env: { ...LIMITS, ...secretsOf(one) },
  })
  return {
    doors: [one, other].map((service) => (apiKey: string) => ask(service, apiKey)),
    async setClocks(now, then = now) {
      one.clock.now = now
      other.clock.now = then
    },
    newKey: () => createKey(one, newWallet(one)),
    databaseUrl: one.databaseUrl,
    async close() {
      await Promise.all([one.close(), other.close()])
    },
  }
}

async function pairOfProcesses(): Promise<Pair> {
  const chain = { devnetUrl: inject('devnetUrl') }
  const databaseUrl = await freshDatabase('Postgres')
  const env = sharedEnv(databaseUrl, chain, LIMITS)
  const start = async () =>
    startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
  const [one, other] = await Promise.all([start(), start()])
  return {
    doors: [one, other].map((process) => async (apiKey: string) => {
      const answer = await process.ask(UNKNOWN_ORDER(), { method: 'POST', key: apiKey })
      if (answer === undefined) throw new Error('a connection broke')
      return seenOf(answer.status, (name) => answer.headers[name]?.toString(), answer.body)
    }),
    async setClocks(now, then = now) {
      await Promise.all([one.setClock(now), other.setClock(then)])
    },
    newKey: () => createKey(one, newWallet(one)),
    databaseUrl,
    async close() {
      await Promise.all([one.stop(), other.stop()])
    },
  }
}

const UNKNOWN_ORDER = () => `/orders/${randomUUID()}/execute`

function send(service: Service, apiKey: string, ip = '127.0.0.1'): Promise<Response> {
  return service.call(UNKNOWN_ORDER(), { ...json({}, { 'X-API-Key': apiKey }), ip })
}

async function ask(service: Service, apiKey: string, ip?: string): Promise<Seen> {
  const response = await send(service, apiKey, ip)
  const header = (name: string) => response.headers.get(name) ?? undefined
  return seenOf(response.status, header, (await response.json()) as { details?: Seen['details'] })
}

function seenOf(
  status: number,
  header: (name: string) => string | undefined,
  { details }: { details?: Seen['details'] },
): Seen {
  const retryAfter = header('retry-after')
  return {
    status,
    remaining: Number(header('x-ratelimit-remaining')),
    resetAt: Number(header('x-ratelimit-reset')),
    windowSeconds: Number(header('x-ratelimit-window')),
    retryAfter: retryAfter === undefined ? undefined : Number(retryAfter),
    details,
  }
}

function namedHeaders({ headers }: Response): Record<string, string> {
  return Object.fromEntries(
    [...headers].filter(([name]) => /^(x-)?ratelimit|^retry-after$/.test(name)),
  )
}

/** The start of the window that many windows after the middle. */
function startOf(length: number, later: number): number {
  return (Math.floor(MIDDLE / length) + later) * length
}

function countdown(from: number): number[] {
  return Array.from({ length: from }, (_, place) => from - 1 - place)
}

function descending(seen: Seen[]): number[] {
  return seen.map(({ remaining }) => remaining).sort((a, b) => b - a)
}

function twice<T>(list: T[]): T[] {
  return list.flatMap((one) => [one, one])
}
