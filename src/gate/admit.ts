import { type SQL, sql } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import { type Database, rowsOf } from '../db/database.ts'
import { orderJson } from '../db/order-row.ts'
import { RIGHTS } from '../db/rights.ts'
import type { Config } from '../env.ts'
import { inactiveReasonSql, isActiveSql } from '../keys/liveness-sql.ts'
import type { KeyHash } from '../keys/secret.ts'
import { WINDOW_SECONDS, type Window } from './windows.ts'

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

/** What a key may do where its grant does not say less. */
export function limitsOf(config: Config): Limits {
  return {
    perMinute: config.RATE_LIMIT_PER_MINUTE,
    perHour: config.RATE_LIMIT_PER_HOUR,
    perDay: config.RATE_LIMIT_PER_DAY,
  }
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
  /** Undefined when the key is refused. */
  quota: Quota | undefined
}

/** Where a key stands before any of a batch has passed. */
export interface Quota {
  /** How many may pass of all that came with this key and are not refused, from whatever address. */
  room: number
  minuteLimit: number
  /** What was used of each window, and which window that is. */
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
 * windows or none, and count what is let through as failed until its success is committed. A request that comes alone is
 * asked for by a plain UPDATE, which costs half; when that does not let a key through, the other statement says why.
 */
export function prepareAdmit(db: Database, limits: Limits): Spend {
  const made: { [Name in keyof typeof STATEMENTS]?: Prepared } = {}
  const ask = async (name: keyof typeof STATEMENTS, values: Record<string, unknown>) => {
    made[name] ??= prepare(db, `gate_${name}`, STATEMENTS[name](limits))
    return read(await made[name].execute(values))
  }

  return async function spend(asks, uuids, now, held = 'wait') {
    const values = {
      at: new Date(now).toISOString(),
      minute: Math.floor(now / 1000 / WINDOW_SECONDS.minute),
      hour: Math.floor(now / 1000 / WINDOW_SECONDS.hour),
      day: Math.floor(now / 1000 / WINDOW_SECONDS.day),
      // Quoted, because NULL is a name that an order may have.
      uuids: `{${uuids.map((uuid) => `"${uuid}"`).join(',')}}`,
    }
    const [first] = asks
    if (asks.length === 1 && first?.wanted === 1 && held === 'wait') {
      const spent = await ask('alone', {
        ...values,
        hash: `\\x${first.hash}`,
        ip: first.ip ?? null,
      })
      if (spent.verdicts.length > 0) return spent
    }
    return ask(held, {
      ...values,
      hashes: `{${asks.map((ask) => `"\\\\x${ask.hash}"`).join(',')}}`,
      ips: `{${asks.map((ask) => ask.ip ?? 'NULL').join(',')}}`,
      wanted: `{${asks.map((ask) => ask.wanted).join(',')}}`,
    })
  }
}

/** Not by drizzle's query builder: what it does to each column of each row costs as much as the driver. */
function prepare(db: Database, name: string, statement: SQL) {
  return db._.session.prepareQuery(new PgDialect().sqlToQuery(statement), undefined, name, false)
}

type Prepared = ReturnType<typeof prepare>

/** A row of a statement: few columns, because each costs as much as what is in it. */
interface Row extends Omit<Verdict, 'quota'> {
  quota: string | null
  orders: Record<string, unknown>[] | null
}

function read(answer: unknown): Spent {
  const found = rowsOf<Row>(answer)
  const verdicts = found.map((row) => ({ ...row, quota: readQuota(row.quota) }))
  return { verdicts, orders: found[0]?.orders ?? [] }
}

function readQuota(text: string | null): Quota | undefined {
  if (text === null) return undefined
  const numbers = text.split(' ')
  const at = (place: number) => Number(numbers[place])
  return {
    room: at(0),
    minuteLimit: at(1),
    minuteUsed: at(2),
    minuteWindow: at(3),
    hourUsed: at(4),
    hourWindow: at(5),
    dayUsed: at(6),
    dayWindow: at(7),
  }
}

const value = sql.placeholder
const NOW = sql`(SELECT ${value('at')}::timestamptz AS at, ${value('minute')}::bigint AS minute,
  ${value('hour')}::bigint AS hour, ${value('day')}::bigint AS day)`
const ORDERS = sql`(
  SELECT jsonb_agg(${orderJson(sql`orders`)}) FROM orders WHERE uuid = ANY (${value('uuids')}::text::text[]))`
const IS_KNOWN = sql`EXISTS (SELECT FROM api_keys WHERE key_hash = hash OR previous_key_hash = hash)`
const SEAL = sql`encode(rights_mac, 'hex')`

/**
 * What was used of a window that lasts, in `now`. One that is newer than this process's clock is kept: the clocks of
 * several processes differ, and a limit must hold all the same.
 */
function used(window: Window['name']): SQL {
  return sql.raw(`CASE WHEN ${window}_window >= ${window} THEN ${window}_count ELSE 0 END`)
}

/** What letting so many through changes in a key's row. */
function spending(granted: SQL): SQL {
  return sql`
    minute_count = ${used('minute')} + ${granted}, minute_window = greatest(minute_window, minute),
    hour_count = ${used('hour')} + ${granted}, hour_window = greatest(hour_window, hour),
    day_count = ${used('day')} + ${granted}, day_window = greatest(day_window, day),
    total_requests = total_requests + ${granted}, last_used_at = greatest(last_used_at, at)`
}

function minuteLimit(limits: Limits): SQL {
  return sql`coalesce(rate_limit_per_minute, ${number(limits.perMinute)})`
}

const STATEMENTS = {
  /** Lets one request through, or answers that no key has the hash, or answers no row. */
  alone: (limits: Limits) => sql`
    WITH asked AS (
      SELECT ${value('hash')}::text::bytea AS hash, ${value('ip')}::text::inet AS ip
    ), spent AS (
      UPDATE api_keys SET ${spending(sql`1`)}
      FROM asked, ${NOW} AS now
      WHERE key_hash = hash AND ${isActiveSql(sql`at`)}
        AND (ip_allowlist IS NULL OR coalesce(ip <<= ANY (ip_allowlist), false))
        AND ${used('minute')} < ${minuteLimit(limits)} AND ${used('hour')} < ${number(limits.perHour)}
        AND ${used('day')} < ${number(limits.perDay)}
      RETURNING id, ${RIGHTS}::text AS rights, ${SEAL} AS mac,
        concat_ws(' ', 1, ${minuteLimit(limits)}, minute_count - 1, minute_window, hour_count - 1, hour_window,
          day_count - 1, day_window) AS quota
    )
    SELECT id AS "keyId", NULL AS refusal, rights, mac, quota, ${ORDERS} AS orders
    FROM asked LEFT JOIN spent ON true WHERE id IS NOT NULL OR NOT ${IS_KNOWN}`,
  /** Waits for keys whose row another session holds. */
  wait: (limits: Limits) => together(limits, 'wait'),
  /** Answers `busy` for them. */
  skip: (limits: Limits) => together(limits, 'skip'),
}

/**
 * Keys are locked in one order, so that two batches cannot wait for each other, and the UPDATE joins on the primary key,
 * so that a row which changed while its lock was waited for is read anew. While a rotation's grace lasts, two secrets
 * lead to one row, and so to one quota.
 */
function together(limits: Limits, held: 'wait' | 'skip'): SQL {
  const skip = held === 'skip' ? sql` SKIP LOCKED` : sql``
  const refusal =
    held === 'wait'
      ? sql`refusal`
      : sql`CASE WHEN id IS NOT NULL THEN refusal WHEN ${IS_KNOWN} THEN 'busy' END`
  return sql`
    WITH asked AS (
      SELECT * FROM unnest(${value('hashes')}::text::bytea[], ${value('ips')}::text::inet[], ${value('wanted')}::text::int[])
        WITH ORDINALITY AS asks (hash, ip, wanted, ordinal)
    ), now AS ${NOW}, locked AS (
      SELECT * FROM api_keys
      WHERE key_hash = ANY (ARRAY(SELECT hash FROM asked)) OR previous_key_hash = ANY (ARRAY(SELECT hash FROM asked))
      ORDER BY id FOR NO KEY UPDATE${skip}
    ), known AS (
      SELECT id, key_hash, previous_key_hash, previous_until <= at AS is_rotated, ip_allowlist,
        ${RIGHTS}::text AS rights, ${SEAL} AS mac,
        ${inactiveReasonSql(sql`at`)} AS inactive,
        ${minuteLimit(limits)} AS minute_limit,
        ${used('minute')} AS minute_used, greatest(minute_window, minute) AS minute_window,
        ${used('hour')} AS hour_used, greatest(hour_window, hour) AS hour_window,
        ${used('day')} AS day_used, greatest(day_window, day) AS day_window
      FROM locked, now
    ), judged AS (
      SELECT id, ordinal, wanted, rights, mac, minute_limit, minute_used, minute_window, hour_used, hour_window, day_used,
        day_window,
        greatest(0, least(minute_limit - minute_used, ${number(limits.perHour)} - hour_used,
          ${number(limits.perDay)} - day_used)) AS room,
        CASE WHEN inactive IS NOT NULL THEN inactive
          WHEN is_previous AND is_rotated THEN 'rotated'
          WHEN ip_allowlist IS NOT NULL AND NOT coalesce(ip <<= ANY (ip_allowlist), false) THEN 'ip'
        END AS refusal
      FROM known CROSS JOIN LATERAL (VALUES (key_hash, false), (previous_key_hash, true)) AS secret (secret_hash, is_previous)
        JOIN asked ON hash = secret_hash
    ), spent AS (
      UPDATE api_keys SET ${spending(sql`granted`)}
      FROM now, (
        SELECT id AS key_id, least(room, sum(wanted))::int AS granted
        FROM judged WHERE refusal IS NULL AND room > 0 GROUP BY id, room
      ) AS total
      WHERE id = key_id
    )
    SELECT id AS "keyId", ${refusal} AS refusal,
      CASE WHEN refusal IS NULL THEN rights END AS rights,
      CASE WHEN refusal IS NULL THEN mac END AS mac,
      CASE WHEN refusal IS NULL THEN concat_ws(' ', room, minute_limit, minute_used, minute_window, hour_used, hour_window,
        day_used, day_window) END AS quota,
      CASE WHEN asked.ordinal = 1 THEN ${ORDERS} END AS orders
    FROM asked LEFT JOIN judged ON judged.ordinal = asked.ordinal ORDER BY asked.ordinal`
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
