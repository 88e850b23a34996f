import { type SQL, sql } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import { type Database, rowsOf } from '../db/database.ts'
import { orderJson } from '../db/order-row.ts'
import { latest } from '../db/time.ts'
import type { Config } from '../env.ts'
import { inactiveReasonSql, isActiveSql } from '../keys/liveness-sql.ts'
import type { KeyHash } from '../keys/secret.ts'
import { RIGHTS } from '../keys/terms-sql.ts'
import { WINDOW_SECONDS, type Window } from './windows.ts'

/** Requests with one key from one address. */
export interface PresentedKey {
  hash: KeyHash
  /** The canonical client address; undefined when it is unknown. */
  ip: string | undefined
  requests: number
}

export interface Limits {
  perMinute: number
  perHour: number
  perDay: number
}

/** The limits of a key whose grant sets none. */
export function limitsOf(config: Config): Limits {
  return {
    perMinute: config.RATE_LIMIT_PER_MINUTE,
    perHour: config.RATE_LIMIT_PER_HOUR,
    perDay: config.RATE_LIMIT_PER_DAY,
  }
}

/** The database's verdict on one presented key. `keyId` is null when no key has the hash. */
export interface AdmitVerdict {
  keyId: string | null
  /** `busy` when another session has locked the key's row and the statement skipped it. */
  refusal: 'revoked' | 'suspended' | 'expired' | 'rotated' | 'ip' | 'busy' | null
  /** The key's rights as the text of `RIGHTS`; null when it is refused. */
  rights: string | null
  /** Hex; null when the row has no MAC. */
  mac: string | null
  /** Undefined when the key is refused. */
  quota: Quota | undefined
}

/** A key's windows before any request of a batch has passed. */
export interface Quota {
  /** How many requests with this key may pass, from all addresses together. */
  room: number
  minuteLimit: number
  /** Requests counted in each window, and the number of the window. */
  minuteUsed: number
  minuteWindow: number
  hourUsed: number
  hourWindow: number
  dayUsed: number
  dayWindow: number
}

export interface AdmitResult {
  /** One for each presented key, in the same order. */
  verdicts: AdmitVerdict[]
  /** The orders that were read along, as the columns of their table. */
  orders: Record<string, unknown>[]
}

export type Admit = (
  keys: readonly PresentedKey[],
  uuids: readonly string[],
  now: number,
  /** Whether to wait for a row that another session has locked. */
  whenLocked?: 'wait' | 'skip',
) => Promise<AdmitResult>

/**
 * Prepares the gate's decision as one statement: find the keys, refuse inactive ones and foreign addresses, count a request
 * in all three windows or in none, and count what passes as failed until its success is committed. A single request is
 * first tried with a plain guarded UPDATE, which costs half; when that does not match, the full statement decides why.
 */
export function prepareAdmit(db: Database, limits: Limits): Admit {
  const made: { [Name in keyof typeof STATEMENTS]?: Prepared } = {}
  const execute = async (name: keyof typeof STATEMENTS, values: Record<string, unknown>) => {
    made[name] ??= prepare(db, `gate_${name}`, STATEMENTS[name](limits))
    return parseResult(await made[name].execute(values))
  }

  return async function admit(keys, uuids, now, whenLocked = 'wait') {
    const values = {
      at: new Date(now).toISOString(),
      minute: Math.floor(now / 1000 / WINDOW_SECONDS.minute),
      hour: Math.floor(now / 1000 / WINDOW_SECONDS.hour),
      day: Math.floor(now / 1000 / WINDOW_SECONDS.day),
      // Quoted: NULL is a valid uuid.
      uuids: `{${uuids.map((uuid) => `"${uuid}"`).join(',')}}`,
    }
    const [first] = keys
    if (keys.length === 1 && first?.requests === 1 && whenLocked === 'wait') {
      const admitted = await execute('single', {
        ...values,
        hash: `\\x${first.hash}`,
        ip: first.ip ?? null,
      })
      if (admitted.verdicts.length > 0) return admitted
    }
    return execute(whenLocked, {
      ...values,
      hashes: `{${keys.map(({ hash }) => `"\\\\x${hash}"`).join(',')}}`,
      ips: `{${keys.map(({ ip }) => ip ?? 'NULL').join(',')}}`,
      requests: `{${keys.map(({ requests }) => requests).join(',')}}`,
    })
  }
}

