import { DrizzleQueryError, type SQL, TransactionRollbackError } from 'drizzle-orm'
import type { PgDatabase, PgQueryResultHKT } from 'drizzle-orm/pg-core'
import type { Refused, Result } from '../result.ts'
import type * as schema from './schema.ts'

/** PGlite, Postgres, or a transaction on either. */
export type Database = PgDatabase<PgQueryResultHKT, typeof schema>

/** Runs one hand-written statement and returns its rows. The statement casts what the two drivers parse differently. */
export async function rows<Row>(db: Database, statement: SQL): Promise<Row[]> {
  return rowsOf(await db.execute(statement))
}

/** The rows of a driver's result: PGlite wraps them, postgres.js does not. */
export function rowsOf<Row>(result: unknown): Row[] {
  return Array.isArray(result) ? result : (result as { rows: Row[] }).rows
}

/** Runs a change as one transaction. A refusal rolls it back and is returned. */
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

/** SQLSTATE classes of a database that is unavailable: connection, resources, operator intervention, lost races. */
const OUTAGE_STATES = /^(08|53|57|40|55P03|25006|28|3D)/
const OUTAGE_CODES =
  /^(CONNECT|ECONN|EPIPE|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH|EAI_AGAIN|ENOENT|NOT_CONNECTED)/

/** Whether another session held a row for longer than `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return hasState(error, '55P03')
}

/** Whether Postgres ended a statement because two sessions waited for each other. */
export function isDeadlock(error: unknown): boolean {
  return hasState(error, '40P01')
}

function hasState(error: unknown, state: string): boolean {
  for (let at = error; at instanceof Error; at = at.cause)
    if ('code' in at && at.code === state) return true
  return false
}

/** Whether an error is an outage, after which the caller should retry, and not a bug. */
export function isOutage(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = 'code' in at ? String(at.code) : ''
    if (OUTAGE_STATES.test(code) || OUTAGE_CODES.test(code)) return true
    if (/PGlite is clos(ed|ing)/.test(at.message)) return true
  }
  return false
}

/** An error's message for the operator. Of a failed statement only its code: its text holds parameters. */
export function messageOf(error: unknown): string {
  // An AggregateError, as for the two addresses of localhost, may have no message of its own.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ')
  if (error instanceof DrizzleQueryError) return `a statement failed, ${codeOf(error.cause)}`
  return error instanceof Error ? error.message : String(error)
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : 'without a code'
}
