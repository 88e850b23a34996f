import { getTableColumns, type Query, type SQL, sql } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import { type Database, rowsOf } from '../db/database.ts'
import { orderJson } from '../db/order-row.ts'
import { apiKeys } from '../db/schema.ts'
import { latest } from '../db/time.ts'
import type { Config } from '../env.ts'
import { inactiveReasonSql, isActiveSql } from '../keys/liveness-sql.ts'
import type { KeyHash } from '../keys/secret.ts'
import { RIGHTS } from '../keys/terms-sql.ts'
import type { KnownKey } from './known-keys.ts'
import { WINDOW_SECONDS, type Window } from './windows.ts'

/** Requests with one key, and from one address where the key has a list of them. */
export interface PresentedKey {
  hash: KeyHash
  /** The shard of its wallet; -1 where it is not known, which it is wherever tables are distributed. */
  shard: number
  /** The canonical client address; undefined when it is unknown, or when the key is known to be usable from anywhere. */
  ip: string | undefined
  /** What its requests cost together: most cost 1. */
  requests: number
  /** Orders to read along. */
  uuids: readonly string[]
  /** What the process knows of the key's row; the statement returns the row when it has another version. */
  known: KnownKey | undefined
}

export interface Limits {
  readonly perMinute: number
  readonly perHour: number
  readonly perDay: number
}

/** The limits of a key whose grant sets none. */
export function limitsOf(config: Config): Limits {
  return {
    perMinute: config.RATE_LIMIT_PER_MINUTE,
    perHour: config.RATE_LIMIT_PER_HOUR,
    perDay: config.RATE_LIMIT_PER_DAY,
  }
}

/** A key's windows before any request of a batch has passed. */
export interface Quota {
  /** When the statement decided, by Postgres' clock, in milliseconds since 1970. */
  at: number
  /** How many requests with this key may pass, from all addresses together. */
  room: number
  /** Requests counted in each window. */
  minuteUsed: number
  hourUsed: number
  dayUsed: number
  /** The numbers of the windows. */
  windows: WindowNumbers
}

/** A key whose requests have all passed, or that does not exist. */
export interface Admitted {
  /** The place of the presented key, from 0. */
  place: number
  /** Undefined when no key has the hash. */
  quota: Quota | undefined
  /** The row for `KnownKeys.read`; null when it has the known version. */
  row: string | null
  orders: OrderJson[]
}

/** The database's verdict on one presented key. `keyId` is null when no key has the hash. */
export interface Verdict {
  keyId: string | null
  /** Of the key's wallet; null with `keyId`. */
  shard: number | null
  /** `busy` when another session has locked the key's counters and the statement skipped them. */
  refusal: 'revoked' | 'suspended' | 'expired' | 'rotated' | 'tampered' | 'ip' | 'busy' | null
  /** Undefined when the key is refused. */
  quota: Quota | undefined
  /** Null when the key is refused, or when its row has the known version. */
  row: string | null
  orders: OrderJson[]
}

/** An order as `orderJson` selects it. */
export type OrderJson = Record<string, unknown>

export interface GateStatements {
  /**
   * Admits all requests of each key, or none of them, and returns the admitted keys, and those of unknown hashes. Sort the keys by
   * hash: this is the order in which their counters are locked.
   */
  admit(keys: readonly PresentedKey[], since: string | undefined): Promise<Admitted[]>
  /** Decides about every request, and is the only statement that refuses. Returns a verdict for each key, in their order. */
  judge(
    keys: readonly PresentedKey[],
    since: string | undefined,
    options?: JudgeOptions,
  ): Promise<Verdict[]>
}

export interface JudgeOptions {
  /** Whether to wait for counters that another session has locked. */
  whenLocked?: 'wait' | 'skip' | undefined
  /** What each of the requests costs, 1 by default: as many of them are counted, whole, as there is room for. */
  cost?: number
}

export interface GateStatementOptions {
  /** A time in place of Postgres', for tests. */
  fixedTime?: (() => number | undefined) | undefined
  /** Whether tables are distributed. */
  isDistributed?: boolean
  /**
   * Whether more than one server keeps rows. The keys of a statement are then of shards that one node keeps, and each row is returned, because
   * a version is one of a server.
   */
  hasManyServers?: boolean
}

/**
 * Prepares the gate's two statements. Both count a request in all three windows or in none, and as failed until its success is
 * committed. `admit` is a plain guarded UPDATE of the counters, which costs half of `judge`: a key that is
 * inactive, used from a foreign address, or has too little room for all its requests, is not among its results.
 */
