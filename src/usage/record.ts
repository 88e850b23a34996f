import { type SQL, sql } from 'drizzle-orm'
import { appendAudit } from '../audit/append.ts'
import { type Database, rows } from '../db/database.ts'
import { type Distribution, inShardsSql, splitByGroup } from '../db/distribution.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { walletOf } from '../keys/find.ts'
import type { Log } from '../log.ts'
import {
  AUDITED_REFUSALS,
  SECRET_NAME_LENGTH,
  type SightingKind,
  USAGE_DAYS,
  type Use,
} from './usage.ts'

/** Counts in memory how keys are used, so that no request pays a statement for statistics. */
export interface UsageRecorder {
  record(use: Use): void
  /** Writes what was counted: every few seconds, when a process ends, and before statistics are read. Never rejects. */
  flush(db: Database): Promise<void>
  /** Whether the oldest count has waited long enough to be written. */
  isDue(now: number): boolean
}

/** Requests with a key in an hour that had one outcome. */
interface Count {
  keyId: string
  shard: number
  /** Hours since 1970. */
  hour: number
  outcome: string
  requests: number
  executions: number
  executionMs: number
}

/** Requests with a key from one address, with one user agent, or with one of its two secrets. */
interface SightingCount {
  keyId: string
  shard: number
  kind: SightingKind
  value: string
  requests: number
  /** Milliseconds since 1970. */
  first: number
  last: number
}

/** What was counted of a key since the last write. Lists, because they are short and the last entry is used most. */
interface KeyCounts {
  counts: Count[]
  sightings: SightingCount[]
}

const HOUR_MS = 3_600_000
/** Different counts between two writes; more are dropped, so that memory stays bounded. */
const MAX_COUNTS = 20_000
/** Addresses and user agents of one key between two writes; more are dropped. */
const MAX_SIGHTINGS = 50
/** Addresses of a key, and user agents, that are kept: those that were seen last. */
const KEPT_SIGHTINGS = 100
/** How long counts wait in memory, and therefore what a killed process loses. */
const FLUSH_AFTER_MS = 5_000
const MAX_VALUE_LENGTH = 200

