import { type SQL, sql } from 'drizzle-orm'
import { toHex } from '../bytes.ts'
import type { Database } from '../db/database.ts'
import { RIGHTS } from '../db/rights.ts'
import type { KeyHash } from '../keys/token.ts'
import { WINDOW_SECONDS } from './quota.ts'

/** Requests that came with one key from one address: how many ask to be let through. */
export interface Ask {
  hash: KeyHash
  /** An IP address, or undefined when the client has none that an allow list could hold. */
  ip: string | undefined
  wanted: number
}

export interface Limits {
  perMinute: number
  perHour: number
  perDay: number
}

/** What the database says of one ask. `keyId` is null when no key has the hash. */
export interface Verdict {
  keyId: string | null
  /** `busy` when another session holds the key's row, and it was not waited for. */
  refusal: 'revoked' | 'suspended' | 'expired' | 'rotated' | 'ip' | 'busy' | null
  /** What the key may do, `RIGHTS` as text; null when it is refused. */
  rights: string | null
  /** Hex; null when it was never sealed. */
  mac: string | null
  /** How many may pass of all that came with this key and are not refused, from whatever address. */
  room: number
  minuteLimit: number
  /** What was used of each window before the first of them, and which window that is. */
  minuteUsed: number
  minuteWindow: number
  hourUsed: number
  hourWindow: number
  dayUsed: number
  dayWindow: number
}

export interface Spent {
  /** One for each ask, in the same order. */
  verdicts: Verdict[]
  /** The orders that were looked up on the way, as the columns of their table. */
  orders: Record<string, unknown>[]
}

export type Spend = (
  asks: readonly Ask[],
  uuids: readonly string[],
  now: number,
  /** What to do about a key whose row another session holds. */
  held?: 'wait' | 'skip',
) => Promise<Spent>

/**
 * Prepares steps 2 to 5 of the order of checks as one statement: find the keys, refuse the dead ones, spend all three
 * windows or none, and count what is let through as failed until its success is committed.
 *
 * Keys are locked in one order, so that two batches cannot wait for each other, and the UPDATE joins on the primary
 * key, so that a row which changed while its lock was waited for is read anew. While a rotation's grace lasts, two secrets
 * lead to one row, and so to one quota. A window that is newer than this
 * process's clock is kept: the clocks of several processes differ, and a limit must hold all the same.
 */
export function prepareSpend(db: Database, limits: Limits): Spend {
  const prepared = {
    wait: statement(db, limits, 'wait').prepare('gate'),
    skip: statement(db, limits, 'skip').prepare('gate_skip'),
  }

  return async function spend(asks, uuids, now, held = 'wait') {
    const found = await prepared[held].execute({
      hashes: `{${asks.map((ask) => `"\\\\x${toHex(ask.hash)}"`).join(',')}}`,
      ips: `{${asks.map((ask) => ask.ip ?? 'NULL').join(',')}}`,
      wanted: `{${asks.map((ask) => ask.wanted).join(',')}}`,
      // Quoted, because NULL is a name that an order may have.
      uuids: `{${uuids.map((uuid) => `"${uuid}"`).join(',')}}`,
      at: new Date(now).toISOString(),
      minute: Math.floor(now / 1000 / WINDOW_SECONDS.minute),
      hour: Math.floor(now / 1000 / WINDOW_SECONDS.hour),
      day: Math.floor(now / 1000 / WINDOW_SECONDS.day),
    })
    return { verdicts: found as Verdict[], orders: found[0]?.orders ?? [] }
  }
}