export function prepareGate(
  db: Database,
  limits: Limits,
  {
    fixedTime = () => undefined,
    isDistributed = false,
    hasManyServers = false,
  }: GateStatementOptions = {},
): GateStatements {
  const where = !isDistributed ? ANYWHERE : hasManyServers ? IN_SHARDS : IN_PARTITIONS
  const made: { [Name in keyof typeof STATEMENTS]?: Prepared } = {}
  const execute = async <Row>(name: keyof typeof STATEMENTS, values: Record<string, unknown>) => {
    made[name] ??= prepare(db, `gate_${name}`, queryOf(name, limits, where))
    return rowsOf<Row>(await made[name].execute(values))
  }
  return {
    async admit(keys, since) {
      const isAllKnown = keys.every(({ known, uuids }) => known !== undefined && uuids.length === 0)
      const full = hasManyServers ? 'admitInShards' : 'admit'
      const name = isAllKnown ? 'known' : full
      // Where tables are distributed, every statement is of some shards.
      const values = isAllKnown && !isDistributed ? parameters : allParameters
      const found = await execute<AdmittedRow>(name, values(keys, fixedTime(), since))
      return found.map((row) => {
        const place = row.place - 1
        const { requests } = keys[place] as PresentedKey
        const { minute, hour, day } = row
        if (minute === null) return { place, quota: undefined, row: null, orders: [] }
        const quota = quotaOf(requests, minute - requests, hour - requests, day - requests, row)
        return { place, quota, row: row.row ?? null, orders: row.orders ?? [] }
      })
    },
    async judge(keys, since, { whenLocked = 'wait', cost = 1 } = {}) {
      const values = { ...allParameters(keys, fixedTime(), since), cost }
      const found = await execute<VerdictRow>(whenLocked, values)
      return found.map((row) => {
        const { keyId, shard, refusal, room } = row
        const quota = room === null ? undefined : quotaOf(room, row.minute, row.hour, row.day, row)
        return { keyId, shard, refusal, quota, row: row.row, orders: row.orders ?? [] }
      })
    },
  }
}

/** The numbers of the windows of a moment. */
export type WindowNumbers = Readonly<Record<Window['name'], number>>

/** Of the last moment: the rows of a statement have one moment. */
let lastWindows: { at: number; numbers: WindowNumbers } | undefined

function windowsAt(at: number): WindowNumbers {
  if (lastWindows?.at !== at) lastWindows = { at, numbers: windowNumbersAt(at) }
  return lastWindows.numbers
}

function windowNumbersAt(now: number): WindowNumbers {
  return {
    minute: Math.floor(now / 1000 / WINDOW_SECONDS.minute),
    hour: Math.floor(now / 1000 / WINDOW_SECONDS.hour),
    day: Math.floor(now / 1000 / WINDOW_SECONDS.day),
  }
}

/** The values of a statement's placeholders, by their names. */
type Parameters = (
  keys: readonly PresentedKey[],
  fixedTime: number | undefined,
  since: string | undefined,
) => Record<string, unknown>

/** Arrays that hold nothing but the default are empty: unnest fills them up with NULL. */
const parameters: Parameters = (keys, fixedTime, since) => ({
  at: fixedTime === undefined ? null : new Date(fixedTime).toISOString(),
  since: since ?? null,
  hashes: arrayOf(keys, ({ hash }) => `"\\\\x${hash}"`),
  ips: keys.some(({ ip }) => ip !== undefined) ? arrayOf(keys, ({ ip }) => ip ?? 'NULL') : '{}',
  requests: keys.some(({ requests }) => requests !== 1)
    ? arrayOf(keys, ({ requests }) => requests)
    : '{}',
  xmins: arrayOf(keys, ({ known }) => known?.xmin ?? 'NULL'),
})

/** Those of a statement that also reads orders, or is of some shards. */
const allParameters: Parameters = (keys, fixedTime, since) => ({
  ...parameters(keys, fixedTime, since),
  shards: arrayOf(keys, ({ shard }) => shard),
  // Quoted: NULL is a valid uuid.
  uuids: arrayOf(keys, ({ uuids }) => (uuids.length === 0 ? 'NULL' : `"${uuids.join(',')}"`)),
})

/** The text of an array of Postgres. */
function arrayOf(
  keys: readonly PresentedKey[],
  element: (key: PresentedKey) => string | number,
): string {
  let text = '{'
  for (const key of keys) {
    if (text.length > 1) text += ','
    text += element(key)
  }
  return `${text}}`
}

