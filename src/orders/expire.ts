import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import { timestamptz } from '../db/time.ts'
import { isOverdueSql } from './lifecycle.ts'

/** Stores the expiry of open orders whose validTo has passed, up to a number of them; returns how many. */
export async function expireOrders(db: Database, now: number, limit: number): Promise<number> {
  const expired = await rows(
    db,
    sql`WITH overdue AS (
        SELECT uuid FROM orders WHERE ${isOverdueSql(timestamptz(now))}
        ORDER BY valid_to LIMIT ${limit}::int FOR UPDATE SKIP LOCKED
      ), expired AS (
        UPDATE orders SET status = 'expired' FROM overdue WHERE orders.uuid = overdue.uuid
        RETURNING orders.uuid, orders.status
      ), event AS (${insertOrderEvent(sql`expired`, now)})
      SELECT uuid FROM expired`,
  )
  return expired.length
}
