import { type SQL, sql } from 'drizzle-orm'
import {
  type CountedMinute,
  findAlerts,
  findInSightings,
  findRates,
  type WatchedKey,
} from '../alerts/detect.ts'
import { appendAudit } from '../audit/append.ts'
import { type Database, rows } from '../db/database.ts'
import { type Distribution, inShardsSql, splitByGroup } from '../db/distribution.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { walletOf } from '../keys/find.ts'
import type { Log } from '../log.ts'
import { UNKNOWN_ADDRESS } from '../wire/ip.ts'
import { AUDITED_REFUSALS, SECRET_NAME_LENGTH, type SightingKind, type Use } from './usage.ts'

/** Counts in memory how keys are used, so that no request pays a statement for statistics. */
export interface UsageRecorder {
  record(use: Use): void
  /** Writes what was counted: when a process ends, and before statistics are read. Never rejects. */
  flush(db: Database): Promise<void>
  /** Writes what has waited long enough: a second of keys that have alerts, some seconds of others. */
  flushDue(db: Database, now: number): Promise<void>
  /** Whether anything has waited long enough. */
  isDue(now: number): boolean
}

/** Requests with a key in a minute that had one outcome. */
interface Count {
  keyId: string
  shard: number
  /** Minutes since 1970. */
  minute: number
  outcome: string
  requests: number
  executions: number
  executionMs: number
}

/** As `Count`, in hours since 1970. */
type HourCount = Omit<Count, 'minute'> & { hour: number }

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

const MINUTE_MS = 60_000
const HOUR_MS = 3_600_000
/** Different counts between two writes; more are dropped, so that memory stays bounded. */
const MAX_COUNTS = 20_000
/** Addresses and user agents of one key between two writes; more are dropped. */
const MAX_SIGHTINGS = 50
/** Addresses of a key, and user agents, that are kept: those that were seen last. */
const KEPT_SIGHTINGS = 100
/** How long counts wait in memory, and therefore what a killed process loses. */
const FLUSH_AFTER_MS = 5_000
/** The same of keys that are known to have alerts. */
const FLUSH_WATCHED_AFTER_MS = 1_000
/** Keys that are remembered to have alerts. Of others, what is found comes later. */
const MAX_WATCHED = 10_000
const MAX_VALUE_LENGTH = 200

/** What is written together, and since when the oldest of it waits. */
interface Waiting {
  keys: Map<string, KeyCounts>
  oldest: number | undefined
}

