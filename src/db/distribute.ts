import { sql } from 'drizzle-orm'
import { type Database, rows } from './database.ts'
import { DISTRIBUTED_TABLES, REFERENCE_TABLES, STEPS_TABLE } from './distribution.ts'
import { RELEASE } from './release.ts'
import { quoteIdentifier } from './session.ts'

/** A key of a distributed table, as plain tables have it. */
interface Key {
  table: string
  name: string
  kind: 'primary' | 'unique' | 'foreign'
  columns: string[]
  /** Of a foreign key: the table and the columns that it references, and what follows them. */
  references: string | null
  referenced: string[] | null
  action: string
}

const KINDS = { primary: 'PRIMARY KEY', unique: 'UNIQUE', foreign: 'FOREIGN KEY' } as const

/**
 * The statements that put the shard in front of every key of the distributed tables, under the names of the keys: statements name the
 * keys that they conflict with. Within a shard, ids and hashes are then unique; across shards only their randomness makes them so.
 * Foreign keys to reference tables stay as they are. Keys that begin with the shard already are left alone.
 */
export async function shardKeyStatements(db: Database): Promise<string[]> {
  const keys = (await readKeys(db)).filter(({ columns }) => columns[0] !== 'shard')
  const foreign = keys.filter(({ kind }) => kind === 'foreign')
  const own = keys.filter(({ kind }) => kind !== 'foreign')
  return [
    ...[...foreign, ...own].map(
      ({ table, name }) =>
        `ALTER TABLE ${quoteIdentifier(table)} DROP CONSTRAINT ${quoteIdentifier(name)}`,
    ),
    ...own.map(addWithShard),
    ...foreign.map(addWithShard),
  ]
}

function addWithShard(key: Key): string {
  const { table, name, kind, columns, references, referenced, action } = key
  const isTogether = references !== null && isDistributed(references)
  const list = (names: readonly string[], hasShard: boolean) =>
    `(${[...(hasShard ? ['shard'] : []), ...names].map(quoteIdentifier).join(', ')})`
  const target =
    references === null
      ? ''
      : ` REFERENCES ${quoteIdentifier(references)} ${list(referenced ?? [], isTogether)}${action}`
  return `ALTER TABLE ${quoteIdentifier(table)} ADD CONSTRAINT ${quoteIdentifier(name)}
    ${KINDS[kind]} ${list(columns, references === null || isTogether)}${target}`
}

function isDistributed(table: string): boolean {
  return (DISTRIBUTED_TABLES as readonly string[]).includes(table)
}

async function readKeys(db: Database): Promise<Key[]> {
  const names = (numbers: string, relation: string) =>
    sql.raw(`(SELECT json_agg(attname ORDER BY at) FROM unnest(${numbers}) WITH ORDINALITY AS part (number, at)
      JOIN pg_attribute ON attrelid = ${relation} AND attnum = number)`)
  const found = await rows<Omit<Key, 'action'> & { definition: string }>(
    db,
    sql`SELECT relname AS "table", conname AS name,
        CASE contype WHEN 'p' THEN 'primary' WHEN 'u' THEN 'unique' ELSE 'foreign' END AS kind,
        ${names('conkey', 'conrelid')} AS columns, ${names('confkey', 'confrelid')} AS referenced,
        (SELECT relname FROM pg_class WHERE oid = confrelid) AS references, pg_get_constraintdef(pg_constraint.oid) AS definition
      FROM pg_constraint JOIN pg_class ON pg_class.oid = conrelid
      WHERE contype IN ('p', 'u', 'f') AND relnamespace = current_schema()::regnamespace
        AND relname = ANY (${`{${DISTRIBUTED_TABLES.join(',')}}`}::text::text[])
      ORDER BY array_position(${`{${DISTRIBUTED_TABLES.join(',')}}`}::text::text[], relname::text), conname`,
  )
  return found.map(({ definition, ...key }) => ({
    ...key,
    // An update of an id with its shard would move a row; nothing updates one.
    action: / ON DELETE CASCADE/.test(definition) ? ' ON DELETE CASCADE' : '',
  }))
}

/** Triggers that distributed tables keep: a statement may not change what is append-only, on whatever node it runs. */
const KEPT_TRIGGERS = /_append_only$/
/** What every process of the service calls itself. */
const SERVICE = 'latchkey'

