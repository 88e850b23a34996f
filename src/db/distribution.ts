import { type SQL, sql } from 'drizzle-orm'
import type { Sql } from 'postgres'
import { type Database, rows } from './database.ts'
import { SHARDS } from './shard.ts'

/** The tables that grow: each is distributed by its column `shard`, and shards of the same number are together. */
export const DISTRIBUTED_TABLES = [
  'wallets',
  'signed_actions',
  'api_keys',
  'key_counters',
  'key_spending',
  'key_reservations',
  'key_usage',
  'key_sightings',
  'request_nonces',
  'key_watches',
  'key_rates',
  'key_findings',
  'sessions',
  'audit_events',
  'orders',
  'order_events',
  'transactions',
  'archived_audits',
  'archived_orders',
  'webhooks',
  'notices',
  'deliveries',
] as const

/** Where the steps of a distribution are recorded, with those that are done. A process that runs on plain tables ends with it. */
export const STEPS_TABLE = 'latchkey_distribution'

/** Tables that are the same on every node: small, and joined by statements of every shard. */
export const REFERENCE_TABLES = [
  'operators',
  'leases',
  'suspended_wallets',
  'encryption_keys',
  'archives',
  'service_credentials',
] as const

/** Where the shards of a database are whose tables are distributed. */
export interface Distribution {
  /** Shards of one group are on one node, and in one partition: a statement reads one group. */
  groupOf(shard: number): number
  /** Whether more than one server keeps rows. */
  hasManyServers: boolean
}

/** Splits items by the groups of their shards. Without a distribution there is one group, also of no items. */
export function splitByGroup<Item>(
  distribution: Distribution | undefined,
  items: readonly Item[],
  shardOf: (item: Item) => number,
): (readonly Item[])[] {
  if (distribution === undefined) return [items]
  return [...Map.groupBy(items, (item) => distribution.groupOf(shardOf(item))).values()]
}

/**
 * The condition, which begins with AND, that a table is read in some shards only; nothing without a distribution. A statement has it
 * for each table, because no planner derives it for one from another.
 */
export function inShardsSql(
  distribution: Distribution | undefined,
  shards: Iterable<number>,
): (table: string) => SQL {
  if (distribution === undefined) return () => sql``
  const list = `{${[...new Set(shards)].join(',')}}`
  return (table) => sql` AND ${sql.raw(table)}.shard = ANY (${list}::int[])`
}

/**
 * Reads where the shards are: partitions of one Postgres, or nodes of Citus. Undefined where the tables are plain ones. Throws while they
 * are being distributed: keys that a statement relies on may be missing.
 */
export async function readDistribution(db: Database): Promise<Distribution | undefined> {
  if (await hasOpenSteps(db))
    throw new Error('the tables are being distributed: npm run distribute goes on where it ended')
  const [found] = await rows<{ partitions: number; hasCitus: boolean }>(
    db,
    sql`SELECT (SELECT count(*)::int FROM pg_inherits WHERE inhparent = to_regclass('api_keys')) AS partitions,
      to_regclass('pg_catalog.pg_dist_partition') IS NOT NULL AS "hasCitus"`,
  )
  const { partitions = 0, hasCitus = false } = found ?? {}
  if (partitions > 0)
    return { groupOf: await readGroups(db, ofPartition(partitions)), hasManyServers: false }
  if (!hasCitus || !(await isOnCitus(db))) return undefined
  return { groupOf: await readGroups(db, OF_CITUS), hasManyServers: true }
}

async function hasOpenSteps(db: Database): Promise<boolean> {
  const [found] = await rows<{ exists: boolean }>(
    db,
    sql`SELECT to_regclass(${STEPS_TABLE}) IS NOT NULL AS exists`,
  )
  if (found?.exists !== true) return false
  const open = await rows(db, sql`SELECT FROM ${sql.raw(STEPS_TABLE)} WHERE NOT done LIMIT 1`)
  return open.length > 0
}

/**
 * Whether the tables that a search_path finds are on several servers, or are being distributed. It is written as in SET. Partitions of
 * one server do not count: Postgres leaves partitions out of a plan for all of them as it starts to run it.
 */
export async function hasDistributedTables(client: Sql, searchPath: string): Promise<boolean> {
  return client.begin(async (tx) => {
    await tx.unsafe(`SET LOCAL search_path = ${searchPath}`)
    const [found] = await tx.unsafe(
      `SELECT to_regclass('${STEPS_TABLE}') IS NOT NULL AS distributed`,
    )
    return found?.distributed === true
  })
}

async function isOnCitus(db: Database): Promise<boolean> {
  const found = await rows(
    db,
    sql`SELECT FROM pg_dist_partition WHERE logicalrelid = to_regclass('api_keys') AND partmethod = 'h'`,
  )
  return found.length > 0
}

const OF_CITUS = sql`get_shard_id_for_distribution_column('api_keys', shard)`

/** Of partitions by hash that all have the same modulus. */
function ofPartition(partitions: number): SQL {
  return sql`(SELECT remainder FROM generate_series(0, ${partitions - 1}::int) AS remainder
    WHERE satisfies_hash_partition('api_keys'::regclass, ${partitions}::int, remainder, shard))`
}

/** As text, because the driver parses no array of numbers. */
async function readGroups(db: Database, groupOf: SQL): Promise<(shard: number) => number> {
  const [found] = await rows<{ groups: string }>(
    db,
    sql`SELECT string_agg((${groupOf})::text, ',' ORDER BY shard) AS groups
      FROM generate_series(0, ${SHARDS - 1}::int) AS shard`,
  )
  const groups = (found?.groups ?? '').split(',').map(Number)
  return (shard) => groups[shard] ?? 0
}
