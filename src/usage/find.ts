import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import { spentToday } from '../orders/allowance.ts'
import {
  type KeyUsage,
  type RotationUse,
  SECRET_NAME_LENGTH,
  type Sighting,
  type UsageBucket,
  type UsageOfKey,
  type WalletUsage,
} from './usage.ts'

const DAY_MS = 86_400_000
/** Addresses, and user agents, in a response. */
const MAX_SIGHTINGS = 10

interface Counted {
  /** Milliseconds since 1970 of the hour or the day. */
  start: number
  outcome: string
  requests: number
  executions: number
  ms: number
}

interface Sighted {
  kind: 'ip' | 'userAgent'
  value: string
  requests: number
  first: number
  last: number
}

/** How a key was used in the last days, by the hour or by the UTC day. */
export async function findUsage(
  db: Database,
  { keyId, walletAddress }: { keyId: string; walletAddress: string },
  { by, days }: { by: 'hour' | 'day'; days: number },
  now: number,
): Promise<KeyUsage> {
  const since = firstDay(days, now)
  const shard = shardSql(walletAddress)
  const counted = await rows<Counted>(
    db,
    sql`SELECT (extract(epoch FROM date_trunc(${by}, hour, 'UTC')) * 1000)::float8 AS start, outcome,
        sum(requests)::float8 AS requests, sum(executions)::float8 AS executions, sum(execution_ms)::float8 AS ms
      FROM key_usage WHERE key_id = ${keyId} AND shard = ${shard} AND hour >= ${since}::timestamptz GROUP BY 1, 2 ORDER BY 1, 2`,
  )
  const sighted = await rows<Sighted>(
    db,
    sql`SELECT kind, value, requests::float8 AS requests, (extract(epoch FROM first_seen_at) * 1000)::float8 AS first,
        (extract(epoch FROM last_seen_at) * 1000)::float8 AS last
      FROM unnest(ARRAY['ip', 'userAgent']) AS wanted (wanted_kind) CROSS JOIN LATERAL (
        SELECT * FROM key_sightings WHERE key_id = ${keyId} AND shard = ${shard} AND kind = wanted_kind
        ORDER BY last_seen_at DESC, value LIMIT ${MAX_SIGHTINGS}::int
      ) AS newest ORDER BY last_seen_at DESC, value`,
  )
  const rotation = await rotationOf(db, { keyId, walletAddress }, now)
  const spent = await spentToday(db, { keyId, walletAddress }, now)
  const executions = counted.reduce((sum, count) => sum + count.executions, 0)
  const ms = counted.reduce((sum, count) => sum + count.ms, 0)
  return {
    status: 'success',
    keyId,
    by,
    usage: bucketsOf(counted),
    ...(executions > 0 && { averageExecutionMs: Math.round(ms / executions) }),
    ips: sightingsOf('ip', sighted),
    userAgents: sightingsOf('userAgent', sighted),
    ...(rotation !== undefined && { rotation }),
    spentToday: Object.fromEntries([...spent].map(([token, amount]) => [token, String(amount)])),
  }
}

/** Which of a key's two secrets was used when; undefined where it has one. */
async function rotationOf(
  db: Database,
  { keyId, walletAddress }: { keyId: string; walletAddress: string },
  now: number,
): Promise<RotationUse | undefined> {
  const shard = shardSql(walletAddress)
  const usedAt = (column: string) =>
    milliseconds(
      sql`(SELECT last_seen_at FROM key_sightings WHERE key_id = ${keyId} AND shard = ${shard} AND kind = 'secret'
        AND value = left(encode(${sql.raw(column)}, 'hex'), ${SECRET_NAME_LENGTH}::int))`,
    )
  const [found] = await rows<{ until: number; new: number | null; previous: number | null }>(
    db,
    sql`SELECT ${milliseconds(sql`previous_until`)} AS until, ${usedAt('key_hash')} AS new, ${usedAt('previous_key_hash')} AS previous
      FROM api_keys WHERE id = ${keyId} AND shard = ${shard} AND previous_until > ${timestamptz(now)}`,
  )
  if (found === undefined) return undefined
  const iso = (ms: number) => new Date(ms).toISOString()
  return {
    previousUntil: iso(found.until),
    ...(found.new !== null && { newSecretUsedAt: iso(found.new) }),
    ...(found.previous !== null && { previousSecretUsedAt: iso(found.previous) }),
  }
}

/** How the keys of a wallet were used in the last days. */
export async function findWalletUsage(
  db: Database,
  walletAddress: string,
  days: number,
  now: number,
): Promise<WalletUsage> {
  const shard = shardSql(walletAddress)
  const counted = await rows<{
    keyId: string
    start: number
    requests: number
    refused: number
    lastAddress: string | null
  }>(
    db,
    sql`SELECT id AS "keyId", start, requests, refused, "lastAddress" FROM api_keys
      CROSS JOIN LATERAL (
        SELECT (extract(epoch FROM date_trunc('day', hour, 'UTC')) * 1000)::float8 AS start,
          sum(requests)::float8 AS requests, coalesce(sum(requests) FILTER (WHERE outcome <> 'OK'), 0)::float8 AS refused
        FROM key_usage WHERE key_id = id AND key_usage.shard = ${shard} AND hour >= ${firstDay(days, now)}::timestamptz GROUP BY 1
      ) AS counted
      LEFT JOIN LATERAL (
        SELECT value AS "lastAddress" FROM key_sightings WHERE key_id = id AND key_sightings.shard = ${shard} AND kind = 'ip'
        ORDER BY last_seen_at DESC, value LIMIT 1
      ) AS seen ON true
      WHERE wallet_address = ${walletAddress} AND api_keys.shard = ${shard} ORDER BY id, start`,
  )
  const keys = Map.groupBy(counted, ({ keyId }) => keyId)
  return {
    status: 'success',
    keys: [...keys].map(([keyId, all]): UsageOfKey => {
      const [{ lastAddress } = { lastAddress: null }] = all
      return {
        keyId,
        days: all.map(({ start, requests, refused }) => ({
          start: new Date(start).toISOString(),
          requests,
          refused,
        })),
        ...(lastAddress !== null && { lastAddress }),
      }
    }),
  }
}

/** The first of the last UTC days, today included. */
function firstDay(days: number, now: number): string {
  return new Date((Math.floor(now / DAY_MS) - days + 1) * DAY_MS).toISOString()
}

function bucketsOf(counted: readonly Counted[]): UsageBucket[] {
  const buckets = new Map<number, UsageBucket>()
  for (const { start, outcome, requests } of counted) {
    const bucket = buckets.get(start) ?? {
      start: new Date(start).toISOString(),
      requests: 0,
      outcomes: {},
    }
    bucket.requests += requests
    bucket.outcomes[outcome] = requests
    buckets.set(start, bucket)
  }
  return [...buckets.values()]
}

function sightingsOf(kind: Sighted['kind'], sighted: readonly Sighted[]): Sighting[] {
  return sighted
    .filter((one) => one.kind === kind)
    .map(({ value, requests, first, last }) => ({
      value,
      requests,
      firstSeenAt: new Date(first).toISOString(),
      lastSeenAt: new Date(last).toISOString(),
    }))
}
