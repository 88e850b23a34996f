import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { OpenDatabase } from '../../src/db/postgres.ts'
import { timestamptz, timestamptzOrNull } from '../../src/db/time.ts'
import { endReason, inactiveReason, isPast } from '../../src/keys/liveness.ts'
import {
  hasHashSql,
  inactiveReasonSql,
  isActiveSql,
  isUnendedSql,
} from '../../src/keys/liveness-sql.ts'

let database: OpenDatabase
beforeAll(async () => {
  database = await openDatabase('pglite::memory:')
})
afterAll(() => database.close())

const NOW = Date.UTC(2027, 0, 1)
/** Absent, past, now to the millisecond, and to come. */
const moment = fc.option(
  fc.integer({ min: -2, max: 2 }).map((ms) => NOW + ms),
  { nil: null },
)
const anyKey = fc.record({
  revokedAt: moment,
  suspendedAt: moment,
  expiresAt: moment,
  previousUntil: moment,
  /** Whether the secret that is used is the one before the last rotation. */
  isPrevious: fc.boolean(),
})

it('The rules of liveness are the same in TypeScript and in SQL, for every key', async () => {
  await fc.assert(
    fc.asyncProperty(anyKey, async ({ isPrevious, previousUntil, ...times }) => {
      const now = timestamptz(NOW)
      const [row] = await rows(
        database.db,
        sql`SELECT ${inactiveReasonSql(now)} AS inactive, ${isActiveSql(now)} AS active, ${isUnendedSql(now)} AS unended,
            ${hasHashSql(isPrevious ? sql`'old'` : sql`'new'`, now)} IS TRUE AS known
          FROM (SELECT ${timestamptzOrNull(times.revokedAt)} AS revoked_at,
            ${timestamptzOrNull(times.suspendedAt)} AS suspended_at, ${timestamptzOrNull(times.expiresAt)} AS expires_at,
            'new' AS key_hash, 'old' AS previous_key_hash, ${timestamptzOrNull(previousUntil)} AS previous_until) AS key`,
      )
      const inactive = inactiveReason(times, NOW)
      const isInGrace = previousUntil !== null && !isPast(previousUntil, NOW)
      expect(row).toEqual({
        inactive: inactive ?? null,
        active: inactive === undefined,
        unended: endReason(times, NOW) === undefined,
        known: !isPrevious || isInGrace,
      })
    }),
    { numRuns: 300 },
  )
})
