import { parsePgArray } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Options, type Sql } from 'postgres'
import type { PostgresTarget } from './connection-string.ts'
import type { Database } from './database.ts'
import { openPool } from './pool.ts'
import { BEGIN, beginWith, type Settings } from './session.ts'

export interface OpenDatabase {
  db: Database
  close: () => Promise<void>
}

/** PEM texts that a connection string names by their files. */
export interface Certificates {
  ca?: string
  cert?: string
  key?: string
}

/** A connection string, and what was found out about the way to its server. */
export interface PostgresRoute {
  target: PostgresTarget
  certificates: Certificates
  settings: Settings
  /**
   * What gives a statement its settings: its session, which sets them as it starts; each transaction, where a pooler shares
   * sessions, and then no statement is prepared; or the role, which has them.
   */
  carrier: 'session' | 'transaction' | 'role'
}

export interface PostgresOptions {
  maxConnections?: number | undefined
  /** Receives the text of every statement, for counting, and its parameters. */
  onStatement?: ((text: string, parameters: readonly unknown[]) => void) | undefined
}

const TEXT_ARRAY = 1009
const APPLICATION = 'latchkey'
const ACQUIRE_TIMEOUT_MS = 3_000
/** Longer than statement_timeout, by which a live server ends a statement. */
const SILENCE_TIMEOUT_MS = 3_300
const CONNECT_TIMEOUT_SECONDS = 3

/** Opens a pool to a Postgres whose schema is up to date. The first statement makes the first connection. */
export function connectPostgres(
  { target, certificates, settings, carrier }: PostgresRoute,
  { maxConnections = 10, onStatement }: PostgresOptions,
): OpenDatabase {
  const isShared = carrier === 'transaction'
  // drizzle registers its parsers and serializers here; every connection gets the same ones.
  const types = { parsers: {}, serializers: {} }
  /** The host that the next connection tries first: not one that did not respond. */
  let first = 0
  const pool = openPool({
    max: maxConnections,
    begin: isShared ? beginWith(settings) : BEGIN,
    isShared,
    connect(onLost) {
      let isConnected = false
      const client = postgres({
        ...driverOptions(target, certificates, first),
        connect_timeout: Math.min(
          target.connectTimeoutSeconds || CONNECT_TIMEOUT_SECONDS,
          CONNECT_TIMEOUT_SECONDS,
        ),
        max_lifetime: null,
        onparameter: () => {
          isConnected = true
        },
        onclose: () => {
          if (!isConnected) first = (first + 1) % target.hosts.length
          onLost()
        },
        // The driver would query pg_type on every new connection; text[] is the only array type that statements return.
        fetch_types: false,
        types: {
          texts: {
            to: TEXT_ARRAY,
            from: [TEXT_ARRAY],
            serialize: (value: unknown) => value,
            parse: parsePgArray,
          },
        },
        connection: startupParameters(target, carrier === 'session' ? settings : {}),
      })
      Object.assign(client.options.parsers, types.parsers)
      Object.assign(client.options.serializers, types.serializers)
      return {
        // A prepared statement costs one round trip; an unprepared one costs two.
        unsafe: (text, parameters, options) =>
          client.unsafe(text, parameters as never[], { ...options, prepare: !isShared }),
        end: client.end,
      }
    },
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    silenceTimeoutMs: SILENCE_TIMEOUT_MS,
  })
  const client = { ...pool, options: types } as unknown as Sql
  // Without the schema, which only relational queries use: reading it costs 0.2 ms, and a Worker opens a pool for each request.
  const db = drizzle({
    client,
    ...(onStatement !== undefined && { logger: { logQuery: onStatement } }),
  })
  return { db: db as unknown as Database, close: pool.end }
}

/** What the driver needs of a connection string, for a client of one connection. */
export function driverOptions(
  target: PostgresTarget,
  certificates: Certificates = {},
  first = 0,
): Options<never> {
  const hosts = [...target.hosts.slice(first), ...target.hosts.slice(0, first)]
  const socket = hosts.length === 1 && hosts[0]?.host.startsWith('/') ? hosts[0] : undefined
  const options = {
    // The driver's types know one host, and not that these may be absent.
    host: hosts.map(({ host }) => host),
    port: hosts.map(({ port }) => port),
    ...(socket !== undefined && { path: `${socket.host}/.s.PGSQL.${socket.port}` }),
    ...(target.user !== undefined && { user: target.user }),
    ...(target.password !== undefined && { password: target.password }),
    ...(target.database !== undefined && { database: target.database }),
    ssl: tlsOf(target, certificates),
    max: 1,
    onnotice: () => {},
    // Of several servers the one that can be written to. With one alone there is no other to try.
    ...(hosts.length > 1 && { target_session_attrs: 'primary' }),
  }
  return options as unknown as Options<never>
}

/** The startup parameters of a session. */
export function startupParameters(
  { applicationName, serverOptions }: PostgresTarget,
  settings: Settings,
): Record<string, string | number> {
  return {
    application_name: applicationName ?? APPLICATION,
    ...(serverOptions !== undefined && { options: serverOptions }),
    ...settings,
  }
}

function tlsOf({ tls, hosts }: PostgresTarget, certificates: Certificates): unknown {
  if (tls === 'off') return false
  const verifies = tls === 'verify-ca' || tls === 'verify-full'
  if (!verifies && certificates.cert === undefined) return tls === 'prefer' ? 'prefer' : 'require'
  return {
    ...certificates,
    rejectUnauthorized: verifies,
    ...(tls === 'verify-ca' && { checkServerIdentity: () => undefined }),
    // The driver leaves the name out for an address, which would then be compared with localhost.
    ...(tls === 'verify-full' && hosts.length === 1 && { host: hosts[0]?.host }),
  }
}