/** Opens the counts of a process. Where tables are distributed, those of each group of shards are written by statements of their own. */
export function openUsage(log: Log, distribution?: Distribution): UsageRecorder {
  let plain: Waiting = { keys: new Map(), oldest: undefined }
  let watched: Waiting = { keys: new Map(), oldest: undefined }
  /** Keys that had alerts when their counts were written last. */
  const knownWatched = new Set<string>()
  let size = 0
  let refusals: Use[] = []
  let audited = new Set<string>()
  let auditedHour = 0

  function record(use: Use): void {
    const { keyId, shard, at, outcome, executionMs } = use
    if (size > MAX_COUNTS) return
    const key = plain.keys.get(keyId) ?? watched.keys.get(keyId) ?? addKey(use)
    const minute = Math.floor(at / MINUTE_MS)
    let count = countIn(key, minute, outcome)
    if (count === undefined) {
      count = { keyId, shard, minute, outcome, requests: 0, executions: 0, executionMs: 0 }
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
    if (AUDITED_REFUSALS.has(outcome)) queueRefusal(use)
  }

  function addKey({ keyId, at }: Use): KeyCounts {
    const waiting = knownWatched.has(keyId) ? watched : plain
    waiting.oldest ??= at
    const key = { counts: [], sightings: [] }
    waiting.keys.set(keyId, key)
    return key
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
  function queueRefusal(use: Use): void {
    const hour = Math.floor(use.at / HOUR_MS)
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
    const all = [...plain.keys.values(), ...watched.keys.values()]
    plain = { keys: new Map(), oldest: undefined }
    watched = { keys: new Map(), oldest: undefined }
    await write(db, all)
  }

  async function flushDue(db: Database, now: number): Promise<void> {
    if (isWaiting(plain, now, FLUSH_AFTER_MS)) return flush(db)
    if (!isWaiting(watched, now, FLUSH_WATCHED_AFTER_MS)) return
    const due = [...watched.keys.values()]
    watched = { keys: new Map(), oldest: undefined }
    await write(db, due)
  }

  async function write(db: Database, counted: readonly KeyCounts[]): Promise<void> {
    if (counted.length === 0) return
    const counts = counted.flatMap((key) => key.counts)
    const sightings = counted.flatMap((key) => key.sightings)
    const refused = refusals
    size = Math.max(0, size - counts.length - sightings.length)
    refusals = []
    try {
      for (const group of splitByGroup(distribution, counts, ofShard))
        await writeCounts(db, hoursOf(group))
      const alerts = await alertsOf(db, counts)
      await writeAllSightings(db, sightings, alerts)
      for (const group of splitByGroup(distribution, minutesOf(counts, alerts), ofShard))
        await findRates(db, group, inShardsSql(distribution, group.map(ofShard)))
      for (const use of refused) await auditRefusal(db, use)
    } catch {
      log('warn', 'usage_lost', { counts: counts.length })
    }
  }

  /** The keys among the counted ones that have alerts, which are written more often from then on. */
  async function alertsOf(
    db: Database,
    counts: readonly Count[],
  ): Promise<ReadonlyMap<string, WatchedKey>> {
    const found: WatchedKey[] = []
    for (const group of splitByGroup(distribution, counts, ofShard))
      found.push(
        ...(await findAlerts(
          db,
          new Set(group.map(({ keyId }) => keyId)),
          inShardsSql(distribution, group.map(ofShard)),
        )),
      )
    for (const { keyId } of counts) knownWatched.delete(keyId)
    if (knownWatched.size > MAX_WATCHED) knownWatched.clear()
    for (const { keyId } of found) knownWatched.add(keyId)
    return new Map(found.map((key) => [key.keyId, key]))
  }

  /** Sightings of keys with alerts are written together with what is new among them, or not at all. */
  async function writeAllSightings(
    db: Database,
    sightings: readonly SightingCount[],
    alerts: ReadonlyMap<string, WatchedKey>,
  ): Promise<void> {
    for (const group of splitByGroup(distribution, sightings, ofShard)) {
      const inShards = inShardsSql(distribution, group.map(ofShard))
      const others = group.filter(({ keyId }) => !alerts.has(keyId))
      const theirs = group.filter(({ keyId }) => alerts.has(keyId))
      if (others.length > 0) await writeSightings(db, others, inShards)
      if (theirs.length > 0)
        await db.transaction(async (tx) => {
          const added = await writeSightings(tx, theirs, inShards)
          await findInSightings(tx, added.filter(isAddress), alerts, inShards)
        })
    }
  }

  const isDue = (now: number) =>
    isWaiting(plain, now, FLUSH_AFTER_MS) || isWaiting(watched, now, FLUSH_WATCHED_AFTER_MS)

  return { record, flush, flushDue, isDue }
}

function isWaiting({ oldest }: Waiting, now: number, ms: number): boolean {
  return oldest !== undefined && now - oldest >= ms
}

const ofShard = ({ shard }: { shard: number }) => shard
const isAddress = ({ kind, value }: SightingCount) => kind === 'ip' && value !== UNKNOWN_ADDRESS

function hourOf(minute: number): number {
  return Math.floor((minute * MINUTE_MS) / HOUR_MS)
}

/** Counts of minutes as those of their hours. */
function hoursOf(counts: readonly Count[]): HourCount[] {
  const hours = new Map<string, HourCount>()
  for (const { minute, ...count } of counts) {
    const hour = hourOf(minute)
    const name = `${count.keyId} ${hour} ${count.outcome}`
    const sum = hours.get(name)
    if (sum === undefined) hours.set(name, { ...count, hour })
    else {
      sum.requests += count.requests
      sum.executions += count.executions
      sum.executionMs += count.executionMs
    }
  }
  return [...hours.values()]
}

/** The requests of each minute of the keys that have alerts. */
function minutesOf(
  counts: readonly Count[],
  alerts: ReadonlyMap<string, WatchedKey>,
): CountedMinute[] {
  const minutes = new Map<string, CountedMinute>()
  for (const { keyId, shard, minute, outcome, requests } of counts) {
    const key = alerts.get(keyId)
    if (key === undefined) continue
    const name = `${keyId} ${minute}`
    const sum = minutes.get(name) ?? { key, shard, minute, requests: 0, refused: 0 }
    sum.requests += requests
    if (outcome !== 'OK') sum.refused += requests
    minutes.set(name, sum)
  }
  return [...minutes.values()]
}

/** A loop: with each request, a closure for find() would cost more than the comparison. */
function countIn({ counts }: KeyCounts, minute: number, outcome: string): Count | undefined {
  for (const count of counts) if (count.minute === minute && count.outcome === outcome) return count
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
async function writeCounts(db: Database, counts: readonly HourCount[]): Promise<void> {
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

/** Sorted, as `writeCounts`. Resolves to those that were not there before. */
async function writeSightings(
  db: Database,
  sightings: readonly SightingCount[],
  inShards: (table: string) => SQL,
): Promise<SightingCount[]> {
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
  const added = new Set(written.filter(isNew).map(nameOf))
  const grown = sightings.filter((one) => added.has(nameOf(one)))
  if (grown.length > 0)
    await dropSightings(db, [...new Set(grown.map(({ keyId }) => keyId))], inShards)
  return grown
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
