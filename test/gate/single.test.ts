import { hash } from 'node:crypto'
import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Database, rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { OpenDatabase } from '../../src/db/postgres.ts'
import { type Admit, type PresentedKey, prepareAdmit } from '../../src/gate/admit.ts'
import type { KeyHash } from '../../src/keys/secret.ts'

const NOW = Date.UTC(2031, 4, 6, 7, 20, 30, 123)
const LIMITS = { perMinute: 3, perHour: 5, perDay: 7 }
const NUMBERS = { minute: NOW / 60_000, hour: NOW / 3_600_000, day: NOW / 86_400_000 }

/** A window that is over, lasts, or comes from a clock that is ahead. */
const window = fc.record({ shift: fc.constantFrom(-1, 0, 1), count: fc.nat({ max: 7 }) })
/** Most keys live, or all would be refused for one thing or another. */
const seldom = <T>(...values: T[]) =>
  fc.oneof(
    { weight: 6, arbitrary: fc.constant(null) },
    { weight: 1, arbitrary: fc.constantFrom(...values) },
  )
const time = seldom(NOW - 1, NOW, NOW + 1)
const state = fc.record({
  minute: window,
  hour: window,
  day: window,
  rateLimit: fc.constantFrom(null, 1, 4),
  allowlist: seldom('{10.0.0.0/8}', '{10.0.0.1/32,2001:db8::/32}', '{}'),
  expiresAt: time,
  suspendedAt: seldom(NOW),
  revokedAt: seldom(NOW),
  isPrevious: fc.boolean(),
  previousUntil: time,
  ip: fc.constantFrom(undefined, '10.0.0.1', '10.0.0.2', '192.0.2.1', '2001:db8::1'),
})
type State = typeof state extends fc.Arbitrary<infer T> ? T : never

describe('A request that comes alone', () => {
  let database: OpenDatabase
  let db: Database
  let admit: Admit
  beforeAll(async () => {
    database = await openDatabase('pglite::memory:')
    db = database.db
    admit = prepareAdmit(db, LIMITS, () => NOW)
    await db.execute(sql`
      INSERT INTO signed_actions (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
      VALUES ('ST', 'create_api_key', '{}', '\\x00', '', '', now())`)
  })
  afterAll(() => database.close())

  async function insert(name: string, given: State): Promise<KeyHash> {
    const [current, previous] = [hash('sha256', `${name} now`), hash('sha256', `${name} before`)]
    const at = (ms: number | null) => (ms === null ? null : new Date(ms).toISOString())
    const number = (of: 'minute' | 'hour' | 'day') => Math.floor(NUMBERS[of]) + given[of].shift
    await rows(
      db,
      sql`INSERT INTO api_keys (id, key_hash, previous_key_hash, previous_until, key_preview, wallet_address, name,
          permissions, grant_id, created_at, rate_limit_per_minute, ip_allowlist, expires_at, suspended_at, revoked_at,
          minute_window, minute_count, hour_window, hour_count, day_window, day_count)
        VALUES (${name}, decode(${current}, 'hex'), decode(${previous}, 'hex'), ${at(given.previousUntil)}::timestamptz,
          '', 'ST', '', '{execute}', 1, '2031-01-01Z', ${given.rateLimit}::int, ${given.allowlist}::text::cidr[],
          ${at(given.expiresAt)}::timestamptz, ${at(given.suspendedAt)}::timestamptz, ${at(given.revokedAt)}::timestamptz,
          ${number('minute')}::bigint, ${given.minute.count}::int, ${number('hour')}::bigint, ${given.hour.count}::int,
          ${number('day')}::bigint, ${given.day.count}::int)`,
    )
    return (given.isPrevious ? previous : current) as KeyHash
  }

  const counters = (name: string) =>
    rows(
      db,
      sql`SELECT minute_window, minute_count, hour_window, hour_count, day_window, day_count, total_requests::int,
          last_used_at::text FROM api_keys WHERE id = ${name}`,
    )

  /** Alone, a key is told that one may pass, and not how many more. */
  async function verdictOn(keys: PresentedKey[]) {
    const [verdict] = (await admit(keys, [])).verdicts
    const { keyId = null, refusal, rights, mac, quota } = verdict ?? {}
    const [passes, isSaid] = [(quota?.room ?? 0) > 0, typeof rights === 'string']
    return { keyId, refusal, isSaid, mac, passes, quota: quota && { ...quota, room: passes } }
  }

  it('is judged and counted as it would be among others', { timeout: 120_000 }, async () => {
    const unknown = hash('sha256', 'nobody') as KeyHash
    const seen = { passed: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(state, async (given) => {
        await db.execute(sql`DELETE FROM api_keys`)
        const ask = { ip: given.ip, requests: 1 }
        const alone = { hash: await insert('key_1', given), ...ask }
        const among = { hash: await insert('key_2', given), ...ask }
        const one = await verdictOn([alone])
        const other = await verdictOn([among, { ...ask, hash: unknown }])
        seen[one.passes ? 'passed' : 'refused'] += 1
        expect(one).toEqual({ ...other, keyId: 'key_1' })
        expect(await counters('key_1')).toEqual(await counters('key_2'))
      }),
      { numRuns: 400 },
    )
    expect(Math.min(seen.passed, seen.refused)).toBeGreaterThan(10)
  })
})
