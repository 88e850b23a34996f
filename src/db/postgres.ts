import { parsePgArray } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres, { type Sql } from 'postgres'
import type { Database } from './database.ts'
import { openPool } from './pool.ts'
import * as schema from './schema.ts'

export interface OpenDatabase {
  db: Database
  close: () => Promise<void>
}

export interface PostgresOptions {
  maxConnections?: number | undefined
  /** Parameters of every session: a pooler in between may not know them. */
  session?: Record<string, string | number>
  /** Sees the text of every statement, for counting. */
  onStatement?: ((text: string) => void) | undefined
}

const TEXT_ARRAY = 1009
const TURN_TIMEOUT_MS = 5_000
/** A server ends a statement sooner than that, by its own timeout. */
const ANSWER_TIMEOUT_MS = 7_000

/** Connects to Postgres, whose schema is up to date. The first statement makes the first connection. */
export function connectPostgres(
  url: string,
  { maxConnections = 10, session, onStatement }: PostgresOptions,
): OpenDatabase {
  // drizzle says here how it wants to read and write types; each connection is told the same.
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
        // The driver would ask for all types with each new connection; this is the only array that statements answer.
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
        // Prepared, a statement costs one round trip; the driver would make it two, each time.
        unsafe: (text, parameters, options) =>
          client.unsafe(text, parameters as never[], { ...options, prepare: true }),
        end: client.end,
      }
    },
    turnTimeoutMs: TURN_TIMEOUT_MS,
    answerTimeoutMs: ANSWER_TIMEOUT_MS,
  })
  const client = { ...pool, options: types } as unknown as Sql
  const db = drizzle({
    client,
    schema,
    ...(onStatement !== undefined && { logger: { logQuery: (text) => onStatement(text) } }),
  })
  return { db: db as unknown as Database, close: pool.end }
}
