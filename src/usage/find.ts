import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { UsageRecorder } from './record.ts'
import type { KeyUsage, Sighting, UsageBucket } from './usage.ts'

const LAST_SEEN = 10

/** How a key was used in the last days, by the hour or by the UTC day. */
export async function findUsage(
  services: { db: Database; usage: UsageRecorder },
  keyId: string,
  { by, days }: { by: 'hour' | 'day'; days: number },
  now: number,
): Promise<KeyUsage> {
  const { db } = services
  await services.usage.flush(db)
  const since = new Date((Math.floor(now / 86_400_000) - days + 1) * 86_400_000).toISOString()
  const counted = await rows<{
    start: number
    outcome: string
    requests: number
    executions: number
    ms: number
  }>(
    db,
    sql`SELECT (extract(epoch FROM date_trunc(${by}, hour, 'UTC')) * 1000)::float8 AS start, outcome,
        sum(requests)::float8 AS requests, sum(executions)::float8 AS executions, sum(execution_ms)::float8 AS ms
      FROM key_usage WHERE key_id = ${keyId} AND hour >= ${since}::timestamptz GROUP BY 1, 2 ORDER BY 1, 2`,
  )
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
  const executions = counted.reduce((sum, count) => sum + count.executions, 0)
  const ms = counted.reduce((sum, count) => sum + count.ms, 0)
  const seen = await rows<{
    kind: string
    value: string
    requests: number
    first: number
    last: number
  }>(
    db,
    sql`SELECT kind, value, requests::float8 AS requests, (extract(epoch FROM first_seen_at) * 1000)::float8 AS first,
        (extract(epoch FROM last_seen_at) * 1000)::float8 AS last
      FROM key_sightings WHERE key_id = ${keyId} ORDER BY last_seen_at DESC, value`,
  )
  const lastSeen = (kind: string): Sighting[] =>
    seen
      .filter((one) => one.kind === kind)
      .slice(0, LAST_SEEN)
      .map(({ value, requests, first, last }) => ({
        value,
        requests,
        firstSeenAt: new Date(first).toISOString(),
        lastSeenAt: new Date(last).toISOString(),
      }))
  return {
    status: 'success',
    keyId,
    by,
    usage: [...buckets.values()],
    ...(executions > 0 && { averageExecutionMs: Math.round(ms / executions) }),
    ips: lastSeen('ip'),
    userAgents: lastSeen('userAgent'),
  }
}
