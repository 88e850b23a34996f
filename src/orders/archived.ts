import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { type Refused, refuse } from '../result.ts'

/*
 * An order leaves the database with an archive once its intent is worthless. Its uuid stays used for ever: an archive stores it here and
 * waits for every insert that could not see it, before it removes the order.
 */

/** Whether an order with this uuid has left. A scalar subquery, as `isSuspendedSql`. */
export function isArchivedSql(uuid: SQL, inShards: (table: string) => SQL = () => sql``): SQL {
  return sql`((SELECT true FROM archived_orders
    WHERE archived_orders.uuid = ${uuid}${inShards('archived_orders')} LIMIT 1) IS TRUE)`
}

/** Why there is no order of a uuid: there was none, or it has left. Without an owner all shards are read. */
export async function refuseMissing(
  db: Database,
  uuid: string,
  owner?: string,
): Promise<Refused<'orderNotFound' | 'orderArchived'>> {
  const isOwn = owner === undefined ? sql`` : sql` AND shard = ${shardSql(owner)}`
  const [left] = await rows<{ archive: number }>(
    db,
    sql`SELECT archive FROM archived_orders WHERE uuid = ${uuid}${isOwn} LIMIT 1`,
  )
  return left === undefined ? refuse('orderNotFound') : refuse('orderArchived', left)
}

/** Up to which moment orders and statistics may have left with an archive, ISO 8601; undefined where none was made. */
export async function archivedBefore(db: Database): Promise<string | undefined> {
  const [found] = await rows<{ before: number | null }>(
    db,
    sql`SELECT (extract(epoch FROM max(before)) * 1000)::float8 AS before FROM archives WHERE state <> 'writing'`,
  )
  return found?.before == null ? undefined : new Date(found.before).toISOString()
}
