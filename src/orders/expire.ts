import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { searchTime } from '../db/time.ts'
import { endOpenOrders } from './end.ts'
import { isOverdueSql } from './lifecycle.ts'
import type { OrderServices } from './services.ts'

type ExpireServices = Pick<OrderServices, 'db' | 'mac' | 'databaseTime' | 'distribution'>

/**
 * Stores the expiry of open orders whose validTo has passed, up to a number of them; resolves to how many. Where tables are
 * distributed, their shards are found first, and each is a transaction of its own.
 */
export async function expireOrders(services: ExpireServices, limit: number): Promise<number> {
  if (services.distribution === undefined) return expireIn(services, undefined, limit)
  let expired = 0
  for (const shard of await overdueShards(services, limit))
    expired += await expireIn(services, sql`${shard}::int`, limit - expired)
  return expired
}

async function expireIn(
  services: ExpireServices,
  shard: SQL | undefined,
  limit: number,
): Promise<number> {
  const expired = await services.db.transaction((tx: Database) =>
    endOpenOrders(tx, services, 'expired', isOverdueSql(searchTime(services)), {
      ...(shard !== undefined && { shard }),
      limit,
      whenLocked: 'skip',
    }),
  )
  return expired.length
}

async function overdueShards(services: ExpireServices, limit: number) {
  const found = await rows<{ shard: number }>(
    services.db,
    sql`SELECT DISTINCT shard FROM (
      SELECT shard FROM orders WHERE ${isOverdueSql(searchTime(services))} LIMIT ${limit}::int) AS overdue`,
  )
  return found.map(({ shard }) => shard)
}
