import { sql } from 'drizzle-orm'
import type { Database } from '../db/database.ts'
import { statement } from '../db/statement.ts'
import type { KeyHash } from '../keys/secret.ts'

/** Of a secret that names no shard, until its key was found; no wallet has it. */
export const UNKNOWN_SHARD = -1

const MAX_FOUND = 10_000

/**
 * Opens the look-up of the shards of keys whose secrets name none: of a release before shards. It visits all shards, once for a key and
 * process: the wallet of a key never changes, so neither does its shard. A secret that is of no key keeps `UNKNOWN_SHARD`.
 */
export function openShardLookUp(db: Database) {
  const found = new Map<KeyHash, number>()
  return async <Item extends { hash: KeyHash; shard: number }>(
    items: readonly Item[],
  ): Promise<readonly Item[]> => {
    const unplaced = items.filter(({ shard }) => shard === UNKNOWN_SHARD)
    if (unplaced.length === 0) return items
    const unknown = unplaced.filter(({ hash }) => !found.has(hash))
    if (unknown.length > 0) {
      const hashes = `{${unknown.map(({ hash }) => hash).join(',')}}`
      if (found.size >= MAX_FOUND) found.clear()
      for (const { hash, shard } of await shardsOfHashes(db, { hashes })) found.set(hash, shard)
    }
    return items.map((item) =>
      item.shard === UNKNOWN_SHARD
        ? { ...item, shard: found.get(item.hash) ?? UNKNOWN_SHARD }
        : item,
    )
  }
}

const shardsOfHashes = statement<{ hash: KeyHash; shard: number }, { hashes: string }>(
  'shards_of_hashes',
  () => {
    const hashes = sql`ARRAY(SELECT decode(hash, 'hex') FROM unnest(${sql.placeholder('hashes')}::text::text[]) AS hash)`
    const ofHash = (column: string) =>
      sql`SELECT encode(${sql.raw(column)}, 'hex') AS hash, shard FROM api_keys WHERE ${sql.raw(column)} = ANY (${hashes})`
    return sql`${ofHash('key_hash')} UNION ALL ${ofHash('previous_key_hash')}`
  },
)