/** Without drizzle's query builder: its mapping of every column of every row costs as much as the driver. */
function prepare(db: Database, name: string, query: Query) {
  return db._.session.prepareQuery(query, undefined, name, false)
}

type Prepared = ReturnType<typeof prepare>

/** Few columns: each costs the driver as much as its content. */
interface AdmittedRow {
  place: number
  /** Requests counted in each window, those of this statement included; null when no key has the hash. */
  minute: number | null
  hour: number
  day: number
  at: number
  /** The numbers of the key's windows, where one of them is the next one already. */
  ahead: string | null
  row?: string | null
  orders?: OrderJson[] | null
}

interface VerdictRow {
  keyId: string | null
  shard: number | null
  refusal: Verdict['refusal']
  room: number | null
  /** Requests counted in each window before. */
  minute: number
  hour: number
  day: number
  at: number
  ahead: string | null
  row: string | null
  orders: OrderJson[] | null
}

function quotaOf(
  room: number,
  minuteUsed: number,
  hourUsed: number,
  dayUsed: number,
  { at, ahead }: Pick<AdmittedRow, 'at' | 'ahead'>,
): Quota {
  const windows = ahead === null ? windowsAt(at) : windowsOf(ahead)
  return { at, room, minuteUsed, hourUsed, dayUsed, windows }
}

/** The numbers of a key's windows as `AHEAD` writes them. */
function windowsOf(ahead: string): WindowNumbers {
  const [minute = 0, hour = 0, day = 0] = ahead.split(' ').map(Number)
  return { minute, hour, day }
}

const value = sql.placeholder
const windowNumber = (window: Window['name']) =>
  sql.raw(
    `floor(extract(epoch FROM at AT TIME ZONE 'UTC') / ${WINDOW_SECONDS[window]})::int AS ${window}`,
  )
/**
 * Postgres' clock: processes whose clocks differ count in the same windows. A test may fix the time. Materialized, or the inner
 * side of a nested loop would compute it anew for each key, which costs a fifth of the statement.
 */
const NOW = sql`MATERIALIZED (SELECT at, (extract(epoch FROM at AT TIME ZONE 'UTC') * 1000)::float8 AS at_ms, ${windowNumber('minute')},
  ${windowNumber('hour')}, ${windowNumber('day')}
  FROM (SELECT coalesce(${value('at')}::timestamptz, statement_timestamp()) AS at) AS clock)`
const ARRAYS = sql`unnest(${value('hashes')}::text::bytea[], ${value('ips')}::text::inet[], ${value('requests')}::text::int[],
  ${value('xmins')}::text::xid[], ${value('uuids')}::text::text[]`
const ARRAYS_KNOWN = sql`unnest(${value('hashes')}::text::bytea[], ${value('ips')}::text::inet[], ${value('requests')}::text::int[],
  ${value('xmins')}::text::xid[]`
const COLUMNS_KNOWN = sql`hash, ip, requests, known_xmin`
const KNOWN = sql`${ARRAYS_KNOWN}) WITH ORDINALITY AS asked (${COLUMNS_KNOWN}, place)`
const COLUMNS = sql`hash, ip, requests, known_xmin, uuids`

/** What a statement says of the shards that it reads. */
interface Where {
  /** The presented keys as a table. */
  asked: SQL
  /** As `asked`, of keys whose versions are known, without orders. */
  known: SQL
  /** The join of the presented keys with their rows, as `keys`. */
  keys: SQL
  /** The condition that the counters are of a presented key's shard, which begins with AND. */
  ofAsked: SQL
  /** The condition that a table is read in these shards only, which begins with AND. */
  inShards(table: string): SQL
  /** The condition that a row of `api_keys` is of the presented key's shard, which begins with AND. */
  isKnown: SQL
  /** The condition that orders are of the presented key's shard, which begins with AND. */
  isOwn: SQL
}

const JOIN_KEYS = sql`JOIN api_keys AS keys ON key_hash = asked.hash`
/** One Postgres keeps all shards: a hash or an id is unique in it. */
const ANYWHERE: Where = {
  asked: sql`${ARRAYS}) WITH ORDINALITY AS asked (${COLUMNS}, place)`,
  known: KNOWN,
  keys: JOIN_KEYS,
  ofAsked: sql``,
  inShards: () => sql``,
  isKnown: sql``,
  isOwn: sql``,
}
const inShards = (table: string) =>
  sql` AND ${sql.raw(table)}.shard = ANY (${value('shards')}::int[])`
