import { type SQL, sql } from 'drizzle-orm'

/**
 * The part of a statement that inserts an event for each changed order. `changed` names the CTE whose rows are those
 * orders, with their `uuid`, `shard` and new `status`; `at` is the time of the change; `details` is a jsonb expression over that CTE.
 */
export function insertOrderEvent(changed: SQL, at: SQL, details: SQL = sql`NULL::jsonb`): SQL {
  return sql`INSERT INTO order_events (order_uuid, shard, status, at, details)
    SELECT uuid, shard, status, ${at}, ${details} FROM ${changed}`
}
