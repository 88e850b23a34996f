import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import { timestamptz } from '../db/time.ts'
import { isExecutableSql } from '../orders/lifecycle.ts'
import { MAX_PENDING } from './operator.ts'
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
 * Claims an open order for execution, uses the operator's nonce and stores the signed bytes, or changes nothing.
 *
 * The operator's row is locked first, if its nonce is still the one that was signed and not too far ahead of the chain;
 * then the order's row, if it is still executable. Of concurrent executes and cancels one succeeds, and no nonce is skipped
 * or used twice. The same order with the same nonce is the same bytes: a refused transaction that is tried again keeps its
 * row. Until `leasedUntil` only the caller sends the bytes.
 */
export async function claimOrder(
  db: Database,
  claim: Claim,
  now: number,
  leasedUntil: number,
): Promise<boolean> {
  const { uuid, owner, operator, transaction, rawBox, requestedBy } = claim
  const { txid, nonce, feeInMicroStx } = transaction
  const at = timestamptz(now)
  const claimed = await rows(
    db,
    sql`WITH payer AS (
        SELECT address FROM operators
        WHERE address = ${operator} AND next_nonce = ${nonce}::bigint
          AND next_nonce < chain_nonce + ${MAX_PENDING}::bigint
        FOR UPDATE
      ), claimed AS (
        UPDATE orders SET status = 'executing', txid = ${txid} FROM payer
        WHERE uuid = ${uuid} AND owner = ${owner} AND ${isExecutableSql(at)}
        RETURNING uuid, status, payer.address
      ), used AS (
        UPDATE operators SET next_nonce = next_nonce + 1 FROM claimed WHERE operators.address = claimed.address
      ), event AS (
        ${insertOrderEvent(sql`claimed`, now, sql`jsonb_build_object('txid', ${txid}::text)`)}
      )
      INSERT INTO transactions
        (txid, order_uuid, operator, nonce, fee_in_micro_stx, raw_box, requested_by, created_at, check_at)
      SELECT ${txid}, uuid, address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea,
        ${requestedBy ?? null}::text, ${at}, ${timestamptz(leasedUntil)}
      FROM claimed
      ON CONFLICT (txid) DO UPDATE SET status = 'signed', reason = NULL, answered_at = NULL, misses = 0,
        looks = CASE WHEN transactions.status = 'refused' THEN 0 ELSE transactions.looks + 1 END,
        requested_by = excluded.requested_by, created_at = excluded.created_at, check_at = excluded.check_at
      RETURNING txid`,
  )
  return claimed.length === 1
}

/** Why a claim changed nothing: the order's status, and whether the operator's nonces are used up. */
export async function explainLostClaim(
  db: Database,
  uuid: string,
  operator: string,
): Promise<{ status: string | undefined; isFull: boolean }> {
  const [seen] = await rows<{ status: string | null; full: boolean | null }>(
    db,
    sql`SELECT (SELECT status FROM orders WHERE uuid = ${uuid}) AS status,
      (SELECT next_nonce >= chain_nonce + ${MAX_PENDING}::bigint FROM operators WHERE address = ${operator}) AS full`,
  )
  return { status: seen?.status ?? undefined, isFull: seen?.full === true }
}

/**
 * Whether a claim was committed although the connection was lost during its COMMIT. The same bytes may also be another
 * process's claim; like a lease of the reconciler this counts as a second sender, after which a rejection proves nothing.
 */
export async function claimWasCommitted(db: Database, txid: string): Promise<boolean> {
  const found = await rows(
    db,
    sql`UPDATE transactions SET looks = looks + 1 WHERE txid = ${txid} AND status <> 'refused' RETURNING txid`,
  )
  return found.length === 1
}
