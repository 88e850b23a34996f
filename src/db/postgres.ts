import { parsePgArray } from 'drizzle-orm/pg-core'
import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import type { Database } from './database.ts'
import * as schema from './schema.ts'

export interface OpenDatabase {
  db: Database
  close: () => Promise<void>
}

export interface PostgresOptions {
  maxConnections?: number | undefined
  /** Parameters of every session: a pooler in between may not know them. */
  session?: { application_name: string; statement_timeout: number }
  /** Sees the text of every statement, for counting. */
  onStatement?: ((text: string) => void) | undefined
}

const TEXT_ARRAY = 1009

/** Connects to Postgres, whose schema is up to date. The first statement makes the first connection. */
export function connectPostgres(
  url: string,
  { maxConnections = 10, session, onStatement }: PostgresOptions,
): OpenDatabase {
  const client = postgres(url, {
    max: maxConnections,
    connect_timeout: 3,
    // The driver's own backoff grows to 20 s, and a request waits it out before it hears of the outage.
    backoff: () => 0.1,
    onnotice: () => {},
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
  const db = drizzle({
    client,
    schema,
    ...(onStatement !== undefined && { logger: { logQuery: (text) => onStatement(text) } }),
  })
  return { db: db as unknown as Database, close: () => client.end({ timeout: 5 }) }
}
