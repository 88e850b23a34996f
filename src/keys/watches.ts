import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { STATEMENT_TIMEOUT_MS } from '../db/session.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import type { RuleTerms } from './terms.ts'

/*
 * When the rules of a key are looked at that time decides. The job of src/alerts/watch.ts takes what is due; a key without such a rule has
 * no row, so that no pass reads more than what owners asked for.
 */

/**
 * How long after its deadline a silence is acted on. The gate counts a request at the time at which its statement began, and the
 * statement may wait for rows until `statement_timeout`: by then every request that came before the deadline is counted, or was refused.
 */
export const SILENCE_MARGIN_MS = STATEMENT_TIMEOUT_MS + 1_000
/** How many days before its end a key's owner is told of it. */
export const EXPIRY_NOTICE_DAYS = [14, 3, 1] as const
const DAY_MS = 86_400_000

/** A key, as far as its watches depend on it. */
export interface WatchedTerms extends RuleTerms {
  id: string
  walletAddress: string
  expiresAt: number | null
}

/**
 * Watches the silence of a key from a time on, in the transaction that sets its heartbeat or resumes it: a silence counts from then at
 * the earliest. The caller holds the wallet's lock.
 */
export async function watchSilence(tx: Database, key: WatchedTerms, now: number): Promise<void> {
  const { heartbeat } = key
  if (heartbeat !== null)
    await setWatch(tx, key, 'heartbeat', now, now + heartbeat.seconds * 1000 + SILENCE_MARGIN_MS)
}

/** Watches the end of a key, in the transaction that sets it or the alert. The caller holds the wallet's lock. */
export async function watchEnd(tx: Database, key: WatchedTerms, now: number): Promise<void> {
  const { alerts, expiresAt } = key
  if (alerts?.expiring !== undefined && expiresAt !== null)
    await setWatch(tx, key, 'expiring', now, nextNotice(expiresAt, now) ?? expiresAt)
}

/** When the owner of a key is told next that it ends; undefined once no notice is left. */
export function nextNotice(expiresAt: number, now: number): number | undefined {
  return EXPIRY_NOTICE_DAYS.map((days) => expiresAt - days * DAY_MS).find((at) => at > now)
}

async function setWatch(
  tx: Database,
  { id, walletAddress }: WatchedTerms,
  rule: 'heartbeat' | 'expiring',
  armedAt: number,
  dueAt: number,
): Promise<void> {
  await rows(
    tx,
    sql`INSERT INTO key_watches (key_id, rule, wallet_address, shard, armed_at, due_at)
      VALUES (${id}, ${rule}, ${walletAddress}, ${shardSql(walletAddress)}, ${timestamptz(armedAt)}, ${timestamptz(dueAt)})
      ON CONFLICT ON CONSTRAINT key_watches_pk DO UPDATE SET armed_at = excluded.armed_at, due_at = excluded.due_at`,
  )
}

/**
 * The moment from which a silence counts, over rows `watch` and `counters`: the last request that the gate counted, or when the owner set
 * the rule or the key was resumed. Null for a key that was never used: it has nothing that a silence could endanger.
 */
export const SILENT_SINCE: SQL = sql`CASE WHEN counters.last_used_at IS NOT NULL THEN greatest(counters.last_used_at, watch.armed_at) END`

/** When a silence is acted on. */
export function actsAtSql(since: SQL, seconds: SQL): SQL {
  return sql`(${since} + ${seconds} * interval '1 second' + ${SILENCE_MARGIN_MS}::float8 * interval '1 millisecond')`
}