/** Opens the counts of a process. Where tables are distributed, those of each group of shards are written by statements of their own. */
export function openUsage(log: Log, distribution?: Distribution): UsageRecorder {
  let keys = new Map<string, KeyCounts>()
  let size = 0
  let refusals: Use[] = []
  let audited = new Set<string>()
  let auditedHour = 0
  let prunedHour = 0
  let oldest: number | undefined

  function record(use: Use): void {
    const { keyId, shard, at, outcome, executionMs } = use
    if (size > MAX_COUNTS) return
    oldest ??= at
    const hour = Math.floor(at / HOUR_MS)
    let key = keys.get(keyId)
    if (key === undefined) {
      key = { counts: [], sightings: [] }
      keys.set(keyId, key)
    }
    let count = countIn(key, hour, outcome)
    if (count === undefined) {
      count = { keyId, shard, hour, outcome, requests: 0, executions: 0, executionMs: 0 }
      key.counts.push(count)
      size += 1
    }
    count.requests += 1
    if (executionMs !== undefined) {
      count.executions += 1
      count.executionMs += Math.max(0, Math.round(executionMs))
    }
    countSighting(key, use, 'ip', use.ip)
    if (use.userAgent !== undefined) countSighting(key, use, 'userAgent', use.userAgent)
    if (use.secret !== undefined)
      countSighting(key, use, 'secret', use.secret.slice(0, SECRET_NAME_LENGTH))
    if (AUDITED_REFUSALS.has(outcome)) queueRefusal(use, hour)
  }

  function countSighting(
    { sightings }: KeyCounts,
    { keyId, shard, at }: Use,
    kind: SightingKind,
    text: string,
  ): void {
    const value = text.length > MAX_VALUE_LENGTH ? text.slice(0, MAX_VALUE_LENGTH) : text
    const sighting = sightingIn(sightings, kind, value)
    if (sighting !== undefined) {
      sighting.requests += 1
      sighting.last = Math.max(sighting.last, at)
    } else if (sightings.length < MAX_SIGHTINGS) {
      sightings.push({ keyId, shard, kind, value, requests: 1, first: at, last: at })
      size += 1
    }
  }

  /** Once an hour for a key and a code, so that a thief with a thousand refused requests cannot flood the audit. */
  function queueRefusal(use: Use, hour: number): void {
    if (hour !== auditedHour) {
      auditedHour = hour
      audited = new Set()
    }
    const name = `${use.keyId} ${use.outcome}`
    if (audited.has(name) || audited.size >= MAX_COUNTS) return
    audited.add(name)
    refusals.push(use)
  }

  async function flush(db: Database): Promise<void> {
    if (keys.size === 0) return
    const counted = [...keys.values()]
    const counts = counted.flatMap((key) => key.counts)
    const sightings = counted.flatMap((key) => key.sightings)
    const refused = refusals
    keys = new Map()
    size = 0
    refusals = []
    oldest = undefined
    try {
      const ofShard = ({ shard }: { shard: number }) => shard
      for (const group of splitByGroup(distribution, counts, ofShard)) await writeCounts(db, group)
      for (const group of splitByGroup(distribution, sightings, ofShard))
        await writeSightings(db, group, inShardsSql(distribution, group.map(ofShard)))
      for (const use of refused) await auditRefusal(db, use)
      const hour = counts.reduce((latest, count) => Math.max(latest, count.hour), 0)
      if (hour > prunedHour) await prune(db, hour)
      prunedHour = hour
    } catch {
      log('warn', 'usage_lost', { counts: counts.length })
    }
  }

  const isDue = (now: number) => oldest !== undefined && now - oldest >= FLUSH_AFTER_MS

  return { record, flush, isDue }
}

/** A loop: with each request, a closure for find() would cost more than the comparison. */
function countIn({ counts }: KeyCounts, hour: number, outcome: string): Count | undefined {
  for (const count of counts) if (count.hour === hour && count.outcome === outcome) return count
  return undefined
}

/** As `countIn`. */
function sightingIn(
  sightings: readonly SightingCount[],
  kind: SightingKind,
  value: string,
): SightingCount | undefined {
  for (const one of sightings) if (one.value === value && one.kind === kind) return one
  return undefined
}

/** Sorted, so that two processes that write the same rows cannot wait for each other. */
async function writeCounts(db: Database, counts: readonly Count[]): Promise<void> {
  const sorted = counts
    .map(({ hour, ...count }) => ({ ...count, hour: new Date(hour * HOUR_MS).toISOString() }))
    .sort((a, b) => (a.keyId + a.hour + a.outcome < b.keyId + b.hour + b.outcome ? -1 : 1))
  await rows(
    db,
    sql`INSERT INTO key_usage AS usage (key_id, shard, hour, outcome, requests, executions, execution_ms)
      SELECT "keyId", shard, hour, outcome, requests, executions, "executionMs"
      FROM jsonb_to_recordset(${JSON.stringify(sorted)}::text::jsonb) AS counted
        ("keyId" text, shard int, hour timestamptz, outcome text, requests bigint, executions bigint, "executionMs" bigint)
      ON CONFLICT ON CONSTRAINT key_usage_pk DO UPDATE SET requests = usage.requests + excluded.requests,
        executions = usage.executions + excluded.executions, execution_ms = usage.execution_ms + excluded.execution_ms`,
  )
}

