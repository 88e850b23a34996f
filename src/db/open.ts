import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { drizzle as drizzlePostgres } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import { type PostgresTarget, parseConnectionString } from './connection-string.ts'
import { type Database, messageOf, sqlStateOf } from './database.ts'
import { type DistributeOptions, distribute } from './distribute.ts'
import { hasDistributedTables } from './distribution.ts'
import { type Certificates, driverOptions, startupParameters } from './driver.ts'
import { type MigrateOptions, migrate, needsMigration, readState } from './migrate.ts'
import { openPglite } from './pglite.ts'
import {
  connectPostgres,
  type OpenDatabase,
  type PostgresOptions,
  type PostgresRoute,
} from './postgres.ts'
import { releaseProblem } from './release.ts'
import * as schema from './schema.ts'
import { primaryFirst } from './servers.ts'
import {
  DISTRIBUTED_PLANNING,
  deviationsText,
  quoteIdentifier,
  readSurroundings,
  type Settings,
  searchPathOf,
  sessionSettings,
} from './session.ts'

const MIGRATIONS = fileURLToPath(new URL('../../drizzle', import.meta.url))
const CONNECT_TIMEOUT_SECONDS = 10
/** protocol_violation: how PgBouncer refuses a startup parameter. */
const PROTOCOL_VIOLATION = '08P01'
const FORBIDDEN = '42501'
/** What sessions that distribute call themselves: they may be left from a process that was killed, and are not the service's. */
const DISTRIBUTION = 'latchkey-distribute'
const MIGRATE_ADVICE =
  '. Migrate it with the role that owns it: SERVICE_ROLE=<this role> npm run migrate'

export interface OpenOptions extends Pick<PostgresOptions, 'onChange'> {
  /** Connections to Postgres, at most. PGlite has one. */
  maxConnections?: number
  /** Receives the text of every statement, for counting, and its parameters. */
  onStatement?: (text: string, parameters: readonly unknown[]) => void
  /** Receives what a migration waits for. */
  onWait?: MigrateOptions['onWait']
}

/** Opens `pglite:<folder>`, `pglite::memory:` or `postgres://..` and brings the schema up to date. */
export async function openDatabase(url: string, options: OpenOptions = {}): Promise<OpenDatabase> {
  if (url.startsWith('pglite:'))
    return openPglite(url.slice('pglite:'.length), { ...options, migrationsFolder: MIGRATIONS })
  try {
    const found = await findRoute(url)
    const { state } = found
    const problem = releaseProblem(state.recorded)
    if (problem !== undefined) throw new Error(problem)
    // A database that is up to date needs no right to change it: the service's role may have none.
    if (needsMigration(state, MIGRATIONS)) await migrateOver(found, options)
    return connectPostgres(found.route, options)
  } catch (error) {
    const advice = sqlStateOf(error) === FORBIDDEN ? MIGRATE_ADVICE : ''
    throw new Error(`The database of DATABASE_URL cannot be opened: ${messageOf(error)}${advice}`, {
      cause: error,
    })
  }
}

/** Opens a standby for reads. It is not migrated: its primary is. */
export async function openStandby(url: string, maxConnections = 10): Promise<OpenDatabase> {
  const { route } = await findRoute(url)
  return connectPostgres(route, { maxConnections, readsStandby: true })
}

/** Brings the schema up to date, and resolves to the name of the database. */
export async function migrateUnderLock(
  url: string,
  options: Pick<OpenOptions, 'onWait'> & { lockWaitMs?: number } = {},
): Promise<string> {
  const found = await findRoute(url)
  const problem = releaseProblem(found.state.recorded)
  if (problem !== undefined) throw new Error(problem)
  await migrateOver(found, options)
  return found.route.target.database ?? found.state.schema
}

/** As `distribute`, for the database of a connection string. Resolves to how many steps were taken. */
export async function distributeDatabase(url: string, options: DistributeOptions): Promise<number> {
  const { route, state } = await findRoute(url, DISTRIBUTION)
  const problem = releaseProblem(state.recorded)
  if (problem !== undefined) throw new Error(problem)
  if (needsMigration(state, MIGRATIONS))
    throw new Error('its schema is not up to date: npm run migrate')
  // A client without the limits of the service's sessions: a table may take hours to be distributed.
  const { search_path = '' } = route.settings
  return withClient(route, { search_path }, (client) => distribute(databaseOf(client), options))
}

interface Found {
  route: PostgresRoute
  state: Awaited<ReturnType<typeof readState>>
}

