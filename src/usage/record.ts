import { sql } from 'drizzle-orm'
import { appendAudit } from '../audit/append.ts'
import { type Database, rows } from '../db/database.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import type { Log } from '../log.ts'
import { USAGE_DAYS, type Use, WORTH_KNOWING } from './usage.ts'

/** Counts in memory how keys are used, so that no request pays a statement for statistics. */
export interface UsageRecorder {
  record(use: Use): void
  /** Writes what was counted. Called every few seconds, at the end of a process, and before anybody reads. */
  flush(db: Database): Promise<void>
  /** Whether something has waited for long enough to be written. */
  isDue(now: number): boolean
}

interface Count {
  keyId: string
  hour: number
  outcome: string
  requests: number
  executions: number
  executionMs: number
}

interface Seen {
  keyId: string
  kind: 'ip' | 'userAgent'
  value: string
  requests: number
  first: number
  last: number
}

/** What was counted of a key. They are few, and the one that is wanted is nearly always the first. */
interface Counted {
  counts: Count[]
  seen: Seen[]
}

const HOUR_MS = 3_600_000
/** More different counts than this between two writes are not kept: memory stays bounded. */
const MOST_COUNTS = 20_000
/** More addresses and user agents than this between two writes are not kept of one key. */
const MOST_SIGHTINGS = 50
/** How long statistics wait in memory: what a process that is killed loses. */
const DUE_MS = 5_000
const MOST_CHARACTERS = 200

export function openUsage(log: Log): UsageRecorder {
  let keys = new Map<string, Counted>()
  let size = 0
  let refusals: Use[] = []
  let told = new Set<string>()
  let hourOfTold = 0
  let prunedAt = 0
  let oldest: number | undefined

  function record(use: Use): void {
    const { keyId, at, outcome, executionMs } = use
    if (size > MOST_COUNTS) return
    oldest ??= at
    const hour = Math.floor(at / HOUR_MS)
    let key = keys.get(keyId)
    if (key === undefined) {
      key = { counts: [], seen: [] }
      keys.set(keyId, key)
    }
    let count = key.counts.find((one) => one.hour === hour && one.outcome === outcome)
    if (count === undefined) {
      count = { keyId, hour, outcome, requests: 0, executions: 0, executionMs: 0 }
      key.counts.push(count)
      size += 1
    }
    count.requests += 1
    if (executionMs !== undefined) {
      count.executions += 1
      count.executionMs += Math.max(0, Math.round(executionMs))
    }
    sight(key, use, 'ip', use.ip)
    if (use.userAgent !== undefined) sight(key, use, 'userAgent', use.userAgent)
    if (WORTH_KNOWING.has(outcome)) noteRefusal(use, hour)
  }

  function sight({ seen }: Counted, { keyId, at }: Use, kind: Seen['kind'], text: string): void {
    const value = text.length > MOST_CHARACTERS ? text.slice(0, MOST_CHARACTERS) : text
    const one = seen.find((other) => other.kind === kind && other.value === value)
    if (one !== undefined) {
      one.requests += 1
      one.last = Math.max(one.last, at)
    } else if (seen.length < MOST_SIGHTINGS) {
      seen.push({ keyId, kind, value, requests: 1, first: at, last: at })
      size += 1
    }
  }

  /** Once an hour for a key and a code: a thief who knocks a thousand times must not drown the audit. */
  function noteRefusal(use: Use, hour: number): void {
    if (hour !== hourOfTold) {
      hourOfTold = hour
      told = new Set()
    }
    const name = `${use.keyId} ${use.outcome}`
    if (told.has(name) || told.size >= MOST_COUNTS) return
    told.add(name)
    refusals.push(use)
  }

  async function flush(db: Database): Promise<void> {
    if (keys.size === 0) return
    oldest = undefined
    const counted = [...keys.values()]
    const writing = counted.flatMap(({ counts }) => counts)
    const sighted = counted.flatMap(({ seen }) => seen)
    const refused = refusals
    keys = new Map()
    size = 0
    refusals = []
    try {
      await writeCounts(db, writing)
      await writeSightings(db, sighted)
      for (const use of refused) await tellRefusal(db, use)
      const latest = writing.reduce((hour, count) => Math.max(hour, count.hour), 0)
      if (latest > prunedAt) await prune(db, latest)
      prunedAt = latest
    } catch {
      log('warn', 'usage_lost', { counts: writing.length })
    }
  }

  const isDue = (now: number) => oldest !== undefined && now - oldest >= DUE_MS

  return { record, flush, isDue }
}

async function writeCounts(db: Database, counts: readonly Count[]): Promise<void> {
  const list = counts
    .map(({ hour, ...count }) => ({ ...count, hour: new Date(hour * HOUR_MS).toISOString() }))
    .sort((a, b) => (a.keyId + a.hour + a.outcome < b.keyId + b.hour + b.outcome ? -1 : 1))
  await rows(
    db,
    sql`INSERT INTO key_usage AS usage (key_id, hour, outcome, requests, executions, execution_ms)
      SELECT "keyId", hour, outcome, requests, executions, "executionMs"
      FROM jsonb_to_recordset(${JSON.stringify(list)}::text::jsonb) AS counted
        ("keyId" text, hour timestamptz, outcome text, requests bigint, executions bigint, "executionMs" bigint)
      ON CONFLICT (key_id, hour, outcome) DO UPDATE SET requests = usage.requests + excluded.requests,
        executions = usage.executions + excluded.executions, execution_ms = usage.execution_ms + excluded.execution_ms`,
  )
}

async function writeSightings(db: Database, seen: readonly Seen[]): Promise<void> {
  const list = seen
    .map(({ first, last, ...one }) => ({
      ...one,
      first: new Date(first).toISOString(),
      last: new Date(last).toISOString(),
    }))
    .sort((a, b) => (a.keyId + a.kind + a.value < b.keyId + b.kind + b.value ? -1 : 1))
  await rows(
    db,
    sql`INSERT INTO key_sightings AS sighting (key_id, kind, value, requests, first_seen_at, last_seen_at)
      SELECT "keyId", kind, value, requests, first, last
      FROM jsonb_to_recordset(${JSON.stringify(list)}::text::jsonb) AS seen
        ("keyId" text, kind text, value text, requests bigint, first timestamptz, last timestamptz)
      ON CONFLICT (key_id, kind, value) DO UPDATE SET requests = sighting.requests + excluded.requests,
        last_seen_at = greatest(sighting.last_seen_at, excluded.last_seen_at)`,
  )
}

async function tellRefusal(db: Database, { keyId, at, outcome, ip }: Use): Promise<void> {
  const [key] = await rows<{ wallet: string }>(
    db,
    sql`SELECT wallet_address AS wallet FROM api_keys WHERE id = ${keyId}`,
  )
  if (key === undefined) return
  const walletAddress = key.wallet
  await db.transaction(async (tx) => {
    await lockWallet(tx, walletAddress)
    const details = { code: outcome, ip }
    await appendAudit(tx, { event: 'refused', walletAddress, keyId, actor: 'service', at, details })
  })
}

async function prune(db: Database, hour: number): Promise<void> {
  const oldest = new Date(hour * HOUR_MS - USAGE_DAYS * 24 * HOUR_MS).toISOString()
  await rows(db, sql`DELETE FROM key_usage WHERE hour < ${oldest}::timestamptz`)
  await rows(db, sql`DELETE FROM key_sightings WHERE last_seen_at < ${oldest}::timestamptz`)
}
