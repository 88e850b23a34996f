import { parsePgArray } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import type { Database } from './database.ts'
import { openPool } from './pool.ts'

export interface OpenDatabase {
  db: Database
  close: () => Promise<void>
}

export interface PostgresOptions {
  maxConnections?: number | undefined
  /** Parameters of every session. Leave them out where a pooler in between rejects them. */
  session?: Record<string, string | number>
  /** Receives the text of every statement, for counting. */
  onStatement?: ((text: string) => void) | undefined
}

const TEXT_ARRAY = 1009
const ACQUIRE_TIMEOUT_MS = 5_000
/** Longer than statement_timeout, by which a live server ends a statement. */
const SILENCE_TIMEOUT_MS = 7_000

/** Opens a pool to a Postgres whose schema is up to date. The first statement makes the first connection. */
export function connectPostgres(
  url: string,
  { maxConnections = 10, session, onStatement }: PostgresOptions,
): OpenDatabase {
  // drizzle registers its parsers and serializers here; every connection gets the same ones.
  const types = { parsers: {}, serializers: {} }
  const pool = openPool({
    max: maxConnections,
    connect(onLost) {
      const client = postgres(url, {
        max: 1,
        connect_timeout: 3,
        max_lifetime: null,
        onnotice: () => {},
        onclose: onLost,
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
        ...(session !== undefined && { connection: session }),
      })
      Object.assign(client.options.parsers, types.parsers)
      Object.assign(client.options.serializers, types.serializers)
      return {
        // A prepared statement costs one round trip; an unprepared one costs two.
        unsafe: (text, parameters, options) =>
          client.unsafe(text, parameters as never[], { ...options, prepare: true }),
        end: client.end,
      }
    },
    acquireTimeoutMs: ACQUIRE_TIMEOUT_MS,
    silenceTimeoutMs: SILENCE_TIMEOUT_MS,
  })
  const client = { ...pool, options: types } as unknown as Sql
  // Without the schema, which serves relational queries only: reading it costs a Worker 0.2 ms with each request.
  const db = drizzle({
    client,
    ...(onStatement !== undefined && { logger: { logQuery: (text) => onStatement(text) } }),
  })
  return { db: db as unknown as Database, close: pool.end }
}