/** Sorted, as `writeCounts`. */
async function writeSightings(
  db: Database,
  sightings: readonly SightingCount[],
  inShards: (table: string) => SQL,
): Promise<void> {
  const sorted = sightings
    .map(({ first, last, ...one }) => ({
      ...one,
      first: new Date(first).toISOString(),
      last: new Date(last).toISOString(),
    }))
    .sort((a, b) => (a.keyId + a.kind + a.value < b.keyId + b.kind + b.value ? -1 : 1))
  const written = await rows<Pick<SightingCount, 'keyId' | 'kind' | 'value' | 'requests'>>(
    db,
    sql`INSERT INTO key_sightings AS sighting (key_id, shard, kind, value, requests, first_seen_at, last_seen_at)
      SELECT "keyId", shard, kind, value, requests, first, last
      FROM jsonb_to_recordset(${JSON.stringify(sorted)}::text::jsonb) AS seen
        ("keyId" text, shard int, kind text, value text, requests bigint, first timestamptz, last timestamptz)
      ON CONFLICT ON CONSTRAINT key_sightings_pk DO UPDATE SET requests = sighting.requests + excluded.requests,
        last_seen_at = greatest(sighting.last_seen_at, excluded.last_seen_at)
      RETURNING key_id AS "keyId", kind, value, requests::float8 AS requests`,
  )
  // A row that was there had requests before these.
  const sent = new Map(sightings.map((one) => [nameOf(one), one.requests]))
  const isNew = (one: (typeof written)[number]) => sent.get(nameOf(one)) === one.requests
  const grown = new Set(written.filter(isNew).map(({ keyId }) => keyId))
  if (grown.size > 0) await dropSightings(db, [...grown], inShards)
}

function nameOf({ keyId, kind, value }: Pick<SightingCount, 'keyId' | 'kind' | 'value'>): string {
  return `${keyId} ${kind} ${value}`
}

/**
 * Deletes what keys have beyond `KEPT_SIGHTINGS` of a kind, those that were seen longest ago first. Rows that another process writes
 * are left to it, so that the two cannot wait for each other.
 */
async function dropSightings(
  db: Database,
  keyIds: readonly string[],
  inShards: (table: string) => SQL,
): Promise<void> {
  await rows(
    db,
    sql`DELETE FROM key_sightings USING unnest(${`{${keyIds.join(',')}}`}::text::text[]) AS grown (grown_key_id)
      CROSS JOIN unnest(ARRAY['ip', 'userAgent', 'secret']) AS wanted (wanted_kind)
      CROSS JOIN LATERAL (
        SELECT value AS old_value FROM key_sightings WHERE key_id = grown_key_id AND kind = wanted_kind${inShards('key_sightings')}
        ORDER BY last_seen_at DESC, value OFFSET ${KEPT_SIGHTINGS}::int FOR UPDATE SKIP LOCKED
      ) AS old
      WHERE key_id = grown_key_id AND kind = wanted_kind AND value = old_value${inShards('key_sightings')}`,
  )
}

async function auditRefusal(db: Database, { keyId, shard, at, outcome, ip }: Use): Promise<void> {
  const walletAddress = await walletOf(db, sql`id = ${keyId}`, shard)
  if (walletAddress === undefined) return
  await db.transaction(async (tx) => {
    await lockWallet(tx, walletAddress)
    const details = { code: outcome, ip }
    await appendAudit(tx, { event: 'refused', walletAddress, keyId, actor: 'service', at, details })
  })
}

/** Deletes statistics that are older than `USAGE_DAYS`. */
async function prune(db: Database, hour: number): Promise<void> {
  const oldest = new Date(hour * HOUR_MS - USAGE_DAYS * 24 * HOUR_MS).toISOString()
  // Hour by hour: after a day without a process there are more rows than one statement has time for.
  for (;;) {
    const [first] = await rows<{ ms: number | null }>(
      db,
      sql`SELECT (extract(epoch FROM min(hour)) * 1000)::float8 AS ms FROM key_usage`,
    )
    if (first?.ms == null || first.ms >= Date.parse(oldest)) break
    const end = new Date(Math.min(first.ms + HOUR_MS, Date.parse(oldest))).toISOString()
    await rows(db, sql`DELETE FROM key_usage WHERE hour < ${end}::timestamptz`)
  }
  await rows(db, sql`DELETE FROM key_sightings WHERE last_seen_at < ${oldest}::timestamptz`)
}
