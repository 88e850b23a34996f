import { type SQL, sql } from 'drizzle-orm'
import type { Distribution } from './distribution.ts'

/**
 * The time of decisions about money: Postgres' own clock, so that processes whose clocks differ decide alike. Volatile:
 * a guard that was blocked by a row lock reads it again. Tests substitute a clock of their own.
 */
export type DatabaseClock = () => SQL

const postgresClock: DatabaseClock = () => sql`clock_timestamp()`

/**
 * The clock of decisions; `now` is the process's time, which is Postgres' as the watch read it last. Where several servers keep rows,
 * statements have it as a parameter: Citus refuses functions of time in most places of a statement that changes rows. A guard that
 * waited for a row then decides by a time that is older by the wait, and by how long the process stood still before, which
 * `idle_in_transaction_session_timeout` and `statement_timeout` bound to 8 s.
 */
export function clockOf(distribution: Distribution | undefined, now: () => number): DatabaseClock {
  return distribution?.hasManyServers === true ? () => timestamptz(now()) : postgresClock
}

/**
 * The time of a search: read once, as its statement begins, so that an index can look it up. A search that reads the clock for each row reads
 * all rows of an index when none is due. Not for guards, which may have waited for a row.
 */
export function searchTime({
  databaseTime,
  distribution,
}: {
  databaseTime: DatabaseClock
  distribution?: Distribution | undefined
}): SQL {
  // A parameter where several servers keep rows.
  return distribution?.hasManyServers === true ? databaseTime() : sql`(SELECT ${databaseTime()})`
}

/** The time that a process was told, or Postgres' own where that is later: a statement that waited extends nothing. */
export function latest(processTime: SQL): SQL {
  return sql`greatest(${processTime}, clock_timestamp())`
}

/** A time as a timestamptz parameter, from milliseconds since 1970. */
export function timestamptz(ms: number): SQL {
  return sql`${new Date(ms).toISOString()}::timestamptz`
}

/** As `timestamptz`, for a time that may be absent. */
export function timestamptzOrNull(ms: number | null): SQL {
  return sql`${ms === null ? null : new Date(ms).toISOString()}::timestamptz`
}

/** A moment later than another one. */
export function later(time: SQL, ms: number): SQL {
  return sql`(${time} + ${Math.round(ms)}::float8 * interval '1 millisecond')`
}

/**
 * A timestamptz expression as milliseconds since 1970; its text would depend on the session's settings. At UTC, the function is immutable,
 * which Citus requires of what a statement returns.
 */
export function milliseconds(time: SQL): SQL {
  return sql`(extract(epoch FROM ${time} AT TIME ZONE 'UTC') * 1000)::float8`
}