/** Each table is restricted by a parameter of its own, by which a planner finds the one partition, or node, that has these shards. */
const IN_SHARDS: Where = {
  asked: sql`${ARRAYS}, ${value('shards')}::int[]) WITH ORDINALITY AS asked (${COLUMNS}, shard, place)`,
  known: KNOWN,
  keys: JOIN_KEYS,
  ofAsked: sql`${inShards('counters')}${inShards('keys')}`,
  inShards,
  isKnown: inShards('api_keys'),
  isOwn: sql` AND orders.shard = asked.shard${inShards('orders')}`,
}
/**
 * Partitions of one Postgres: a statement decides about keys of all of them, because a statement and its commit cost as much as some 15
 * keys do. Each key is looked up in the one partition that its shard is in. LATERAL with a limit keeps it so: Postgres does not expect that,
 * and would join by reading every row of the shards.
 */
const IN_PARTITIONS: Where = {
  asked: IN_SHARDS.asked,
  known: sql`${ARRAYS_KNOWN}, ${value('shards')}::int[])
  WITH ORDINALITY AS asked (${COLUMNS_KNOWN}, shard, place)`,
  keys: sql`CROSS JOIN LATERAL (SELECT *, xmin FROM api_keys
      WHERE api_keys.shard = asked.shard AND api_keys.key_hash = asked.hash LIMIT 1) AS keys`,
  ofAsked: sql` AND counters.shard = asked.shard`,
  inShards,
  isKnown: sql` AND api_keys.shard = asked.shard`,
  isOwn: sql` AND orders.shard = asked.shard`,
}

const ordersOf = ({ isOwn }: Where) => sql`CASE WHEN asked.uuids IS NOT NULL THEN (
  SELECT jsonb_agg(${orderJson(sql`orders`)}) FROM orders WHERE uuid = ANY (string_to_array(asked.uuids, ','))${isOwn}) END`
/** What a presented key's requests cost together: 1 where the array is empty. */
const REQUESTS = sql`coalesce(asked.requests, 1)`
/** Whether a row of `api_keys` has the version that the process knows. */
const IS_CURRENT = sql`keys.xmin = known_xmin AND pg_postmaster_start_time() = ${value('since')}::timestamptz`
/** A row of `api_keys` as `KnownKeys.read` takes it. */
const KEY_VERSION = sql`json_build_array(${RIGHTS}, encode(rights_mac, 'hex'), keys.xmin, pg_postmaster_start_time())::text`

/**
 * The count of the current window, over the columns of `now`. The next window counts too: a statement that waited for the row
 * may find that a later one began it. A window further ahead was written by a clock that was wrong, and counts for nothing.
 */
function used(window: Window['name']): SQL {
  return sql.raw(
    `CASE WHEN counters.${window}_window IN (${window}, ${window} + 1) THEN counters.${window}_count ELSE 0 END`,
  )
}

/** The window that a request is counted in: the current one, or the next one if that has begun. */
function windowOf(window: Window['name']): SQL {
  return sql.raw(
    `CASE WHEN counters.${window}_window = ${window} + 1 THEN counters.${window}_window ELSE ${window} END`,
  )
}

/** The assignments that count admitted requests in a key's counters. */
function counting(admitted: SQL): SQL {
  return sql`
    minute_count = ${used('minute')} + ${admitted}, minute_window = ${windowOf('minute')},
    hour_count = ${used('hour')} + ${admitted}, hour_window = ${windowOf('hour')},
    day_count = ${used('day')} + ${admitted}, day_window = ${windowOf('day')},
    total_requests = counters.total_requests + ${admitted}, last_used_at = greatest(counters.last_used_at, at)`
}

/** The numbers of a key's windows where one of them is the next one, else null. */
const AHEAD = sql`CASE WHEN counters.minute_window = minute + 1 OR counters.hour_window = hour + 1 OR counters.day_window = day + 1
    THEN concat_ws(' ', ${windowOf('minute')}, ${windowOf('hour')}, ${windowOf('day')}) END`

function minuteLimit(limits: Limits): SQL {
  return sql`coalesce(rate_limit_per_minute, ${number(limits.perMinute)})`
}

/** The columns of a key that are its rights and their MAC; those of the counters of an earlier release have names of the new ones. */
const KEY_COLUMNS = sql.raw(
  Object.entries(getTableColumns(apiKeys))
    .filter(([name]) => !name.startsWith('old') && !name.endsWith('Box') && name !== 'shard')
    .map(([, column]) => `keys.${column.name}`)
    .join(', '),
)

