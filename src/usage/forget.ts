import { sql } from 'drizzle-orm'
import {
  type ForgetServices,
  forgetPage,
  forgetRows,
  freeSql,
  isGivenSql,
  type OverRows,
} from '../db/forget.ts'
import { timestamptz } from '../db/time.ts'
import { USAGE_DAYS } from './usage.ts'

const HOUR_MS = 3_600_000

/** Deletes a page of the statistics that are older than `USAGE_DAYS`. Resolves to whether no more are left. */
export async function forgetUsage(services: ForgetServices, now: number): Promise<boolean> {
  const hour = Math.floor(now / HOUR_MS)
  const oldest = (hour - USAGE_DAYS * 24) * HOUR_MS
  const isDone = [
    await forgetHours(services, oldest),
    await forgetRows(services, findingsBefore(oldest)),
    await forgetRows(services, ratesBefore((hour - 1) * HOUR_MS)),
  ]
  return isDone.every(Boolean)
}

/**
 * Deletes hours of usage, and with each what the key was seen with until then. A sighting has no index by its time, which every request
 * would have to write to; but in the hour in which it was last seen the key has usage, so it is found by the hours that are deleted.
 * `oldest` is the beginning of an hour. Where the last archive has usage, what no archive has is kept.
 */
function forgetHours(services: ForgetServices, oldest: number): Promise<boolean> {
  const before = timestamptz(oldest)
  const hours: OverRows = {
    table: 'key_usage',
    key: { key_id: 'text', hour: 'timestamptz', outcome: 'text' },
    by: sql`hour`,
    isOver: sql`hour < ${before}`,
    guard: sql`hour < coalesce((SELECT usage_through FROM archives WHERE state <> 'writing' ORDER BY number DESC LIMIT 1), 'infinity')`,
  }
  return forgetPage(
    services,
    hours,
    (given, inShards) => sql`WITH old AS MATERIALIZED (${freeSql(hours, given, inShards)}),
      unseen AS MATERIALIZED (
        SELECT sighting.key_id, kind, value FROM (SELECT DISTINCT key_id FROM old) AS used CROSS JOIN LATERAL (
          SELECT key_id, kind, value FROM key_sightings
          WHERE key_sightings.key_id = used.key_id AND last_seen_at < ${before}${inShards('key_sightings')} FOR UPDATE SKIP LOCKED
        ) AS sighting
      ), forgotten AS (
        DELETE FROM key_sightings AS stored USING unseen WHERE stored.key_id = unseen.key_id AND stored.kind = unseen.kind
          AND stored.value = unseen.value${inShards('stored')}
      )
      DELETE FROM key_usage AS stored USING old WHERE ${isGivenSql(hours, 'stored', 'old')}${inShards('stored')} RETURNING 1`,
  )
}

function findingsBefore(oldest: number): OverRows {
  return {
    table: 'key_findings',
    key: { key_id: 'text', rule: 'text', subject: 'text' },
    by: sql`at`,
    isOver: sql`at < ${timestamptz(oldest)}`,
  }
}

/** By the moment at which a window began. */
function ratesBefore(oldest: number): OverRows {
  const began = sql`("window"::bigint * seconds)`
  return {
    table: 'key_rates',
    key: { key_id: 'text', seconds: 'int', window: 'int' },
    by: began,
    isOver: sql`${began} < ${Math.floor(oldest / 1000)}::bigint`,
  }
}
