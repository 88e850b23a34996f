import { type SQL, sql } from 'drizzle-orm'

/**
 * The part of a statement that inserts an event for each changed order. `changed` names the CTE whose rows are those
 * orders, with their `uuid` and new `status`; `at` is the time of the change; `details` is a jsonb expression over that CTE.
 */
export function insertOrderEvent(changed: SQL, at: SQL, details: SQL = sql`NULL::jsonb`): SQL {
  return sql`INSERT INTO order_events (order_uuid, status, at, details)
    SELECT uuid, status, ${at}, ${details} FROM ${changed}`
}
