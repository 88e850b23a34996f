import { parsePgArray } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import type { PostgresTarget } from './connection-string.ts'
import type { Database } from './database.ts'
import { type Certificates, driverOptions, startupParameters } from './driver.ts'
import { readIdentity, ServerError } from './identity.ts'
import { type Connection, openPool } from './pool.ts'
import { type Host, openServers, openStandbys, type ServersOptions } from './servers.ts'
import { BEGIN, beginWith, type Settings } from './session.ts'

export interface OpenDatabase {
  db: Database
  close: () => Promise<void>
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

export interface PostgresOptions extends Pick<ServersOptions, 'onChange'> {
  maxConnections?: number | undefined
  /** Whether standbys are read; else only a primary is used. */
  readsStandby?: boolean
  /** Receives the text of every statement, for counting, and its parameters. */
  onStatement?: ((text: string, parameters: readonly unknown[]) => void) | undefined
}

const TEXT_ARRAY = 1009
const ACQUIRE_TIMEOUT_MS = 3_000
/** Longer than statement_timeout, by which a live server ends a statement. */
const SILENCE_TIMEOUT_MS = 3_300
const CONNECT_TIMEOUT_SECONDS = 3
/** How long a server that must not be used is taken at its word: sessions that wait would connect to it without a pause. */
const REFUSAL_STANDS_MS = 100
/** A commit that waits for whatever commits wait for, and changes nothing. */
const COMMIT_ALONE = `SELECT pg_logical_emit_message(true, 'latchkey', '')`
/**
 * Where in Postgres a wait for a synchronous standby was cancelled. The commit then stands on this server alone, and is reported
 * as any other one, with a warning.
 */
const WAIT_FOR_STANDBY = 'SyncRepWaitForLSN'

interface Session {
  host: Host
  /** Undefined until its server has told. */
  timeline: number | undefined
}

/** Opens a pool to a Postgres whose schema is up to date. The first statement makes the first connection. */
export function connectPostgres(
  { target, certificates, settings, carrier }: PostgresRoute,
  { maxConnections = 10, readsStandby = false, onStatement, onChange }: PostgresOptions,
): OpenDatabase {
  const isShared = carrier === 'transaction'
  // drizzle registers its parsers and serializers here; every connection gets the same ones.
  const types = { parsers: {}, serializers: {} }
  /** Every open session, by what discards it. */
  const sessions = new Map<() => void, Session>()
  let refused: { error: ServerError; at: number } | undefined
  const servers = readsStandby
    ? openStandbys(target)
    : openServers(target, { certificates, onMove: discardOlder, onChange })

  function discardOlder(timeline: number | undefined): void {
    refused = undefined
    for (const [discard, session] of sessions) {
      const isOlder = (session.timeline ?? Infinity) < (timeline ?? 0)
      if (isOlder || session.host !== servers.current()) discard()
    }
  }

  function connect(onLost: () => void): Connection {
    if (refused !== undefined && performance.now() - refused.at < REFUSAL_STANDS_MS)
      return refusedConnection(refused.error, onLost)
    const session: Session = { host: servers.current(), timeline: undefined }
    const discard = () => {
      sessions.delete(discard)
      onLost()
    }
    sessions.set(discard, session)
    let isStandby = false
    const client = postgres({
      ...driverOptions(target, certificates, session.host),
      connect_timeout: Math.min(
        target.connectTimeoutSeconds || CONNECT_TIMEOUT_SECONDS,
        CONNECT_TIMEOUT_SECONDS,
      ),
      max_lifetime: null,
      // Of Postgres 14 and newer, before the session's first statement.
      onparameter: (name: string, value: unknown) => {
        if (name === 'in_hot_standby') isStandby = value === 'on'
      },
      onnotice: ({ routine }) => {
        if (routine === WAIT_FOR_STANDBY) discard()
      },
      onclose: () => {
        servers.suspect()
        discard()
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

    async function judge(): Promise<void> {
      const identity = await readIdentity((text) => client.unsafe(text))
      try {
        servers.accept(identity)
      } catch (error) {
        refused = { error: error as ServerError, at: performance.now() }
        throw error
      }
      session.timeline = identity.timeline
    }
    return {
      // A session of a role is as short as a request, which must not wait for one more round trip.
      ...(carrier !== 'role' && { opened: judge() }),
      // A prepared statement costs one round trip; an unprepared one costs two.
      unsafe: (text, parameters, options) =>
        client.unsafe(text, parameters as never[], { ...options, prepare: !isShared }),
      problem: () =>
        isStandby && !readsStandby ? new ServerError('CONNECTION_TO_STANDBY') : undefined,
      end: client.end,
    }
  }

  const pool = openPool({
    max: maxConnections,
    begin: isShared ? beginWith(settings) : BEGIN,
    isShared,
    connect,
    ...(!readsStandby && { probe: COMMIT_ALONE }),
    refresh: servers.refresh,
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    silenceTimeoutMs: SILENCE_TIMEOUT_MS,
  })
  const client = { ...pool, options: types } as unknown as Sql
  // Without the schema, which only relational queries use: reading it costs 0.2 ms, and a Worker opens a pool for each request.
  const db = drizzle({
    client,
    ...(onStatement !== undefined && { logger: { logQuery: onStatement } }),
  })
  return {
    db: db as unknown as Database,
    async close() {
      await Promise.all([servers.close(), pool.end()])
    },
  }
}

/** In place of a connection to a server that has just been refused. */
function refusedConnection(error: ServerError, onLost: () => void): Connection {
  queueMicrotask(onLost)
  return {
    opened: Promise.reject(error),
    unsafe: () => {
      throw error
    },
    end: async () => {},
  }
}
