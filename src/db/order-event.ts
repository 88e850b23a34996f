import { type SQL, sql } from 'drizzle-orm'
import { timestamptz } from './time.ts'

/**
 * The part of a statement that inserts an event for each changed order. `changed` names the CTE whose rows are those
 * orders, with their `uuid` and new `status`; `details` is a jsonb expression over that CTE.
 */
export function insertOrderEvent(changed: SQL, now: number, details: SQL = sql`NULL::jsonb`): SQL {
  return sql`INSERT INTO order_events (order_uuid, status, at, details)
    SELECT uuid, status, ${timestamptz(now)}, ${details} FROM ${changed}`
}
