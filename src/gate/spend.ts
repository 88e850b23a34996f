import { type SQL, sql } from 'drizzle-orm'
import { toHex } from '../bytes.ts'
import { type Database, rows } from '../db/database.ts'
import type { KeyHash } from '../keys/token.ts'
import { WINDOW_SECONDS } from './quota.ts'

/** Requests that came with one key from one address: how many ask to be let through. */
export interface Ask {
  hash: KeyHash
  ip: string | undefined
  wanted: number
}

export interface Limits {
  perMinute: number
  perHour: number
  perDay: number
}

/** What the database says of one ask. A key that is not known has no row. */
export interface Verdict {
  /** Which of the asks, from 0. */
  ask: number
  keyId: string
  walletAddress: string
  permissions: string[]
  refusal: 'revoked' | 'suspended' | 'expired' | 'ip' | null
  granted: number
  minuteLimit: number
  minuteUsed: number
  minuteWindow: number
  hourUsed: number
  hourWindow: number
  dayUsed: number
  dayWindow: number
}

/**
 * Steps 2 to 5 of the order of checks in one statement: finds the keys, refuses the dead ones, spends all three
 * windows or none, and counts what it let through as failed until its success is committed.
 *
 * Rows are locked in one order, so that two batches cannot wait for each other, and the UPDATE joins on the primary
 * key, so that a row which changed while the lock was waited for is read anew. A window that is newer than this
 * process's clock is kept: clocks of several processes differ, and a limit must hold all the same.
 */
export async function spend(
  db: Database,
  asks: readonly Ask[],
  limits: Limits,
  now: number,
): Promise<Verdict[]> {
  return rows<Verdict>(db, statement(asks, limits, now))
}

function statement(asks: readonly Ask[], limits: Limits, now: number): SQL {
  const hashes = `{${asks.map((ask) => `"\\\\x${toHex(ask.hash)}"`).join(',')}}`
  const ips = `{${asks.map((ask) => ask.ip ?? 'NULL').join(',')}}`
  const wanted = `{${asks.map((ask) => ask.wanted).join(',')}}`
  const at = sql`${new Date(now).toISOString()}::timestamptz`
  const window = (length: number) => sql`${Math.floor(now / 1000 / length)}::bigint`
  return sql`
    WITH asked AS (
      SELECT * FROM unnest(${hashes}::text::bytea[], ${ips}::text::inet[], ${wanted}::text::int[])
        WITH ORDINALITY AS a (hash, ip, wanted, ordinal)
    ), locked AS (
      SELECT * FROM api_keys WHERE key_hash IN (SELECT hash FROM asked) ORDER BY id FOR UPDATE
    ), known AS (
      SELECT id, key_hash, wallet_address, permissions, ip_allowlist,
        CASE
          WHEN revoked_at IS NOT NULL THEN 'revoked'
          WHEN suspended_at IS NOT NULL THEN 'suspended'
          WHEN expires_at <= ${at} THEN 'expired'
        END AS dead,
        coalesce(rate_limit_per_minute, ${limits.perMinute}::int) AS minute_limit,
        greatest(minute_window, ${window(WINDOW_SECONDS.minute)}) AS minute_window,
        greatest(hour_window, ${window(WINDOW_SECONDS.hour)}) AS hour_window,
        greatest(day_window, ${window(WINDOW_SECONDS.day)}) AS day_window,
        CASE WHEN minute_window >= ${window(WINDOW_SECONDS.minute)} THEN minute_count ELSE 0 END AS minute_used,
        CASE WHEN hour_window >= ${window(WINDOW_SECONDS.hour)} THEN hour_count ELSE 0 END AS hour_used,
        CASE WHEN day_window >= ${window(WINDOW_SECONDS.day)} THEN day_count ELSE 0 END AS day_used
      FROM locked
    ), judged AS (
      SELECT *, coalesce(dead, CASE WHEN NOT (ip_allowlist IS NULL OR coalesce(ip <<= ANY (ip_allowlist), false))
        THEN 'ip' END) AS refusal
      FROM known JOIN asked ON hash = key_hash
    ), ranked AS (
      SELECT *,
        least(minute_limit - minute_used, ${limits.perHour}::int - hour_used, ${limits.perDay}::int - day_used) AS room,
        sum(CASE WHEN refusal IS NULL THEN wanted ELSE 0 END)
          OVER (PARTITION BY id ORDER BY ordinal) - wanted AS ahead
      FROM judged
    ), granted AS (
      SELECT *, CASE WHEN refusal IS NULL THEN greatest(0, least(wanted, room - ahead)) ELSE 0 END::int AS granted
      FROM ranked
    ), spent AS (
      UPDATE api_keys SET
        minute_window = g.minute_window, minute_count = g.minute_used + g.granted,
        hour_window = g.hour_window, hour_count = g.hour_used + g.granted,
        day_window = g.day_window, day_count = g.day_used + g.granted,
        total_requests = total_requests + g.granted,
        last_used_at = greatest(last_used_at, ${at})
      FROM (
        SELECT id, minute_window, minute_used, hour_window, hour_used, day_window, day_used,
          sum(granted)::int AS granted
        FROM granted WHERE granted > 0 GROUP BY 1, 2, 3, 4, 5, 6, 7
      ) AS g
      WHERE api_keys.id = g.id
    )
    SELECT (ordinal - 1)::int AS "ask", id AS "keyId", wallet_address AS "walletAddress", permissions, refusal,
      granted, minute_limit AS "minuteLimit",
      (minute_used + least(ahead, greatest(room, 0)))::int AS "minuteUsed", minute_window::float8 AS "minuteWindow",
      (hour_used + least(ahead, greatest(room, 0)))::int AS "hourUsed", hour_window::float8 AS "hourWindow",
      (day_used + least(ahead, greatest(room, 0)))::int AS "dayUsed", day_window::float8 AS "dayWindow"
    FROM granted`
}

/** The part of a statement that turns a counted request into a success; `done` names the CTE whose row is the proof. */
export function countSuccess(
  keyId: string,
  done: SQL,
  counter?: 'creation_count' | 'execution_count' | 'cancellation_count',
): SQL {
  const also = counter === undefined ? sql`` : sql.raw(`, ${counter} = ${counter} + 1`)
  return sql`UPDATE api_keys SET successful_requests = successful_requests + 1${also}
    WHERE id = ${keyId} AND EXISTS (SELECT FROM ${done})`
}

/** Turns a counted request into a success when nothing was changed by it: a read, or an order that was there already. */
export async function succeed(db: Database, keyId: string): Promise<void> {
  await db.execute(countSuccess(keyId, sql`(SELECT 1) AS answered`))
}
