import { hash } from 'node:crypto'
import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Database, rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { OpenDatabase } from '../../src/db/postgres.ts'
import { walletShard } from '../../src/db/shard.ts'
import { type GateStatements, prepareGate } from '../../src/gate/admit.ts'
import type { KnownKey } from '../../src/gate/known-keys.ts'
import type { KeyHash } from '../../src/keys/secret.ts'

const NOW = Date.UTC(2031, 4, 6, 7, 20, 30, 123)
const LIMITS = { perMinute: 3, perHour: 5, perDay: 7 }
const NUMBERS = { minute: NOW / 60_000, hour: NOW / 3_600_000, day: NOW / 86_400_000 }

/** A window that is over, lasts, or comes from a clock that is ahead. */
const window = fc.record({ shift: fc.constantFrom(-1, 0, 1), count: fc.nat({ max: 7 }) })
const OVER = { shift: -1, count: 0 }
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
  requests: fc.integer({ min: 1, max: 4 }),
})
/** A key that nothing refuses. */
const live = state.map((one) => ({
  ...one,
  ...{ expiresAt: null, suspendedAt: null, revokedAt: null, allowlist: null, isPrevious: false },
  ...{ rateLimit: null, minute: OVER, hour: OVER, day: OVER },
}))
const SHARD = walletShard('ST')
type State = typeof state extends fc.Arbitrary<infer T> ? T : never

describe.each([
  ['one Postgres', false, false],
  ['distributed tables', true, false],
  ['tables of many servers', true, true],
])('The statement that only admits, on %s,', (_, isDistributed, hasManyServers) => {
  let database: OpenDatabase
  let db: Database
  let gate: GateStatements
  beforeAll(async () => {
    database = await openDatabase('pglite::memory:')
    db = database.db
    gate = prepareGate(db, LIMITS, { fixedTime: () => NOW, isDistributed, hasManyServers })
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
          permissions, grant_id, created_at, rate_limit_per_minute, ip_allowlist, expires_at, suspended_at, revoked_at)
        VALUES (${name}, decode(${current}, 'hex'), decode(${previous}, 'hex'), ${at(given.previousUntil)}::timestamptz,
          '', 'ST', '', '{execute}', 1, '2031-01-01Z', ${given.rateLimit}::int, ${given.allowlist}::text::cidr[],
          ${at(given.expiresAt)}::timestamptz, ${at(given.suspendedAt)}::timestamptz, ${at(given.revokedAt)}::timestamptz)`,
    )
    await rows(
      db,
      sql`UPDATE key_counters SET minute_window = ${number('minute')}::int, minute_count = ${given.minute.count}::int,
          hour_window = ${number('hour')}::int, hour_count = ${given.hour.count}::int,
          day_window = ${number('day')}::int, day_count = ${given.day.count}::int
        WHERE key_id = ${name}`,
    )
    return (given.isPrevious ? previous : current) as KeyHash
  }

  const counters = (name: string) =>
    rows(
      db,
      sql`SELECT minute_window, minute_count, hour_window, hour_count, day_window, day_count, total_requests::int,
          last_used_at::text FROM key_counters WHERE key_id = ${name}`,
    )
  /** The rights of a returned row, without its id, its hashes and its version. */
  const rightsIn = (row = 'null') => JSON.parse(row)?.[0].slice(3)

  it('admits and counts exactly what the one that refuses does', { timeout: 120_000 }, async () => {
    const seen = { passed: 0, refused: 0 }
    await fc.assert(
      fc.asyncProperty(state, async (given) => {
        await db.execute(sql`DELETE FROM api_keys`)
        const { ip, requests, isPrevious } = given
        const ask = { shard: SHARD, ip, requests, uuids: [], known: undefined }
        const direct = { hash: await insert('key_1', given), ...ask }
        const judged = { hash: await insert('key_2', given), ...ask }
        const before = await counters('key_1')
        const [one] = await gate.admit([direct], undefined)
        const [other] = await gate.judge([judged], undefined)
        const passes = other?.refusal === null && (other.quota?.room ?? 0) >= requests
        expect(one !== undefined).toBe(passes && !isPrevious)
        seen[one === undefined ? 'refused' : 'passed'] += 1
        if (one === undefined) {
          expect(await counters('key_1')).toEqual(before)
          return
        }
        expect({ ...one.quota, room: 0 }).toEqual({ ...other?.quota, room: 0 })
        expect(rightsIn(one.row ?? undefined)).toEqual(rightsIn(other?.row ?? undefined))
        expect(await counters('key_1')).toEqual(await counters('key_2'))
      }),
      { numRuns: 400 },
    )
    expect(Math.min(seen.passed, seen.refused)).toBeGreaterThan(10)
  })

  it.skipIf(hasManyServers)(
    'admits a known key by its version alone, and the row is returned after any change of it',
    async () => {
      const hash = await insert('key_3', fc.sample(live, 1)[0] as State)
      const roomy = prepareGate(
        db,
        { perMinute: 100, perHour: 100, perDay: 100 },
        { fixedTime: () => NOW, isDistributed },
      )
      const ask = async (known?: KnownKey, since?: string) => {
        const key = { hash, shard: SHARD, ip: undefined, requests: 1, uuids: [], known }
        const [admitted] = await roomy.admit([key], since)
        const [judged] = await roomy.judge([key], since)
        // A version that is not current any more is left to the statement that refuses.
        if (known === undefined) expect(admitted?.row).toEqual(judged?.row)
        else expect(admitted?.row).toBe(judged?.row === null ? null : undefined)
        return judged?.row ?? null
      }
      const known = (row: string | null) => {
        const [, , xmin, since] = JSON.parse(row ?? '[]')
        return [{ xmin } as KnownKey, since] as const
      }
      const first = known(await ask())
      expect(await ask(...first)).toBeNull()
      expect(await ask(first[0], '2001-01-01Z')).not.toBeNull()
      expect(await ask({ ...first[0], xmin: '1' }, first[1])).not.toBeNull()
      await db.execute(sql`UPDATE api_keys SET label = 'edited' WHERE id = 'key_3'`)
      const second = await ask(...first)
      expect(second).not.toBeNull()
      expect(await ask(...known(second))).toBeNull()
      await db.transaction(async (tx) => {
        for (const label of ['once', 'twice'])
          await tx.execute(sql`UPDATE api_keys SET label = ${label} WHERE id = 'key_3'`)
      })
      expect(await ask(...known(second))).not.toBeNull()
    },
  )
})
