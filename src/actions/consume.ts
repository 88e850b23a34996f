import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { walletLockSql } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { SignedAction } from './action.ts'

/**
 * Consumes a signed message in the transaction of the change that it asks for, and returns the id of its row: a message works
 * once, and only together with its change. The statement also takes the wallet's lock until that transaction ends, so that
 * changes of one wallet happen one after another, and what the next statement counts cannot change before the commit.
 */
export async function consumeMessage(
  tx: Database,
  action: SignedAction<unknown>,
  now: number,
): Promise<Result<number, 'messageReplayed'>> {
  const [consumed] = await rows<{ id: string }>(
    tx,
    sql`WITH wallet AS (
        ${walletLockSql(action.walletAddress)}
      )
      INSERT INTO signed_actions
        (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
      SELECT ${action.walletAddress}, ${action.action}, ${action.message}, ${action.messageHash}::bytea,
        ${action.signature}, ${action.publicKey}, ${timestamptz(now)}
      FROM wallet
      ON CONFLICT ON CONSTRAINT signed_actions_once DO NOTHING
      RETURNING id::text`,
  )
  return consumed === undefined ? refuse('messageReplayed') : ok(Number(consumed.id))
}

/** Whether a message was consumed: distinguishes a replay from a change that came too late. It guards nothing. */
export async function isMessageConsumed(
  db: Database,
  action: SignedAction<unknown>,
): Promise<boolean> {
  const found = await rows(
    db,
    sql`SELECT FROM signed_actions
      WHERE wallet_address = ${action.walletAddress} AND message_hash = ${action.messageHash}::bytea`,
  )
  return found.length > 0
}
