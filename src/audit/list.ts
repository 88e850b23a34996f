import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { AuditEvent } from '../provenance/replay.ts'

/** A stretch of a wallet's audit, oldest first. */
export async function listAudit(
  db: Database,
  walletAddress: string,
  { after, limit }: { after: number; limit: number },
): Promise<AuditEvent[]> {
  const found = await rows<Required<{ [Name in keyof AuditEvent]: AuditEvent[Name] | null }>>(
    db,
    sql`SELECT sequence::int AS sequence, body, encode(hash, 'hex') AS hash, message, signature,
        public_key AS "publicKey"
      FROM audit_events LEFT JOIN signed_actions ON signed_actions.id = action_id
      WHERE audit_events.wallet_address = ${walletAddress} AND sequence > ${after}::bigint
      ORDER BY sequence LIMIT ${limit}::int`,
  )
  return found.map(
    (event) =>
      Object.fromEntries(
        Object.entries(event).filter(([, value]) => value !== null),
      ) as unknown as AuditEvent,
  )
}
