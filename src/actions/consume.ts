import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { isSuspendedSql, walletLockSql } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Action, SignedAction } from './action.ts'

export type ConsumeReason = 'messageReplayed' | 'walletSuspended'

/** What a wallet may still do while the operator has it suspended: take rights away. */
const PROTECTIVE_ACTIONS: readonly Action[] = [
  'suspend_api_key',
  'delete_api_key',
  'revoke_api_key',
  'revoke_all_api_keys',
  'cancel_order',
]

/**
 * Uses up a signed message in the transaction of the change that it requests, and resolves to its row's id. It also locks
 * the wallet until that transaction ends: changes of one wallet are serialized, so what the next statement counts cannot
 * be raced. A suspended wallet's message is not used up.
 */
export async function consumeMessage(
  tx: Database,
  action: SignedAction<unknown>,
  now: number,
): Promise<Result<number, ConsumeReason>> {
  const { walletAddress } = action
  const isAllowed = PROTECTIVE_ACTIONS.includes(action.action)
    ? sql`true`
    : sql`NOT ${isSuspendedSql(walletAddress)}`
  const [outcome] = await rows<{ id: string | null; allowed: boolean }>(
    tx,
    sql`WITH wallet AS (
        ${walletLockSql(walletAddress)}
      ), used AS (
        INSERT INTO signed_actions
          (wallet_address, shard, action, message, message_hash, signature, public_key, accepted_at)
        SELECT ${walletAddress}, ${shardSql(walletAddress)}, ${action.action}, ${action.message}, ${action.messageHash}::bytea,
          ${action.signature}, ${action.publicKey}, ${timestamptz(now)}
        FROM wallet WHERE ${isAllowed} AND NOT (${mayBeArchivedSql(action.lastFresh)})
        ON CONFLICT ON CONSTRAINT signed_actions_once DO NOTHING
        RETURNING id::text
      )
      SELECT (SELECT id FROM used) AS id, ${isAllowed} AS allowed`,
  )
  if (outcome?.id != null) return ok(Number(outcome.id))
  return refuse(outcome?.allowed === false ? 'walletSuspended' : 'messageReplayed')
}

/**
 * Whether the row of a message may have left with an archive. It left only when no clock could make the message fresh; should a clock
 * be set back that far, the message counts as used.
 */
function mayBeArchivedSql(lastFresh: number): SQL {
  return sql`((SELECT max(before) FROM archives) > ${timestamptz(lastFresh)}) IS TRUE`
}

/** Whether a message was used before: tells a replay from a change that came too late. Guards nothing. */
export async function isMessageConsumed(
  db: Database,
  action: SignedAction<unknown>,
): Promise<boolean> {
  const spent = await rows(
    db,
    sql`SELECT FROM signed_actions
      WHERE wallet_address = ${action.walletAddress} AND shard = ${shardSql(action.walletAddress)}
        AND message_hash = ${action.messageHash}::bytea`,
  )
  return spent.length > 0
}
