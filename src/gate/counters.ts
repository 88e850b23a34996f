import { type SQL, sql } from 'drizzle-orm'
import type { Database } from '../db/database.ts'
import { walletShard } from '../db/shard.ts'
import { statement } from '../db/statement.ts'

/** The part of a statement that counts a success of an admitted request, by what it cost; a row of the CTE `done` is its condition. */
export function countSuccess(
  keyId: string | SQL,
  shard: SQL,
  done: SQL,
  counter?: 'execution_count' | 'cancellation_count',
  requests: SQL = sql`1`,
): SQL {
  const also = counter === undefined ? sql`` : sql.raw(`, ${counter} = ${counter} + 1`)
  return sql`UPDATE key_counters SET successful_requests = successful_requests + ${requests}${also}
    WHERE key_id = ${keyId} AND key_counters.shard = ${shard} AND EXISTS (SELECT FROM ${done})`
}

/**
 * The part of a statement that counts a success for each order that keys created; the rows of the CTE `inserted` are those
 * orders. `inShards` is the condition that restricts a table to their shards. Counters are locked in the order of their keys' current hashes, as by the gate.
 */
export function countCreated(inserted: SQL, inShards: (table: string) => SQL): SQL {
  return sql`UPDATE key_counters AS counters
    SET successful_requests = successful_requests + orders, creation_count = creation_count + orders
    FROM (
      SELECT created.key_id, orders
      FROM (SELECT created_by AS key_id, count(*) AS orders FROM ${inserted} GROUP BY created_by) AS created
        JOIN api_keys AS keys ON keys.id = created.key_id${inShards('keys')}
        JOIN key_counters AS locked ON locked.key_id = created.key_id${inShards('locked')}
      ORDER BY key_hash FOR NO KEY UPDATE OF locked
    ) AS creator WHERE counters.key_id = creator.key_id${inShards('counters')}`
}

/** Counts a success of a request that changed nothing here: a read, an order that existed already, or one at another service. */
export async function recordSuccess(
  db: Database,
  { keyId, walletAddress }: { keyId: string; walletAddress: string },
  cost = 1,
): Promise<void> {
  await countOne(db, { keyId, shard: walletShard(walletAddress), cost })
}

const countOne = statement<never, { keyId: string; shard: number; cost: number }>(
  'record_success',
  () =>
    countSuccess(
      sql`${sql.placeholder('keyId')}`,
      sql`${sql.placeholder('shard')}::int`,
      sql`(SELECT 1) AS done`,
      undefined,
      sql`${sql.placeholder('cost')}::int`,
    ),
)