export interface DistributeOptions {
  /** Receives each step before it is taken. */
  onStep: (step: string, at: number, of: number) => void
}

/**
 * Takes a database on the coordinator of a Citus cluster from plain to distributed tables. The service must not run meanwhile. Resolves
 * to how many steps were taken.
 */
export async function distribute(db: Database, options: DistributeOptions): Promise<number> {
  await requireCluster(db)
  await requireStopped(db)
  return takeSteps(db, stepsOf, options)
}

/**
 * Takes the steps that are not done. They are recorded before the first one is taken, and each is marked as done in its own transaction:
 * a distribution that was stopped goes on where it ended. Their record also ends whatever runs on plain tables: no process opens
 * the database before all are done, and one that had opened it finds the record with its next look at the database.
 */
export async function takeSteps(
  db: Database,
  makeSteps: (db: Database) => Promise<string[]>,
  { onStep }: DistributeOptions,
): Promise<number> {
  if (!(await hasSteps(db))) await recordSteps(db, await makeSteps(db))
  // A process that opened the database before the record.
  await requireStopped(db)
  const steps = await rows<{ step: number; statement: string; done: boolean }>(
    db,
    sql`SELECT step, statement, done FROM ${sql.raw(STEPS_TABLE)} ORDER BY step`,
  )
  const open = steps.filter(({ done }) => !done)
  for (const { step, statement } of open) {
    onStep(statement.replace(/\s+/g, ' '), step, steps.length)
    await takeStep(db, step)
  }
  return open.length
}

/** Another process may take the same steps: each is taken once, by the one that has locked its row. */
async function takeStep(db: Database, step: number): Promise<void> {
  await db.transaction(async (tx) => {
    await rows(tx, sql.raw('SET LOCAL statement_timeout = 0'))
    const [open] = await rows<{ statement: string }>(
      tx,
      sql`UPDATE ${sql.raw(STEPS_TABLE)} SET done = true WHERE step = ${step}::int AND NOT done RETURNING statement`,
    )
    if (open === undefined) return
    await rows(tx, sql.raw('SET LOCAL citus.enable_unsafe_triggers = on'))
    await rows(tx, sql.raw(open.statement))
  })
}

async function requireCluster(db: Database): Promise<void> {
  const [found] = await rows<{ citus: boolean }>(
    db,
    sql`SELECT to_regclass('pg_catalog.pg_dist_node') IS NOT NULL AS citus`,
  )
  if (found?.citus !== true)
    throw new Error(
      'this database has no extension citus: CREATE EXTENSION citus, and add its nodes',
    )
  const nodes = await rows(db, sql`SELECT FROM pg_dist_node WHERE isactive AND shouldhaveshards`)
  if (nodes.length === 0)
    throw new Error('the cluster has no node for shards: SELECT citus_add_node(..) for each worker')
}

