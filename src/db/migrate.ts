import { type SQL, sql } from 'drizzle-orm'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { type Database, isLockTimeout, rows, sqlStateOf } from './database.ts'
import { GUARDS, OLDEST_RELEASE, RELEASE, type RecordedRelease } from './release.ts'
import { quoteIdentifier } from './session.ts'

/** The key of the advisory lock that a migrating process holds; no other lock in the database uses it. */
const MIGRATION_LOCK = 7_201_404_511n
const LOCK_WAIT_MS = 60_000
/** Longest wait for a table: requests queue behind it, and repeat once their own `lock_timeout` is over. */
const TABLE_WAIT_MS = 1_000
/** A migration among requests may wait for a table for too long, or be the victim of a deadlock. It then begins anew. */
const MAX_ATTEMPTS = 30
const CONTENDED = /^(40P01|55P03)$/
const PAUSE_SECONDS = 0.3

/** The schema of the record of migrations, beside one that holds the tables. */
const RECORD_SCHEMA = 'drizzle'

export interface MigrateOptions {
  migrationsFolder: string
  /** Receives what the migration waits for, when another session holds its lock. */
  onWait: (holder: string) => void
  lockWaitMs?: number
}

/** What the database says of its schema. */
export interface MigrationState {
  /** The schema that the tables are in, or will be. */
  schema: string
  /** When the newest applied migration was made, in milliseconds since 1970; 0: none was. */
  applied: number
  recorded: RecordedRelease
}

/**
 * Brings the schema up to date in one transaction, under a lock that ends with it: of several processes that start at once,
 * one migrates and the others wait. A session's lock would stay with the session of a pooler.
 */
export async function migrate(
  db: Database,
  schema: string,
  options: MigrateOptions,
): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    const fault = await migrateOnce(db, schema, options).then(
      () => undefined,
      (error: unknown) => error,
    )
    if (fault === undefined) return
    if (attempt === MAX_ATTEMPTS || !CONTENDED.test(sqlStateOf(fault) ?? '')) throw fault
    await rows(db, sql`SELECT pg_sleep(${PAUSE_SECONDS}::float8)`)
  }
}

async function migrateOnce(
  db: Database,
  schema: string,
  { migrationsFolder, onWait, lockWaitMs = LOCK_WAIT_MS }: MigrateOptions,
): Promise<void> {
  const migrations = readMigrationFiles({ migrationsFolder })
  await db.transaction(
    async (tx) => {
      await rows(tx, sql.raw('SET LOCAL statement_timeout = 0'))
      await rows(tx, sql.raw('SET LOCAL idle_in_transaction_session_timeout = 0'))
      await takeLock(tx, onWait, lockWaitMs)
      await ensureSchema(tx, schema)
      await rows(tx, sql.raw(`SET LOCAL search_path = ${quoteIdentifier(schema)}`))
      const { migrations: table, releases } = recordTables(schema)
      await ensureRecord(tx, schema)
      const { applied, recorded } = await readState(tx, schema)
      for (const { sql: statements, folderMillis, hash } of migrations) {
        if (folderMillis <= applied) continue
        for (const statement of statements) await rows(tx, sql.raw(inSearchPath(statement)))
        await rows(
          tx,
          sql`INSERT INTO ${table} (hash, created_at) VALUES (${hash}, ${folderMillis}::bigint)`,
        )
      }
      if (recorded.release < RELEASE) {
        for (const statement of GUARDS) await rows(tx, sql.raw(statement))
        await rows(
          tx,
          sql`INSERT INTO ${releases} (release, oldest) VALUES (${RELEASE}::int, ${OLDEST_RELEASE}::int)`,
        )
      }
    },
    { isolationLevel: 'read committed' },
  )
}

/** Reads how far a database is migrated. A table that does not exist is as one without rows. */
export async function readState(db: Database, schema: string): Promise<MigrationState> {
  const { migrations, releases } = recordTables(schema)
  const [found] = await rows<{ migrated: boolean; released: boolean }>(
    db,
    sql`SELECT to_regclass(${namesOf(schema).migrations}) IS NOT NULL AS migrated,
      to_regclass(${namesOf(schema).releases}) IS NOT NULL AS released`,
  )
  const applied = found?.migrated
    ? await rows<{ at: number | null }>(
        db,
        sql`SELECT max(created_at)::float8 AS at FROM ${migrations}`,
      )
    : []
  const recorded = found?.released
    ? await rows<RecordedRelease>(
        db,
        sql`SELECT release, oldest FROM ${releases} ORDER BY release DESC LIMIT 1`,
      )
    : []
  return {
    schema,
    applied: applied[0]?.at ?? 0,
    recorded: recorded[0] ?? { release: 0, oldest: 0 },
  }
}

