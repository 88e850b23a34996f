import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { isRecordedSql } from '../db/schema.ts'
import { shardSql } from '../db/shard.ts'
import { milliseconds } from '../db/time.ts'
import type { AuditEvent, UnrecordedAction } from './event.ts'

type Nullable<T> = { [Name in keyof Required<T>]: T[Name] | null }

/** The texts of a page, in bytes: messages and bodies differ in length by a factor of a hundred. */
const MAX_PAGE_BYTES = 1_048_576

/**
 * Resolves to events of a wallet's audit with a sequence above `after`, oldest first: at most `limit`, and no more than one beyond
 * 1 MiB of text. `isLast` is whether there are none behind them.
 */
export async function listAudit(
  db: Database,
  walletAddress: string,
  { after, limit }: { after: number; limit: number },
): Promise<{ events: AuditEvent[]; isLast: boolean }> {
  const shard = shardSql(walletAddress)
  const found = await rows<Nullable<AuditEvent> & { isLast: boolean }>(
    db,
    sql`SELECT sequence::int AS sequence, body, encode(hash, 'hex') AS hash, message, signature, "publicKey", "isLast"
      FROM (
        SELECT *, lead(sequence) OVER along IS NULL AS "isLast",
          sum(bytes) OVER along - bytes AS "bytesAhead"
        FROM (
          SELECT sequence, body, hash, message, signature, public_key AS "publicKey",
            octet_length(body) + coalesce(octet_length(message), 0) AS bytes
          FROM audit_events LEFT JOIN signed_actions ON signed_actions.id = action_id AND signed_actions.shard = ${shard}
          WHERE audit_events.wallet_address = ${walletAddress} AND audit_events.shard = ${shard} AND sequence > ${after}::bigint
          ORDER BY sequence LIMIT ${limit + 1}::int
        ) AS found WINDOW along AS (ORDER BY sequence)
      ) AS page WHERE "bytesAhead" < ${MAX_PAGE_BYTES}::int ORDER BY sequence LIMIT ${limit}::int`,
  )
  const events = found.map(({ isLast: _, ...event }) => withoutNulls(event))
  return { events, isLast: found.at(-1)?.isLast ?? true }
}

/** Whether a wallet's audit has an event. */
export async function hasEvent(
  db: Database,
  walletAddress: string,
  sequence: number,
): Promise<boolean> {
  const found = await rows(
    db,
    sql`SELECT FROM audit_events WHERE wallet_address = ${walletAddress} AND sequence = ${sequence}::bigint`,
  )
  return found.length > 0
}

/** An event without a signed message has no member for one. */
function withoutNulls(event: Nullable<AuditEvent>): AuditEvent {
  const present = Object.entries(event).filter(([, value]) => value !== null)
  return Object.fromEntries(present) as unknown as AuditEvent
}

/** Signed actions that are looked at for one page. */
const SCANNED_PER_PAGE = 5_000
/** Unrecorded ones among them that are returned. */
const UNRECORDED_PER_PAGE = 100

/**
 * Looks for signed actions of a wallet that its audit should record and does not, in the order of their ids, which are above `after`.
 * In an intact database there are none, but for those of a release without an audit. Each page looks at a bounded number of actions;
 * `next` is where the next page begins.
 */
export async function listUnrecorded(
  db: Database,
  walletAddress: string,
  after = '0',
): Promise<{ found: UnrecordedAction[]; next?: string }> {
  const shard = shardSql(walletAddress)
  const [page] = await rows<{
    found: (UnrecordedAction & { id: string })[] | null
    scanned: number
    last: string
  }>(
    db,
    sql`WITH scanned AS MATERIALIZED (
        SELECT id FROM signed_actions WHERE wallet_address = ${walletAddress} AND shard = ${shard} AND id > ${after}::bigint
          AND ${isRecordedSql} ORDER BY id LIMIT ${SCANNED_PER_PAGE}::int
      ), unrecorded AS MATERIALIZED (
        -- A scalar subquery has an index scan for each action. NOT EXISTS may become a join that reads every event of the wallet.
        SELECT id FROM scanned WHERE (SELECT event.sequence FROM audit_events AS event
          WHERE event.action_id = scanned.id AND event.wallet_address = ${walletAddress}
            AND event.shard = ${shard} LIMIT 1) IS NULL
        ORDER BY id LIMIT ${UNRECORDED_PER_PAGE}::int
      )
      SELECT (SELECT count(*)::int FROM scanned) AS scanned, (SELECT max(id)::text FROM scanned) AS last, (
        SELECT json_agg(json_build_object('id', id::text, 'message', message, 'signature', signature,
          'acceptedAt', ${milliseconds(sql`accepted_at`)}) ORDER BY id)
        FROM signed_actions WHERE shard = ${shard} AND id IN (SELECT id FROM unrecorded)
      ) AS found`,
  )
  const { found, scanned = 0, last } = page ?? {}
  const isCut = found?.length === UNRECORDED_PER_PAGE
  const next = isCut ? found.at(-1)?.id : scanned === SCANNED_PER_PAGE ? last : undefined
  return {
    found: (found ?? []).map(({ id: _, ...action }) => action),
    ...(next !== undefined && { next }),
  }
}
