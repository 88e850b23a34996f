import type { PostgresTarget } from './connection-string.ts'

/** Names and values of server settings. */
export type Settings = Readonly<Record<string, string | number>>

/**
 * Generic plans: planning the gate's statement for each batch takes longer than running it. A generic plan made while a
 * table was empty must stay right when the table has grown, so it may use indexes only. jit is off because before
 * Postgres 18 the cost of a sequential scan, which enable_seqscan inflates, triggers the compilation of the statement.
 */
export const PLANNING = {
  plan_cache_mode: 'force_generic_plan',
  enable_seqscan: 'off',
  jit: 'off',
} as const

/**
 * A plan for a statement on distributed tables is of the shards that it names: it cannot be one for all of them. Of a statement that reads
 * all shards, one connection to a node is used at a time: after one that used several, Citus lets a transaction change no reference table.
 */
export const DISTRIBUTED_PLANNING = {
  plan_cache_mode: 'force_custom_plan',
  'citus.multi_shard_modify_mode': 'sequential',
} as const

/** The longest that a statement may run. Below the pool's own limit for a silent server. */
export const STATEMENT_TIMEOUT_MS = 3_000

/**
 * What every session of the service has, whatever is set on the role, the database or the server: how values are written,
 * how transactions see each other, and how long a statement may take. `default_transaction_read_only` is not among them:
 * an operator, or a server whose disk is full, uses it to stop writes. Times are in milliseconds.
 */
const PINNED: Settings = {
  DateStyle: 'ISO, MDY',
  IntervalStyle: 'postgres',
  TimeZone: 'UTC',
  bytea_output: 'hex',
  extra_float_digits: 1,
  standard_conforming_strings: 'on',
  array_nulls: 'on',
  // A statement that waited for a row must see what its holder committed.
  default_transaction_isolation: 'read committed',
  default_transaction_deferrable: 'off',
  statement_timeout: STATEMENT_TIMEOUT_MS,
  lock_timeout: 2_000,
  // A process that stops in the middle of a transaction holds a row no longer.
  idle_in_transaction_session_timeout: 5_000,
  // The pool keeps sessions. Of Postgres 14 and 17.
  idle_session_timeout: 0,
  transaction_timeout: 0,
  row_security: 'on',
  transform_null_equals: 'off',
  quote_all_identifiers: 'off',
  enable_indexscan: 'on',
  enable_bitmapscan: 'on',
  ...PLANNING,
}

const DURABILITY = 'synchronous_commit'

/** What a session of the role has before the service has set anything. */
export interface Surroundings {
  searchPath: string
  /** By their names in lower case, those of the server's settings that the service relies on. */
  found: Readonly<Record<string, string>>
}

const SURROUNDINGS = [
  ...Object.keys({ ...PINNED, ...DISTRIBUTED_PLANNING }),
  DURABILITY,
  'session_replication_role',
]
  .map((name) => `'${name.toLowerCase()}'`)
  .join(', ')

/** Reads the surroundings of a session that has no settings of the service. */
export async function readSurroundings(
  read: (text: string) => PromiseLike<unknown>,
): Promise<Surroundings> {
  const [row] = (await read(
    `SELECT current_setting('search_path') AS path, (SELECT json_object_agg(lower(name), setting)::text
      FROM pg_catalog.pg_settings WHERE lower(name) IN (${SURROUNDINGS})) AS found`,
  )) as { path: string; found: string }[]
  const found = JSON.parse(row?.found ?? '{}') as Record<string, string>
  if (found.session_replication_role !== 'origin')
    throw new Error(
      'session_replication_role is not origin for this role, so that triggers would not run: ALTER ROLE .. RESET session_replication_role',
    )
  return { searchPath: row?.path ?? '', found }
}

/**
 * The settings of a session: of `PINNED` those that the server knows. Its search_path is the one that the service was started
 * with, and so is what a commit waits for, unless that is nothing: an order that was sent must not be forgotten by a crash.
 */
export function sessionSettings({ searchPath, found }: Surroundings): Settings {
  const known = Object.entries(PINNED).filter(([name]) => found[name.toLowerCase()] !== undefined)
  const durability = found[DURABILITY] === 'off' ? 'on' : (found[DURABILITY] ?? 'on')
  return { ...Object.fromEntries(known), [DURABILITY]: durability, search_path: searchPath }
}

/** The search_path that a connection string asks for; undefined leaves the role's. */
export function searchPathOf({ schema, searchPath }: PostgresTarget): string | undefined {
  return searchPath ?? (schema === undefined ? undefined : quoteIdentifier(schema))
}

/** A transaction's first text where sessions are shared: its settings end with it. One message, and so one round trip. */
export function beginWith(settings: Settings): string {
  const local = Object.entries(settings).filter(([name]) => !name.startsWith('default_transaction'))
  return [
    BEGIN,
    ...local.map(([name, value]) =>
      name === 'search_path'
        ? `SET LOCAL search_path = ${value}`
        : `SET LOCAL ${name} = '${value}'`,
    ),
  ].join('; ')
}

/** Whatever isolation the role has. */
export const BEGIN = 'BEGIN ISOLATION LEVEL READ COMMITTED, NOT DEFERRABLE'

/** A statement that returns a row where a session has other settings than these. */
export function deviationsText(settings: Settings): string {
  const expected = Object.entries(settings)
    .filter(([name]) => name !== 'search_path')
    .map(([name, value]) => `('${name.toLowerCase()}', '${value}')`)
  return `SELECT lower(name) AS name FROM pg_catalog.pg_settings
    JOIN (VALUES ${expected.join(', ')}) AS expected (setting_name, value) ON lower(name) = setting_name
    WHERE setting <> value`
}

export function quoteIdentifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`
}
