import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { OpenDatabase } from '../../src/db/postgres.ts'
import { timestamptz, timestamptzOrNull } from '../../src/db/time.ts'
import {
  endedUnsettledSql,
  isExecutableSql,
  isOpenSql,
  isOverdueSql,
  isUnendedOrderSql,
  statusAt,
} from '../../src/orders/lifecycle.ts'
import { ORDER_STATUSES, orderHasEnded } from '../../src/orders/order.ts'

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
const anyOrder = fc.record({
  status: fc.constantFrom(...ORDER_STATUSES),
  validFrom: moment,
  validTo: moment,
})

it('The status of an order is the same in TypeScript and in SQL, for every order', async () => {
  await fc.assert(
    fc.asyncProperty(anyOrder, async ({ status, validFrom, validTo }) => {
      const now = timestamptz(NOW)
      const [row] = await rows(
        database.db,
        sql`SELECT ${isOpenSql(now)} AS open, (${isOverdueSql(now)}) IS TRUE AS overdue,
            ${isExecutableSql(now)} AS executable, ${endedUnsettledSql(now)} IS TRUE AS unsettled,
            ${isUnendedOrderSql(now)} AS unended
          FROM (SELECT ${status}::text AS status, ${timestamptzOrNull(validFrom)} AS valid_from,
            ${timestamptzOrNull(validTo)} AS valid_to) AS orders`,
      )
      const at = { status, validTo: validTo === null ? null : new Date(validTo) }
      const then = statusAt(at, NOW)
      expect(row).toEqual({
        open: then === 'open',
        overdue: status === 'open' && then === 'expired',
        executable: then === 'open' && (validFrom === null || validFrom <= NOW),
        unsettled: orderHasEnded(then) && then !== 'confirmed',
        unended: !orderHasEnded(then),
      })
    }),
    { numRuns: 300 },
  )
})
