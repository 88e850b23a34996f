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
const OUTAGE_STATES = /^(08|53|57|40|55P03|25006|26000|28|3D|42P05)/
const OUTAGE_CODES =
  /^(CONNECT|ECONN|EPIPE|SASL_|ETIMEDOUT|ENOTFOUND|EHOSTUNREACH|EAI_AGAIN|ENOENT|NOT_CONNECTED)/

/** Errors of the pool: another socket, as a client's, breaks with the same codes, and that is no outage. */
const ofPool = new WeakSet<Error>()

/** Marks an error as one of the database, and throws it again. */
export function throwFromDatabase(error: unknown): never {
  if (error instanceof Error) ofPool.add(error)
  throw error
}

/** Whether another session held a row for longer than `lock_timeout`. */
export function isLockTimeout(error: unknown): boolean {
  return sqlStateOf(error) === '55P03'
}

/** Whether Postgres ended a statement because two sessions waited for each other. */
export function isDeadlock(error: unknown): boolean {
  return sqlStateOf(error) === '40P01'
}

/** Whether a statement would have given two rows what only one may have. */
export function isUniqueViolation(error: unknown): boolean {
  return sqlStateOf(error) === '23505'
}

/** Whether an error is an outage, after which the caller should retry, and not a bug. */
export function isOutage(error: unknown): boolean {
  for (let at = error; at instanceof Error; at = at.cause) {
    const code = 'code' in at ? String(at.code) : ''
    if (OUTAGE_STATES.test(code) || (ofPool.has(at) && OUTAGE_CODES.test(code))) return true
    if (/PGlite is clos(ed|ing)/.test(at.message)) return true
  }
  return false
}

/** Codes of a database that responds and must not be used, and what a probe is told of it. */
const UNUSABLE: Readonly<Record<string, string>> = {
  // read_only_sql_transaction: an operator has stopped writes, or the server has.
  25006: 'database_read_only',
  CONNECTION_TO_STANDBY: 'database_read_only',
  CONNECTION_TO_OLD_PRIMARY: 'database_old_primary',
  CONNECTION_TO_OTHER_CLUSTER: 'database_other_cluster',
}

/** Why a database that responds must not be used; undefined for any other fault. */
export function unusableReason(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) {
    const reason = 'code' in at ? UNUSABLE[String(at.code)] : undefined
    if (reason !== undefined) return reason
  }
  return undefined
}

/** SQLSTATE classes whose messages name tables, roles and settings, and no value of a row or a parameter. */
const NAMING_STATES = /^(08|0A|25|26|28|3D|3F|40|42|53|55|57|58|XX)/

/** An error's message for the operator. Of a failed statement the server's reason, and never its text, which has parameters. */
export function messageOf(error: unknown): string {
  // An AggregateError, as for the two addresses of localhost, may have no message of its own.
  if (error instanceof AggregateError) return error.errors.map(messageOf).join('; ')
  if (error instanceof DrizzleQueryError)
    return error.cause === undefined ? 'a statement failed' : messageOf(error.cause)
  if (!(error instanceof Error)) return String(error)
  return isServerError(error) ? reasonOf(error) : error.message
}

/** The SQLSTATE of an error, or of its cause; undefined where the server has not said one. */
export function sqlStateOf(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause) if (isServerError(at)) return at.code
  return undefined
}

type ServerError = Error & { code: string }

function isServerError(error: Error): error is ServerError {
  return 'severity' in error && 'code' in error && typeof error.code === 'string'
}

function reasonOf({ code, message }: ServerError): string {
  return NAMING_STATES.test(code) ? `${message} (SQLSTATE ${code})` : `SQLSTATE ${code}`
}