async function requireStopped(db: Database): Promise<void> {
  const running = await rows(
    db,
    sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND application_name = ${SERVICE}
      AND pid <> pg_backend_pid()`,
  )
  if (running.length > 0)
    throw new Error(`the service still has ${running.length} sessions: stop its processes first`)
}

async function hasSteps(db: Database): Promise<boolean> {
  const [found] = await rows<{ exists: boolean }>(
    db,
    sql`SELECT to_regclass(${STEPS_TABLE}) IS NOT NULL AS exists`,
  )
  return found?.exists === true
}

/** Rows without a parent of their shard would be out of reach afterwards. */
async function requireShards(db: Database): Promise<void> {
  for (const [table, column, parent, id] of PARENTS) {
    const [child, of] = [sql.raw(table), sql.raw(parent)]
    const wrong = await rows(
      db,
      sql`SELECT FROM ${child} AS child JOIN ${of} AS parent ON parent.${sql.raw(id)} = child.${sql.raw(column)}
        WHERE child.shard <> parent.shard LIMIT 1`,
    )
    if (wrong.length > 0) throw new Error(`${table} has rows of another shard than their ${parent}`)
  }
}

const PARENTS = [
  ['key_counters', 'key_id', 'api_keys', 'id'],
  ['key_spending', 'key_id', 'api_keys', 'id'],
  ['key_reservations', 'key_id', 'api_keys', 'id'],
  ['key_usage', 'key_id', 'api_keys', 'id'],
  ['key_sightings', 'key_id', 'api_keys', 'id'],
  ['key_watches', 'key_id', 'api_keys', 'id'],
  ['key_rates', 'key_id', 'api_keys', 'id'],
  ['key_findings', 'key_id', 'api_keys', 'id'],
  ['order_events', 'order_uuid', 'orders', 'uuid'],
  ['transactions', 'order_uuid', 'orders', 'uuid'],
] as const

async function stepsOf(db: Database): Promise<string[]> {
  await requireShards(db)
  const keys = await shardKeyStatements(db)
  const isForeign = (statement: string) => statement.includes('FOREIGN KEY')
  const [first, ...others] = DISTRIBUTED_TABLES
  return [
    ...(await triggerStatements(db)),
    ...keys.filter((statement) => !isForeign(statement)),
    ...REFERENCE_TABLES.map((table) => `SELECT create_reference_table('${table}')`),
    `SELECT create_distributed_table('${first}', 'shard')`,
    ...others.map(
      (table) =>
        `SELECT create_distributed_table('${table}', 'shard', colocate_with => '${first}')`,
    ),
    ...keys.filter(isForeign),
  ]
}

/** A release that names no shards is admitted no more. Statements of steps are no secret; only the owner may change them. */
async function recordSteps(db: Database, steps: readonly string[]): Promise<void> {
  const table = sql.raw(STEPS_TABLE)
  await db.transaction(async (tx) => {
    await rows(
      tx,
      sql`CREATE TABLE ${table} (step int PRIMARY KEY, statement text NOT NULL, done boolean NOT NULL DEFAULT false)`,
    )
    await rows(tx, sql`GRANT SELECT ON ${table} TO PUBLIC`)
    await rows(
      tx,
      sql`INSERT INTO ${table} (step, statement)
        SELECT at, statement FROM jsonb_array_elements_text(${JSON.stringify(steps)}::text::jsonb)
          WITH ORDINALITY AS step (statement, at)`,
    )
    await rows(
      tx,
      sql`UPDATE latchkey_releases SET oldest = ${RELEASE}::int WHERE release = ${RELEASE}::int`,
    )
  })
}

/** Drops the triggers that serve plain tables only: they fill shards, insert counters, and refuse releases that name no shard. */
async function triggerStatements(db: Database): Promise<string[]> {
  const found = await rows<{ name: string; table: string }>(
    db,
    sql`SELECT tgname AS name, relname AS "table" FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid
      WHERE NOT tgisinternal AND relnamespace = current_schema()::regnamespace
        AND relname = ANY (${`{${DISTRIBUTED_TABLES.join(',')}}`}::text::text[]) ORDER BY relname, tgname`,
  )
  return found
    .filter(({ name }) => !KEPT_TRIGGERS.test(name))
    .map(({ name, table }) => `DROP TRIGGER ${quoteIdentifier(name)} ON ${quoteIdentifier(table)}`)
}

/** A table's shards on one node. */
export interface Placement {
  node: string
  table: string
  shards: number
  bytes: number
}

/** Reads which node keeps how much of each table; a plain table is one shard of this Postgres. */
export async function readPlacements(db: Database): Promise<Placement[]> {
  const names = `{${DISTRIBUTED_TABLES.join(',')}}`
  const [found] = await rows<{ citus: boolean }>(
    db,
    sql`SELECT to_regclass('pg_catalog.citus_shards') IS NOT NULL AS citus`,
  )
  const placed =
    found?.citus === true
      ? await rows<Placement>(
          db,
          sql`SELECT nodename || ':' || nodeport AS node, table_name::text AS "table", count(*)::int AS shards,
              sum(shard_size)::float8 AS bytes
            FROM citus_shards WHERE citus_table_type = 'distributed' GROUP BY 1, 2 ORDER BY 1, 2`,
        )
      : []
  if (placed.length > 0) return placed
  return rows<Placement>(
    db,
    sql`SELECT 'this Postgres' AS node, relname AS "table",
        greatest(1, (SELECT count(*) FROM pg_inherits WHERE inhparent = pg_class.oid))::int AS shards,
        (SELECT sum(pg_total_relation_size(relid)) FROM pg_partition_tree(pg_class.oid))::float8 AS bytes
      FROM pg_class WHERE relnamespace = current_schema()::regnamespace AND relname = ANY (${names}::text::text[])
      ORDER BY relname`,
  )
}
