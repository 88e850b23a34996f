import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { type ConsumeReason, consumeMessage } from '../actions/consume.ts'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import type { Log } from '../log.ts'
import { type Result, refuse } from '../result.ts'
import { archivedHash } from './archived.ts'
import type { AuditHead, HeadMember } from './event.ts'

/** The event of a log line that holds a head, as `logHeads` writes it; `audit check --heads` reads these lines. */
export const HEAD_EVENT = 'audit_head'

/**
 * Writes a wallet's new head to a place outside the database, after the commit. It never rejects: the change is made, and a
 * later head covers the one that is missing.
 */
export type KeepHead = (walletAddress: string, head: AuditHead) => Promise<void>

/** Keeps heads in the log. */
export function logHeads(log: Log): KeepHead {
  return async (walletAddress, { sequence, hash }) =>
    log('info', 'audit_head', { walletAddress, sequence, hash })
}

/**
 * Consumes the message of a change that the audit records, as `consumeMessage` does. A message that names an event which is
 * not in the wallet's chain is refused: the chain was cut or rewritten after the signer had seen that event.
 */
export async function consumeChange(
  tx: Database,
  action: SignedAction<HeadMember>,
  now: number,
): Promise<Result<number, ConsumeReason | 'auditHeadUnknown'>> {
  const consumed = await consumeMessage(tx, action, now)
  const { auditHead } = action.members
  if (!consumed.ok || auditHead === undefined) return consumed
  const [event] = await rows<{ hash: string }>(
    tx,
    sql`SELECT encode(hash, 'hex') AS hash FROM audit_events
      WHERE wallet_address = ${action.walletAddress} AND shard = ${shardSql(action.walletAddress)}
        AND sequence = ${auditHead.sequence}::bigint`,
  )
  const hash = event?.hash ?? (await archivedHash(tx, action.walletAddress, auditHead.sequence))
  if (hash === auditHead.hash) return consumed
  const reason = hash === undefined ? 'missing' : 'replaced'
  return refuse('auditHeadUnknown', { reason, auditHead })
}
