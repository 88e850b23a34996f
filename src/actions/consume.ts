import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { walletLockSql } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { SignedAction } from './action.ts'

/**
 * Uses up a signed message, inside the transaction of the change that it asks for, and answers its row's id.
 * It also takes the wallet's lock until that transaction ends: changes of one wallet happen one after another, so what
 * the next statement counts cannot be raced.
 */
export async function consumeMessage(
  tx: Database,
  action: SignedAction<unknown>,
  now: number,
): Promise<Result<number, 'messageReplayed'>> {
  const [spent] = await rows<{ id: string }>(
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
  return spent === undefined ? refuse('messageReplayed') : ok(Number(spent.id))
}

/** Whether a message was used before: tells a replay from a change that came too late. Guards nothing. */
export async function isMessageConsumed(
  db: Database,
  action: SignedAction<unknown>,
): Promise<boolean> {
  const spent = await rows(
    db,
    sql`SELECT FROM signed_actions
      WHERE wallet_address = ${action.walletAddress} AND message_hash = ${action.messageHash}::bytea`,
  )
  return spent.length > 0
}
