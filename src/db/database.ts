import { DrizzleQueryError, type SQL, TransactionRollbackError } from 'drizzle-orm'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type { Refused, Result } from '../result.ts'
import type * as schema from './schema.ts'

/** What a verb may ask: PGlite, Postgres, or a transaction on either. */
export type Database = PgDatabase<PgQueryResultHKT, typeof schema>

/** Runs one hand-written statement and answers its rows. The statement casts what the drivers would read differently. */
export async function rows<Row>(db: Database, statement: SQL): Promise<Row[]> {
  return rowsOf(await db.execute(statement))
}

/** The rows of an answer, whichever driver gave it. */
export function rowsOf<Row>(answer: unknown): Row[] {
  return Array.isArray(answer) ? answer : (answer as { rows: Row[] }).rows
}

/** Runs a change as one transaction. A refusal undoes everything that came before it, and is the answer. */
export async function atomically<T, R extends string>(
  db: Database,
  change: (tx: Database) => Promise<Result<T, R>>,
): Promise<Result<T, R>> {
  let refused: Refused<R> | undefined
  try {
    return await db.transaction(async (tx) => {
      const result = await change(tx)
      if (result.ok) return result
      refused = result
      return tx.rollback()
    })
  } catch (error) {
    if (refused !== undefined && error instanceof TransactionRollbackError) return refused
    throw error
  }
}

/** SQLSTATE classes of a database that cannot answer now: connection, resources, operator intervention, lost races. */
const OUTAGE_STATES = /^(08|53|57|40|55P03|25006|28|3D)/
const OUTAGE_CODES =
  /^(CONNECT|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH|EAI_AGAIN|ENOENT|NOT_CONNECTED)/

/** A row was held by another session for longer than `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if ('code' in at && at.code === '55P03') return true
  return false
}

/** Tells an outage (the caller should come back) from a fault of ours (a bug). */
export function isOutage(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = 'code' in at ? String(at.code) : ''
    if (OUTAGE_STATES.test(code) || OUTAGE_CODES.test(code)) return true
    if (/PGlite is clos(ed|ing)/.test(at.message)) return true
  }
  return false
}

/** An error in words, for whoever runs the service. Of a failed statement only its code: the rest holds parameters. */
export function messageOf(error: unknown): string {
  // An error of several attempts, as for the two addresses of localhost, may have no message of its own.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ')
  if (error instanceof DrizzleQueryError) return `a statement failed, ${codeOf(error.cause)}`
  return error instanceof Error ? error.message : String(error)
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'without a code'
}