/** Without drizzle's query builder: its mapping of every column of every row costs as much as the driver. */
function prepare(db: Database, name: string, statement: SQL) {
  return db._.session.prepareQuery(new PgDialect().sqlToQuery(statement), undefined, name, false)
}

type Prepared = ReturnType<typeof prepare>

/** A row of the result. Few columns: each costs the driver as much as its content. */
interface Row extends Omit<AdmitVerdict, 'quota'> {
  quota: string | null
  orders: Record<string, unknown>[] | null
}

function parseResult(result: unknown): AdmitResult {
  const found = rowsOf<Row>(result)
  const verdicts = found.map((row) => ({ ...row, quota: parseQuota(row.quota) }))
  return { verdicts, orders: found[0]?.orders ?? [] }
}

function parseQuota(text: string | null): Quota | undefined {
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
const MAC = sql`encode(rights_mac, 'hex')`

/**
 * The count of the current window, over the columns of `now`. A window newer than this process's clock is kept: the
 * clocks of several processes differ, and the limit holds across all of them.
 */
function used(window: Window['name']): SQL {
  return sql.raw(`CASE WHEN ${window}_window >= ${window} THEN ${window}_count ELSE 0 END`)
}

/** The assignments that count admitted requests in a key's row. */
function counting(admitted: SQL): SQL {
  return sql`
    minute_count = ${used('minute')} + ${admitted}, minute_window = greatest(minute_window, minute),
    hour_count = ${used('hour')} + ${admitted}, hour_window = greatest(hour_window, hour),
    day_count = ${used('day')} + ${admitted}, day_window = greatest(day_window, day),
    total_requests = total_requests + ${admitted}, last_used_at = greatest(last_used_at, at)`
}

function minuteLimit(limits: Limits): SQL {
  return sql`coalesce(rate_limit_per_minute, ${number(limits.perMinute)})`
}

const STATEMENTS = {
  /** Admits one request, or returns that no key has the hash, or returns no row. */
  single: (limits: Limits) => sql`
    WITH asked AS (
      SELECT ${value('hash')}::text::bytea AS hash, ${value('ip')}::text::inet AS ip
    ), admitted AS (
      UPDATE api_keys SET ${counting(sql`1`)}
      FROM asked, ${NOW} AS now
      WHERE key_hash = hash AND ${isActiveSql(sql`at`)}
        AND (ip_allowlist IS NULL OR coalesce(ip <<= ANY (ip_allowlist), false))
        AND ${used('minute')} < ${minuteLimit(limits)} AND ${used('hour')} < ${number(limits.perHour)}
        AND ${used('day')} < ${number(limits.perDay)}
      RETURNING id, ${RIGHTS}::text AS rights, ${MAC} AS mac,
        concat_ws(' ', 1, ${minuteLimit(limits)}, minute_count - 1, minute_window, hour_count - 1, hour_window,
          day_count - 1, day_window) AS quota
    )
    SELECT id AS "keyId", NULL AS refusal, rights, mac, quota, ${ORDERS} AS orders
    FROM asked LEFT JOIN admitted ON true WHERE id IS NOT NULL OR NOT ${IS_KNOWN}`,
  /** Waits for rows that another session has locked. */
  wait: (limits: Limits) => batch(limits, 'wait'),
  /** Returns `busy` for them. */
  skip: (limits: Limits) => batch(limits, 'skip'),
}

/**
 * Rows are locked in the order of their ids, so that two batches cannot deadlock, and the UPDATE joins on the primary key,
 * so that a row which changed while its lock was awaited is read again. During the grace of a rotation two secrets lead
 * to one row, and so to one quota.
 */
function batch(limits: Limits, whenLocked: 'wait' | 'skip'): SQL {
  const skip = whenLocked === 'skip' ? sql` SKIP LOCKED` : sql``
  const refusal =
    whenLocked === 'wait'
      ? sql`refusal`
      : sql`CASE WHEN id IS NOT NULL THEN refusal WHEN ${IS_KNOWN} THEN 'busy' END`
  return sql`
    WITH asked AS (
      SELECT * FROM unnest(${value('hashes')}::text::bytea[], ${value('ips')}::text::inet[], ${value('requests')}::text::int[])
        WITH ORDINALITY AS presented (hash, ip, requests, ordinal)
    ), now AS ${NOW}, locked AS (
      SELECT * FROM api_keys
      WHERE key_hash = ANY (ARRAY(SELECT hash FROM asked)) OR previous_key_hash = ANY (ARRAY(SELECT hash FROM asked))
      ORDER BY id FOR NO KEY UPDATE${skip}
    ), known AS (
      SELECT id, key_hash, previous_key_hash, previous_until <= ${latest(sql`at`)} AS is_rotated, ip_allowlist,
        ${RIGHTS}::text AS rights, ${MAC} AS mac,
        ${inactiveReasonSql(sql`at`)} AS inactive,
        ${minuteLimit(limits)} AS minute_limit,
        ${used('minute')} AS minute_used, greatest(minute_window, minute) AS minute_window,
        ${used('hour')} AS hour_used, greatest(hour_window, hour) AS hour_window,
        ${used('day')} AS day_used, greatest(day_window, day) AS day_window
      FROM locked, now
    ), judged AS (
      SELECT id, ordinal, requests, rights, mac, minute_limit, minute_used, minute_window, hour_used, hour_window, day_used,
        day_window,
        greatest(0, least(minute_limit - minute_used, ${number(limits.perHour)} - hour_used,
          ${number(limits.perDay)} - day_used)) AS room,
        CASE WHEN inactive IS NOT NULL THEN inactive
          WHEN is_previous AND is_rotated THEN 'rotated'
          WHEN ip_allowlist IS NOT NULL AND NOT coalesce(ip <<= ANY (ip_allowlist), false) THEN 'ip'
        END AS refusal
      FROM known CROSS JOIN LATERAL (VALUES (key_hash, false), (previous_key_hash, true)) AS secret (secret_hash, is_previous)
        JOIN asked ON hash = secret_hash
    ), counted AS (
      UPDATE api_keys SET ${counting(sql`admitted`)}
      FROM now, (
        SELECT id AS key_id, least(room, sum(requests))::int AS admitted
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

/** A configured number as a literal: it is the same for every request. */
function number(value: number): SQL {
  return sql.raw(String(Math.trunc(value)))
}

/** The part of a statement that counts a success of an admitted request; a row of the CTE `done` is its condition. */
export function countSuccess(
  keyId: string | SQL,
  done: SQL,
  counter?: 'execution_count' | 'cancellation_count',
): SQL {
  const also = counter === undefined ? sql`` : sql.raw(`, ${counter} = ${counter} + 1`)
  return sql`UPDATE api_keys SET successful_requests = successful_requests + 1${also}
    WHERE id = ${keyId} AND EXISTS (SELECT FROM ${done})`
}

/**
 * The part of a statement that counts a success for each order that keys created; the rows of the CTE `inserted` are those
 * orders. Keys are locked in the order of their ids, as by the gate.
 */
export function countCreated(inserted: SQL): SQL {
  return sql`UPDATE api_keys SET successful_requests = successful_requests + orders, creation_count = creation_count + orders
    FROM (
      SELECT id AS key_id, orders FROM api_keys
        JOIN (SELECT created_by, count(*) AS orders FROM ${inserted} GROUP BY created_by) AS total ON created_by = id
      ORDER BY id FOR NO KEY UPDATE OF api_keys
    ) AS creator WHERE id = key_id`
}

/** Counts a success of a request that changed nothing: a read, or an order that existed already. */
export async function recordSuccess(db: Database, keyId: string): Promise<void> {
  await db.execute(countSuccess(keyId, sql`(SELECT 1) AS done`))
}
