import { type SQL, sql } from 'drizzle-orm'
import { walletShard } from './wallet-shard.ts'

export { SHARDS, walletShard } from './wallet-shard.ts'

/** A wallet's shard as a parameter. A statement names it for each table, so that one partition of each is read. */
export function shardSql(walletAddress: string): SQL {
  return sql`${walletShard(walletAddress)}::int`
}