async function migrateOver(
  { route, state }: Found,
  { onWait = () => {}, lockWaitMs }: Pick<OpenOptions, 'onWait'> & { lockWaitMs?: number },
): Promise<void> {
  await withClient(route, {}, async (client) =>
    migrate(databaseOf(client), state.schema, {
      migrationsFolder: MIGRATIONS,
      onWait,
      ...(lockWaitMs !== undefined && { lockWaitMs }),
    }),
  )
}

/**
 * Finds out how the server of a connection string is reached: whether its sessions keep the settings that they start with, or a
 * pooler in between refuses or forgets them, or gives the session to others.
 */
export async function findRoute(url: string, applicationName?: string): Promise<Found> {
  const given = parseConnectionString(url)
  const parsed = applicationName === undefined ? given : { ...given, applicationName }
  const certificates = readCertificates(parsed)
  const way = { target: await primaryFirst(parsed, certificates), certificates }
  const { target } = way
  const [settings, state] = await withClient(way, {}, async (client) => {
    const surroundings = await readSurroundings((text) => client.unsafe(text))
    const searchPath = searchPathOf(target) ?? surroundings.searchPath
    const name = await schemaOf(client, target, searchPath)
    const db = databaseOf(client)
    const state = await readState(db, name)
    const settings = sessionSettings({ ...surroundings, searchPath })
    const isDistributed = await hasDistributedTables(client, quoteIdentifier(name))
    return [isDistributed ? { ...settings, ...DISTRIBUTED_PLANNING } : settings, state] as const
  })
  return { route: { ...way, carrier: await carrierOf(way, settings), settings }, state }
}

type Way = Pick<PostgresRoute, 'target' | 'certificates'>

async function carrierOf(way: Way, settings: Settings): Promise<PostgresRoute['carrier']> {
  const { isPooled } = way.target
  if (isPooled === true) return 'transaction'
  try {
    return await withClient(way, settings, async (client) => {
      const [backend] = await client.unsafe('SELECT pg_backend_pid() AS pid')
      const deviations = await client.unsafe(deviationsText(settings))
      // A pooler shows its clients process ids of its own.
      const isDirect = isPooled === false || backend?.pid === (await pidOf(client))
      return deviations.length === 0 && isDirect ? 'session' : 'transaction'
    })
  } catch (error) {
    if (isRefusedParameter(error)) return 'transaction'
    throw error
  }
}

async function pidOf(client: Sql): Promise<number | undefined> {
  return (await client.unsafe('SELECT 1')).state.pid
}

function isRefusedParameter(error: unknown): boolean {
  return (
    error instanceof Error &&
    'code' in error &&
    error.code === PROTOCOL_VIOLATION &&
    /startup parameter/.test(error.message)
  )
}

/** The schema that tables are made in: the one that the connection string names, or the first one of the search_path. */
async function schemaOf(
  client: Sql,
  { schema: named }: PostgresTarget,
  searchPath: string,
): Promise<string> {
  if (named !== undefined) return named
  const name = await client.begin(async (tx) => {
    await tx.unsafe(`SET LOCAL search_path = ${searchPath}`)
    const [found] = await tx.unsafe('SELECT current_schema() AS name')
    return found?.name as string | null
  })
  if (name !== null) return name
  throw new Error(
    `no schema of the search_path ${searchPath} exists or may be used: name one with schema= in DATABASE_URL, or create one of them`,
  )
}

function readCertificates(target: PostgresTarget): Certificates {
  const read = (parameter: string, path: string) => {
    try {
      return readFileSync(path, 'utf8')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      throw new Error(`the file of ${parameter} cannot be read, ${code}`)
    }
  }
  const { rootCertificate, clientCertificate, clientKey } = target
  return {
    ...(rootCertificate !== undefined && { ca: read('sslrootcert', rootCertificate) }),
    ...(clientCertificate !== undefined && { cert: read('sslcert', clientCertificate) }),
    ...(clientKey !== undefined && { key: read('sslkey', clientKey) }),
  }
}

/** A client of one connection, without prepared statements, as long as its work takes. */
export async function withClient<T>(
  { target, certificates }: Way,
  settings: Settings,
  work: (client: Sql) => Promise<T>,
): Promise<T> {
  const client = postgres({
    ...driverOptions(target, certificates),
    connect_timeout: target.connectTimeoutSeconds || CONNECT_TIMEOUT_SECONDS,
    prepare: false,
    fetch_types: false,
    connection: startupParameters(target, settings),
  })
  try {
    return await work(client)
  } finally {
    await client.end({ timeout: 5 })
  }
}

function databaseOf(client: Sql): Database {
  return drizzlePostgres({ client, schema }) as unknown as Database
}