/** Whether a database lacks a migration of this release, or its record. */
export function needsMigration(state: MigrationState, migrationsFolder: string): boolean {
  const last = readMigrationFiles({ migrationsFolder }).at(-1)?.folderMillis ?? 0
  return state.applied < last || state.recorded.release < RELEASE
}

/** The schema of the records, which a role that runs the service reads. */
export function recordSchemaOf(schema: string): string {
  return schema === 'public' ? RECORD_SCHEMA : schema
}

function namesOf(schema: string): { migrations: string; releases: string } {
  const within = quoteIdentifier(recordSchemaOf(schema))
  return {
    migrations: `${within}.__drizzle_migrations`,
    releases: `${quoteIdentifier(schema)}.latchkey_releases`,
  }
}

function recordTables(schema: string): { migrations: SQL; releases: SQL } {
  const { migrations, releases } = namesOf(schema)
  return { migrations: sql.raw(migrations), releases: sql.raw(releases) }
}

async function takeLock(
  tx: Database,
  onWait: (holder: string) => void,
  lockWaitMs: number,
): Promise<void> {
  const [tried] = await rows<{ taken: boolean }>(
    tx,
    sql`SELECT pg_try_advisory_xact_lock(${String(MIGRATION_LOCK)}::bigint) AS taken`,
  )
  const wait = (ms: number) => rows(tx, sql.raw(`SET LOCAL lock_timeout = ${Math.round(ms)}`))
  if (tried?.taken !== true) {
    const holder = await holderOf(tx)
    onWait(holder)
    await wait(lockWaitMs)
    await rows(tx, sql`SELECT pg_advisory_xact_lock(${String(MIGRATION_LOCK)}::bigint)`).catch(
      (error: unknown) => {
        if (!isLockTimeout(error)) throw error
        throw new Error(
          `the lock of migrations is held by ${holder}, which did not release it in ${Math.round(lockWaitMs / 1000)} s; end that session when no migration is under way`,
        )
      },
    )
  }
  await wait(TABLE_WAIT_MS)
}

/** Names the session that migrates, as far as this role may see it. */
async function holderOf(tx: Database): Promise<string> {
  const [found] = await rows<{ pid: number; about: string }>(
    tx,
    sql`SELECT locks.pid, concat_ws(', ', nullif(application_name, ''), usename, host(client_addr), state) AS about
      FROM pg_locks AS locks LEFT JOIN pg_stat_activity AS activity ON activity.pid = locks.pid
      WHERE locktype = 'advisory' AND granted AND objsubid = 1
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
        AND classid = ${String(MIGRATION_LOCK >> 32n)}::bigint::oid
        AND objid = ${String(MIGRATION_LOCK & 0xffff_ffffn)}::bigint::oid`,
  )
  return found === undefined
    ? 'a session that has just ended'
    : `the session with process id ${found.pid} (${found.about})`
}

/** Not by IF NOT EXISTS, which needs the right to create one even where it exists. */
async function ensureSchema(tx: Database, name: string): Promise<void> {
  const found = await rows(tx, sql`SELECT FROM pg_namespace WHERE nspname = ${name}`)
  if (found.length === 0) await rows(tx, sql.raw(`CREATE SCHEMA ${quoteIdentifier(name)}`))
}

async function ensureRecord(tx: Database, schema: string): Promise<void> {
  await ensureSchema(tx, recordSchemaOf(schema))
  const { migrations, releases } = recordTables(schema)
  await rows(
    tx,
    sql`CREATE TABLE IF NOT EXISTS ${migrations} (id SERIAL PRIMARY KEY, hash text NOT NULL, created_at bigint)`,
  )
  await rows(
    tx,
    sql`CREATE TABLE IF NOT EXISTS ${releases} (release int PRIMARY KEY, oldest int NOT NULL,
      migrated_at timestamptz NOT NULL DEFAULT clock_timestamp())`,
  )
}

/** drizzle-kit writes the schema of referenced tables into constraints. */
function inSearchPath(statement: string): string {
  return statement.replaceAll('"public".', '')
}
