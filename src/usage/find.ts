import { sql } from 'drizzle-orm'
import type { Database } from '../db/database.ts'
import { statement } from '../db/statement.ts'
import { milliseconds } from '../db/time.ts'
import type { UsageRecorder } from './record.ts'
import type { KeyUsage, Sighting, UsageBucket } from './usage.ts'

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

/** How a key was used in the last days, by the hour or by the UTC day. Writes what this process has counted first. */
export async function findUsage(
  { db, usage }: { db: Database; usage: UsageRecorder },
  keyId: string,
  { by, days }: { by: 'hour' | 'day'; days: number },
  now: number,
): Promise<KeyUsage> {
  await usage.flush(db)
  const since = new Date((Math.floor(now / DAY_MS) - days + 1) * DAY_MS).toISOString()
  const counted = await countsOfKey(db, { keyId, by, since })
  const sighted = await sightingsOfKey(db, { keyId })
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
  }
}

const countsOfKey = statement<Counted, { keyId: string; by: string; since: string }>(
  'find_usage',
  () => sql`
    SELECT (extract(epoch FROM date_trunc(${sql.placeholder('by')}, hour, 'UTC')) * 1000)::float8 AS start, outcome,
      sum(requests)::float8 AS requests, sum(executions)::float8 AS executions, sum(execution_ms)::float8 AS ms
    FROM key_usage WHERE key_id = ${sql.placeholder('keyId')} AND hour >= ${sql.placeholder('since')}::timestamptz
    GROUP BY 1, 2 ORDER BY 1, 2`,
)

const sightingsOfKey = statement<Sighted, { keyId: string }>(
  'find_sightings',
  () => sql`
    SELECT kind, value, requests::float8 AS requests, ${milliseconds(sql`first_seen_at`)} AS first,
      ${milliseconds(sql`last_seen_at`)} AS last
    FROM key_sightings WHERE key_id = ${sql.placeholder('keyId')} ORDER BY last_seen_at DESC, value`,
)

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
    .slice(0, MAX_SIGHTINGS)
    .map(({ value, requests, first, last }) => ({
      value,
      requests,
      firstSeenAt: new Date(first).toISOString(),
      lastSeenAt: new Date(last).toISOString(),
    }))
}
