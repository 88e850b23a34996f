import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import type { Database } from '../../src/db/database.ts'
import { shardKeyStatements } from '../../src/db/distribute.ts'
import { DISTRIBUTED_TABLES } from '../../src/db/distribution.ts'

/** Triggers that distributed tables have no use for, or cannot have. */
const PLAIN_TRIGGERS = /_fill_shard$|_of_this_release$|^api_keys_have_counters$/

/**
 * Partitions the tables of a database by the hash of their shard, with their rows, and keys them as distributed ones are. They
 * stand for Citus where there is none: a statement that reads one partition reads one node.
 */
export async function partitionTables(databaseUrl: string, partitions: number): Promise<void> {
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const db = drizzle({ client }) as unknown as Database
  const keys = await shardKeyStatements(db)
  const indexes = await client`SELECT indexdef AS text FROM pg_indexes
    WHERE schemaname = 'public' AND tablename = ANY (${[...DISTRIBUTED_TABLES]})
      AND indexname NOT IN (SELECT conname FROM pg_constraint)`
  const triggers =
    await client`SELECT tgname AS name, pg_get_triggerdef(oid) AS text FROM pg_trigger
    WHERE NOT tgisinternal AND tgrelid::regclass::text = ANY (${[...DISTRIBUTED_TABLES]})`
  await client.unsafe('CREATE SCHEMA plain')
  for (const text of keys.filter((one) => /DROP CONSTRAINT "\w+_fk"/.test(one)))
    await client.unsafe(text)
  for (const table of DISTRIBUTED_TABLES) {
    await client.unsafe(`ALTER TABLE ${table} SET SCHEMA plain`)
    await client.unsafe(`CREATE TABLE public.${table}
      (LIKE plain.${table} INCLUDING DEFAULTS INCLUDING CONSTRAINTS) PARTITION BY HASH (shard)`)
    for (let at = 0; at < partitions; at++)
      await client.unsafe(`CREATE TABLE public.${table}_${at} PARTITION OF public.${table}
        FOR VALUES WITH (MODULUS ${partitions}, REMAINDER ${at})${table === 'key_counters' ? ' WITH (fillfactor = 50)' : ''}`)
  }
  for (const table of DISTRIBUTED_TABLES)
    await client.unsafe(`INSERT INTO public.${table} SELECT * FROM plain.${table}`)
  for (const text of keys.filter((one) => /ADD CONSTRAINT/.test(one))) await client.unsafe(text)
  for (const { text } of indexes) await client.unsafe(text.replace(/ ON ONLY /, ' ON '))
  for (const { name, text } of triggers) if (!PLAIN_TRIGGERS.test(name)) await client.unsafe(text)
  await client.end()
}