/**
 * As `admit`, on distributed tables: an UPDATE of one node may return columns, and no function that is not immutable. Versions of
 * rows are not compared, because they are those of one server; each row is returned.
 */
function admitInShards(limits: Limits, where: Where): SQL {
  return sql`
    WITH now AS ${NOW}, asked AS (SELECT * FROM ${where.asked}), admitted AS (
      ${counted(sql`asked`, limits, where)}
      RETURNING asked.place AS admitted_place, counters.minute_count AS used_minute, counters.hour_count AS used_hour,
        counters.day_count AS used_day, counters.minute_window AS in_minute, counters.hour_window AS in_hour,
        counters.day_window AS in_day, minute, hour, day, at_ms, ${KEY_COLUMNS}
    )
    SELECT asked.place::int AS place, used_minute AS minute, used_hour AS hour, used_day AS day, at_ms AS at,
      CASE WHEN in_minute > minute OR in_hour > hour OR in_day > day THEN concat_ws(' ', in_minute, in_hour, in_day) END AS ahead,
      json_build_array(${RIGHTS}, encode(rights_mac, 'hex'), '0', 'epoch')::text AS row,
      CASE WHEN used_minute IS NOT NULL THEN ${ordersOf(where)} END AS orders
    FROM asked LEFT JOIN admitted ON admitted_place = asked.place WHERE admitted_place IS NOT NULL
      OR NOT EXISTS (SELECT FROM api_keys AS one
        WHERE (one.key_hash = asked.hash OR one.previous_key_hash = asked.hash)${where.inShards('one')})`
}

const STATEMENTS = {
  /** Of keys whose versions are known and current, without orders: it costs two thirds of `admit`. */
  known: (limits: Limits, where: Where) =>
    sql`WITH now AS ${NOW} ${counted(where.known, limits, where, IS_CURRENT)} RETURNING ${COUNTED}`,
  admit,
  admitInShards,
  /** Waits for counters that another session has locked. */
  wait: (limits: Limits, where: Where) => judge(limits, where, 'wait'),
  /** Returns `busy` for them. */
  skip: (limits: Limits, where: Where) => judge(limits, where, 'skip'),
}

const COUNTED = sql`asked.place::int AS place, counters.minute_count AS minute, counters.hour_count AS hour,
  counters.day_count AS day, ${AHEAD} AS ahead, at_ms AS at`

/** Also returns the rows of keys whose version is another one, orders, and the places of hashes without a key. */
function admit(limits: Limits, where: Where): SQL {
  return sql`
    WITH now AS ${NOW}, asked AS (SELECT * FROM ${where.asked}), admitted AS (
      ${counted(sql`asked`, limits, where)}
      RETURNING ${COUNTED}, CASE WHEN ${IS_CURRENT} THEN NULL ELSE ${KEY_VERSION} END AS row, ${ordersOf(where)} AS orders
    )
    SELECT asked.place::int AS place, minute, hour, day, ahead, at, row, orders
    FROM asked LEFT JOIN admitted ON admitted.place = asked.place WHERE admitted.place IS NOT NULL
      OR NOT EXISTS (SELECT FROM api_keys WHERE (key_hash = asked.hash OR previous_key_hash = asked.hash)${where.isKnown})`
}

/**
 * Counts all requests of each key that may pass. The rights are read as they were when the statement began, which is after its
 * requests arrived. The guards on the counters are evaluated again when a row changed while its lock was awaited. The lock on
 * a key's counters is the only one.
 */
function counted(asked: SQL, limits: Limits, where: Where, also?: SQL): SQL {
  const hasRoom = (window: Window['name'], limit: SQL) =>
    sql`${used(window)} + ${REQUESTS} <= ${limit}`
  return sql`
    UPDATE key_counters AS counters SET ${counting(REQUESTS)}
    FROM ${asked} ${where.keys} CROSS JOIN now
    WHERE counters.key_id = keys.id${where.ofAsked} AND ${isActiveSql(sql`at`)}
      AND (ip_allowlist IS NULL OR coalesce(ip <<= ANY (ip_allowlist), false))
      AND ${hasRoom('minute', minuteLimit(limits))} AND ${hasRoom('hour', number(limits.perHour))}
      AND ${hasRoom('day', number(limits.perDay))} ${also === undefined ? sql`` : sql`AND ${also}`}`
}

