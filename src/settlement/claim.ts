import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { countSuccess } from '../gate/spend.ts'
import type { SignedTransaction } from './transaction.ts'

export interface Claim {
  uuid: string
  owner: string
  operator: string
  transaction: SignedTransaction
  /** The transaction's bytes, encrypted. */
  rawBox: Uint8Array
  requestedBy: string | undefined
}

/**
 * Takes an open order for execution, uses the operator's nonce and stores the signed bytes, or does nothing at all.
 *
 * The operator's row is locked first, and only if its nonce is still the one that was signed for; then the order, only
 * if it is still open. So of any number of executes and cancels one wins, and no nonce is left out or used twice.
 * The same order for the same nonce is the same bytes: a transaction that was refused and is tried again has its row.
 */
export async function claimOrder(db: Database, claim: Claim, now: number): Promise<boolean> {
  const { uuid, owner, operator, transaction, rawBox, requestedBy } = claim
  const { txid, nonce, feeInMicroStx } = transaction
  const at = sql`${new Date(now).toISOString()}::timestamptz`
  const claimed = await rows(
    db,
    sql`WITH payer AS (
        SELECT address FROM operators WHERE address = ${operator} AND next_nonce = ${nonce}::bigint FOR UPDATE
      ), claimed AS (
        UPDATE orders SET status = 'executing', txid = ${txid} FROM payer
        WHERE uuid = ${uuid} AND owner = ${owner} AND status = 'open'
          AND (valid_to IS NULL OR valid_to > ${at}) AND (valid_from IS NULL OR valid_from <= ${at})
        RETURNING uuid, payer.address
      ), used AS (
        UPDATE operators SET next_nonce = next_nonce + 1 FROM claimed WHERE operators.address = claimed.address
      )
      INSERT INTO transactions
        (txid, order_uuid, operator, nonce, fee_in_micro_stx, raw_box, requested_by, created_at)
      SELECT ${txid}, uuid, address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea,
        ${requestedBy ?? null}::text, ${at}
      FROM claimed
      ON CONFLICT (txid) DO UPDATE SET status = 'signed', reason = NULL, answered_at = NULL,
        requested_by = excluded.requested_by, created_at = excluded.created_at
        WHERE transactions.status = 'refused'
      RETURNING txid`,
  )
  return claimed.length === 1
}

/** A node has the transaction: the order is on its way, and whoever asked for it succeeded. */
export async function recordAccepted(db: Database, claim: Claim, now: number): Promise<void> {
  const at = sql`${new Date(now).toISOString()}::timestamptz`
  const counted =
    claim.requestedBy === undefined
      ? sql``
      : sql`, counted AS (${countSuccess(claim.requestedBy, sql`sent`, 'execution_count')})`
  await rows(
    db,
    sql`WITH accepted AS (
        UPDATE transactions SET status = 'accepted', answered_at = ${at}
        WHERE txid = ${claim.transaction.txid} AND status = 'signed' RETURNING order_uuid
      ), sent AS (
        UPDATE orders SET status = 'broadcasted', executed_at = ${at} FROM accepted
        WHERE uuid = order_uuid AND orders.status = 'executing' RETURNING uuid
      )${counted} SELECT uuid FROM sent`,
  )
}

/**
 * The node refused the transaction and never had it: the order fails, or opens again when the fault was the operator's.
 * The nonce goes back if nothing was signed after it. A later one needs it filled, which is left to the reconciler.
 */
export async function recordRefused(
  db: Database,
  claim: Claim,
  reason: string,
  next: 'failed' | 'open',
  now: number,
): Promise<void> {
  const at = sql`${new Date(now).toISOString()}::timestamptz`
  const change =
    next === 'failed'
      ? sql`status = 'failed', failed_at = ${at}, failure_reason = ${reason}`
      : sql`status = 'open', txid = NULL`
  await rows(
    db,
    sql`WITH refused AS (
        UPDATE transactions SET status = 'refused', reason = ${reason}, answered_at = ${at}
        WHERE txid = ${claim.transaction.txid} AND status = 'signed' RETURNING order_uuid, operator, nonce
      ), ended AS (
        UPDATE orders SET ${change} FROM refused
        WHERE uuid = order_uuid AND orders.status = 'executing'
      )
      UPDATE operators SET next_nonce = refused.nonce FROM refused
      WHERE address = operator AND next_nonce = refused.nonce + 1 RETURNING address`,
  )
}
