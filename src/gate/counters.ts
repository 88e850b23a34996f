import { type SQL, sql } from 'drizzle-orm'
import type { Database } from '../db/database.ts'

/** The part of a statement that counts a success of an admitted request; a row of the CTE `done` is its condition. */
export function countSuccess(
  keyId: string | SQL,
  done: SQL,
  counter?: 'creation_count' | 'execution_count' | 'cancellation_count',
): SQL {
  const also = counter === undefined ? sql`` : sql.raw(`, ${counter} = ${counter} + 1`)
  return sql`UPDATE key_counters SET successful_requests = successful_requests + 1${also}
    WHERE key_id = ${keyId} AND EXISTS (SELECT FROM ${done})`
}

/** Counts a success of a request that changed nothing: a read, or an order that existed already. */
export async function recordSuccess(db: Database, keyId: string): Promise<void> {
  await db.execute(countSuccess(keyId, sql`(SELECT 1) AS done`))
}