/**
 * Counters are locked in the order of the current hashes, as `admit` locks them, so that two batches cannot deadlock; and the
 * UPDATE joins on the primary key, so that a row which changed while its lock was awaited is read again. During the grace of
 * a rotation two secrets lead to one key, and so to one quota. A key whose counters are gone is refused as edited.
 */
function judge(limits: Limits, where: Where, whenLocked: 'wait' | 'skip'): SQL {
  const skip = whenLocked === 'skip' ? sql` SKIP LOCKED` : sql``
  const uncounted = whenLocked === 'skip' ? sql`'busy'` : sql`'tampered'`
  return sql`
    WITH asked AS (SELECT * FROM ${where.asked}), now AS ${NOW}, known AS (
      SELECT id, keys.shard AS key_shard, key_hash, previous_key_hash, previous_until <= ${latest(sql`at`)} AS is_rotated, ip_allowlist,
        ${inactiveReasonSql(sql`at`)} AS inactive, ${minuteLimit(limits)} AS minute_limit,
        keys.xmin AS row_xmin, ${KEY_VERSION} AS row
      FROM api_keys AS keys, now
      WHERE (key_hash = ANY (ARRAY(SELECT hash FROM asked)) OR previous_key_hash = ANY (ARRAY(SELECT hash FROM asked)))
        ${where.inShards('keys')}
    ), locked AS (
      SELECT counters.* FROM known JOIN key_counters AS counters ON counters.key_id = known.id${where.inShards('counters')}
      ORDER BY known.key_hash FOR NO KEY UPDATE OF counters${skip}
    ), counters AS (
      SELECT key_id, ${used('minute')} AS minute_used, ${used('hour')} AS hour_used, ${used('day')} AS day_used,
        ${AHEAD} AS ahead
      FROM locked AS counters, now
    ), judged AS (
      SELECT id, key_shard, place, ${REQUESTS} AS requests, minute_used, hour_used, day_used, ahead, at_ms,
        greatest(0, least(minute_limit - minute_used, ${number(limits.perHour)} - hour_used,
          ${number(limits.perDay)} - day_used)) AS room,
        CASE WHEN row_xmin = known_xmin AND pg_postmaster_start_time() = ${value('since')}::timestamptz THEN NULL
          ELSE row END AS row,
        CASE WHEN inactive IS NOT NULL THEN inactive
          WHEN is_previous AND is_rotated THEN 'rotated'
          WHEN ip_allowlist IS NOT NULL AND NOT coalesce(ip <<= ANY (ip_allowlist), false) THEN 'ip'
          WHEN key_id IS NULL THEN ${uncounted}
        END AS refusal
      FROM known LEFT JOIN counters ON key_id = id
        CROSS JOIN LATERAL (VALUES (key_hash, false), (previous_key_hash, true)) AS secret (secret_hash, is_previous)
        JOIN asked ON hash = secret_hash CROSS JOIN now
    ), counted AS (
      UPDATE key_counters AS counters SET ${counting(sql`admitted`)}
      FROM now, (
        SELECT id, (least(room, sum(requests)) / ${value('cost')}::int * ${value('cost')}::int)::int AS admitted
        FROM judged WHERE refusal IS NULL AND room >= ${value('cost')}::int GROUP BY id, room
      ) AS total
      WHERE counters.key_id = total.id${where.inShards('counters')}
    )
    SELECT id AS "keyId", key_shard AS shard, refusal, ahead, at_ms AS at,
      CASE WHEN refusal IS NULL THEN room END AS room, minute_used AS minute, hour_used AS hour, day_used AS day,
      CASE WHEN refusal IS NULL THEN row END AS row, CASE WHEN refusal IS NULL THEN ${ordersOf(where)} END AS orders
    FROM asked LEFT JOIN judged ON judged.place = asked.place ORDER BY asked.place`
}

/** A configured number as a literal: it is the same for every request. */
function number(value: number): SQL {
  return sql.raw(String(Math.trunc(value)))
}

type Queries = { [Name in keyof typeof STATEMENTS]?: Query }
const queriesOf = new WeakMap<Where, WeakMap<Limits, Queries>>()

/** The text of a statement, built once for an object of limits: on Workers each request opens a gate. */
function queryOf(name: keyof typeof STATEMENTS, limits: Limits, where: Where): Query {
  const known = queriesOf.get(where) ?? new WeakMap<Limits, Queries>()
  queriesOf.set(where, known)
  const queries: Queries = known.get(limits) ?? {}
  known.set(limits, queries)
  queries[name] ??= new PgDialect().sqlToQuery(STATEMENTS[name](limits, where))
  return queries[name]
}
