import { chmodSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { PGlite } from '@electric-sql/pglite'
import { readMigrationFiles } from 'drizzle-orm/migrator'
import { drizzle as drizzlePglite } from 'drizzle-orm/pglite'
import { migrate as migratePglite } from 'drizzle-orm/pglite/migrator'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import { migrate as migratePostgres } from 'drizzle-orm/postgres-js/migrator'
import postgres from 'postgres'
import { type Database, messageOf } from './database.ts'
import { lockFolder } from './folder-lock.ts'
import { connectPostgres, type OpenDatabase } from './postgres.ts'
import * as schema from './schema.ts'

const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url))
/** The key of the advisory lock that a migrating process holds; no other lock in the database uses it. */
const MIGRATION_LOCK = 7_201_404_511

/**
 * Generic plans: planning the gate's statement for each batch takes longer than running it. A generic plan made while a
 * table was empty must stay right when the table has grown, so it may use indexes only. jit is off because before
 * Postgres 18 the cost of a sequential scan, which enable_seqscan inflates, triggers the compilation of the statement.
 */
const PLANNING = { plan_cache_mode: 'force_generic_plan', enable_seqscan: 'off', jit: 'off' }

/** Session settings, in milliseconds: a process that stops in the middle of a transaction holds a row no longer. */
const SESSION = {
  application_name: 'latchkey',
  statement_timeout: 5_000,
  lock_timeout: 2_000,
  idle_in_transaction_session_timeout: 5_000,
  ...PLANNING,
}

export interface OpenOptions {
  /** Connections to Postgres, at most. PGlite has one. */
  maxConnections?: number
  /** Receives the text of every statement, for counting. */
  onStatement?: (text: string) => void
}

/** Opens `pglite:<folder>`, `pglite::memory:` or `postgres://..` and brings the schema up to date. */
export async function openDatabase(url: string, options: OpenOptions = {}): Promise<OpenDatabase> {
  return url.startsWith('pglite:')
    ? openPglite(url.slice('pglite:'.length), options)
    : openPostgres(url, options)
}

function settings({ onStatement }: OpenOptions) {
  return onStatement === undefined
    ? { schema }
    : { schema, logger: { logQuery: (text: string) => onStatement(text) } }
}

async function openPglite(folder: string, options: OpenOptions): Promise<OpenDatabase> {
  const inMemory = folder === ':memory:'
  const unlock = inMemory
    ? () => {}
    : lockFolder(folder, 'set DATABASE_URL=pglite:<another folder>')
  try {
    const client = await PGlite.create(inMemory ? 'memory://' : privateFolder(folder))
    for (const [name, value] of Object.entries(PLANNING))
      await client.exec(`SET ${name} = ${value}`)
    const db = drizzlePglite({ client, ...settings(options) })
    await migratePglite(db, { migrationsFolder: MIGRATIONS })
    return {
      db: db as unknown as Database,
      close: async () => {
        await client.close()
        unlock()
      },
    }
  } catch (error) {
    unlock()
    throw error
  }
}

/** The folder of PGlite's files, closed to other users whatever mode it had: the files themselves are created readable by all. */
function privateFolder(folder: string): string {
  const files = join(folder, 'postgres')
  mkdirSync(files, { recursive: true, mode: 0o700 })
  chmodSync(files, 0o700)
  return files
}

async function openPostgres(url: string, options: OpenOptions): Promise<OpenDatabase> {
  await ensureMigrated(url).catch((error: unknown) => {
    throw new Error(`The database of DATABASE_URL cannot be opened: ${messageOf(error)}`, {
      cause: error,
    })
  })
  return connectPostgres(url, {
    maxConnections: options.maxConnections,
    session: SESSION,
    onStatement: options.onStatement,
  })
}

/**
 * Brings the schema up to date. A database that is needs no right to change it: the service's role may have none.
 */
async function ensureMigrated(url: string): Promise<void> {
  const client = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} })
  const last = readMigrationFiles({ migrationsFolder: MIGRATIONS }).at(-1)?.folderMillis ?? 0
  const applied = await client<{ at: number | null }[]>`
    SELECT max(created_at)::float8 AS at FROM drizzle.__drizzle_migrations`
    .then(([row]) => row?.at ?? 0)
    .catch((error: unknown) => {
      if (error instanceof postgres.PostgresError) return 0
      throw error
    })
    .finally(() => client.end({ timeout: 5 }))
  if (applied < last) await migrateUnderLock(url)
}

/** Migrates under a lock: of several processes that start at once, one migrates and the others wait. */
export async function migrateUnderLock(url: string): Promise<void> {
  const client = postgres(url, { max: 1, connect_timeout: 10, onnotice: () => {} })
  try {
    await client`SELECT pg_advisory_lock(${MIGRATION_LOCK})`
    await migratePostgres(drizzlePostgres({ client }), { migrationsFolder: MIGRATIONS })
  } finally {
    await client.end({ timeout: 5 })
  }
}
