import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { isRecordedSql } from '../db/schema.ts'
import { milliseconds } from '../db/time.ts'
import type { AuditEvent, UnrecordedAction } from './event.ts'

type Nullable<T> = { [Name in keyof Required<T>]: T[Name] | null }

/** Events of a wallet's audit with a sequence above `after`, oldest first, at most `limit`. */
export async function listAudit(
  db: Database,
  walletAddress: string,
  { after, limit }: { after: number; limit: number },
): Promise<AuditEvent[]> {
  const found = await rows<Nullable<AuditEvent>>(
    db,
    sql`SELECT sequence::int AS sequence, body, encode(hash, 'hex') AS hash, message, signature,
        public_key AS "publicKey"
      FROM audit_events LEFT JOIN signed_actions ON signed_actions.id = action_id
      WHERE audit_events.wallet_address = ${walletAddress} AND sequence > ${after}::bigint
      ORDER BY sequence LIMIT ${limit}::int`,
  )
  return found.map(withoutNulls)
}

/** An event without a signed message has no member for one. */
function withoutNulls(event: Nullable<AuditEvent>): AuditEvent {
  const present = Object.entries(event).filter(([, value]) => value !== null)
  return Object.fromEntries(present) as unknown as AuditEvent
}

/**
 * Signed actions of a wallet that its audit should record and does not, in the order of their ids, which are above `after`. In an
 * intact database there are none, but for those of a release without an audit.
 */
export async function listUnrecorded(
  db: Database,
  walletAddress: string,
  { after = '0', limit }: { after?: string; limit: number },
): Promise<(UnrecordedAction & { id: string })[]> {
  return rows(
    db,
    sql`SELECT id::text AS id, message, signature, ${milliseconds(sql`accepted_at`)} AS "acceptedAt"
      FROM signed_actions WHERE wallet_address = ${walletAddress} AND id > ${after}::bigint
        AND ${isRecordedSql}
        AND NOT EXISTS (SELECT FROM audit_events AS event
          WHERE event.action_id = signed_actions.id AND event.wallet_address = ${walletAddress})
      ORDER BY id LIMIT ${limit}::int`,
  )
}
