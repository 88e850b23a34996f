import { type SQL, sql } from 'drizzle-orm'

/** A time as a timestamptz parameter, from milliseconds since 1970. */
export function timestamptz(ms: number): SQL {
  return sql`${new Date(ms).toISOString()}::timestamptz`
}

/** As `timestamptz`, for a time that may be absent. */
export function timestamptzOrNull(ms: number | null): SQL {
  return sql`${ms === null ? null : new Date(ms).toISOString()}::timestamptz`
}

/** A timestamptz column as milliseconds since 1970; its text would depend on the session's settings. */
export function millisecondsOf(column: string): SQL {
  return sql.raw(`(extract(epoch FROM ${column}) * 1000)::float8`)
}
