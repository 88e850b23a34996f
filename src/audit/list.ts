import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { AuditEvent } from './event.ts'

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