function statement(db: Database, limits: Limits, held: 'wait' | 'skip') {
  const value = sql.placeholder
  const asked = db.$with('asked', { ordinal: sql<number>`ordinal` }).as(sql`
    SELECT * FROM unnest(${value('hashes')}::text::bytea[], ${value('ips')}::text::inet[], ${value('wanted')}::text::int[])
      WITH ORDINALITY AS asks (hash, ip, wanted, ordinal)`)
  const now = db.$with('now', {}).as(sql`
    SELECT ${value('at')}::timestamptz AS at, ${value('minute')}::bigint AS minute,
      ${value('hour')}::bigint AS hour, ${value('day')}::bigint AS day`)
  const locked = db.$with('locked', {}).as(sql`
    SELECT api_keys.* FROM api_keys WHERE key_hash = ANY (${value('hashes')}::text::bytea[])
      OR previous_key_hash = ANY (${value('hashes')}::text::bytea[])
    ORDER BY id FOR UPDATE${held === 'skip' ? sql` SKIP LOCKED` : sql``}`)
  const known = db.$with('known', {}).as(sql`
    SELECT id, key_hash, previous_key_hash, previous_until, ip_allowlist, at, ${RIGHTS} AS rights, rights_mac,
      CASE
        WHEN revoked_at IS NOT NULL THEN 'revoked'
        WHEN suspended_at IS NOT NULL THEN 'suspended'
        WHEN expires_at <= at THEN 'expired'
      END AS dead,
      coalesce(rate_limit_per_minute, ${number(limits.perMinute)}) AS minute_limit,
      greatest(minute_window, minute) AS minute_window,
      greatest(hour_window, hour) AS hour_window,
      greatest(day_window, day) AS day_window,
      CASE WHEN minute_window >= minute THEN minute_count ELSE 0 END AS minute_used,
      CASE WHEN hour_window >= hour THEN hour_count ELSE 0 END AS hour_used,
      CASE WHEN day_window >= day THEN day_count ELSE 0 END AS day_used
    FROM locked, now`)
  const judged = db.$with('judged', { ordinal: sql<number>`ordinal` }).as(sql`
    SELECT *,
      greatest(0, least(minute_limit - minute_used, ${number(limits.perHour)} - hour_used,
        ${number(limits.perDay)} - day_used)) AS room,
      CASE WHEN dead IS NOT NULL THEN dead
        WHEN is_previous AND previous_until <= at THEN 'rotated'
        WHEN ip_allowlist IS NOT NULL AND NOT coalesce(ip <<= ANY (ip_allowlist), false) THEN 'ip'
      END AS refusal
    FROM known CROSS JOIN LATERAL (VALUES (key_hash, false), (previous_key_hash, true)) AS secret (secret_hash, is_previous)
      JOIN asked ON hash = secret_hash`)
  const spent = db.$with('spent', {}).as(sql`
    UPDATE api_keys SET
      minute_window = total.minute_window, minute_count = total.minute_used + total.granted,
      hour_window = total.hour_window, hour_count = total.hour_used + total.granted,
      day_window = total.day_window, day_count = total.day_used + total.granted,
      total_requests = total_requests + total.granted,
      last_used_at = greatest(last_used_at, total.at)
    FROM (
      SELECT id, at, minute_window, minute_used, hour_window, hour_used, day_window, day_used,
        least(room, sum(wanted))::int AS granted
      FROM judged WHERE refusal IS NULL AND room > 0 GROUP BY 1, 2, 3, 4, 5, 6, 7, 8, room
    ) AS total
    WHERE api_keys.id = total.id`)
  const refusal =
    held === 'wait'
      ? sql`refusal`
      : sql`CASE WHEN id IS NOT NULL THEN refusal
          WHEN EXISTS (SELECT FROM api_keys WHERE key_hash = asked.hash OR previous_key_hash = asked.hash) THEN 'busy' END`
  return db
    .with(asked, now, locked, known, judged, spent)
    .select({
      keyId: sql<string | null>`id`,
      refusal: sql<Verdict['refusal']>`${refusal}`,
      rights: sql<string | null>`CASE WHEN refusal IS NULL THEN rights::text END`,
      mac: sql<string | null>`CASE WHEN refusal IS NULL THEN encode(rights_mac, 'hex') END`,
      room: sql<number>`room::int`,
      minuteLimit: sql<number>`minute_limit`,
      minuteUsed: sql<number>`minute_used`,
      minuteWindow: sql<number>`minute_window::float8`,
      hourUsed: sql<number>`hour_used`,
      hourWindow: sql<number>`hour_window::float8`,
      dayUsed: sql<number>`day_used`,
      dayWindow: sql<number>`day_window::float8`,
      orders: sql<Record<string, unknown>[] | null>`CASE WHEN asked.ordinal = 1 THEN (
        SELECT jsonb_agg(to_jsonb(orders) || jsonb_build_object('amount_in', amount_in::text, 'amount_out', amount_out::text))
        FROM orders WHERE uuid = ANY (${value('uuids')}::text::text[])
      ) END`,
    })
    .from(asked)
    .leftJoin(judged, sql`judged.ordinal = asked.ordinal`)
    .orderBy(sql`asked.ordinal`)
}

/** A configured number, written into the statement: it is the same for every request. */
function number(value: number): SQL {
  return sql.raw(String(Math.trunc(value)))
}

/** The part of a statement that turns a counted request into a success; `done` names the CTE whose row is the proof. */
export function countSuccess(
  keyId: string | SQL,
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
