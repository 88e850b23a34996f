import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import { timestamptz } from '../db/time.ts'
import { countSuccess } from '../gate/admit.ts'
import type { ChainStatus } from './chain.ts'
import type { SignedTransaction } from './transaction.ts'

/*
 * The state changes of signed transactions, one guarded statement each. All of them may run concurrently in several
 * processes, and twice: a statement changes nothing once the status does not allow it. Lock order: operator, transaction,
 * order, key.
 */

const time = timestamptz
const lock = (operator: string) =>
  sql`payer AS (SELECT address FROM operators WHERE address = ${operator} FOR UPDATE)`

/**
 * A node has the transaction: the order becomes broadcasted and the requesting key's success is counted. A superseded
 * transaction stays superseded; the success is counted nevertheless.
 */
export async function recordAccepted(
  db: Database,
  txid: string,
  now: number,
  checkAt: number,
): Promise<void> {
  await rows(
    db,
    sql`WITH accepted AS (
        UPDATE transactions SET status = CASE WHEN status = 'signed' THEN 'accepted' ELSE status END,
          answered_at = ${time(now)}, reason = CASE WHEN kind = 'filler' THEN reason END,
          check_at = ${time(checkAt)}, looks = 0, misses = 0
        WHERE txid = ${txid} AND status IN ('signed', 'outbid')
        RETURNING order_uuid, requested_by, kind, status
      ), sent AS (
        UPDATE orders SET status = 'broadcasted', txid = ${txid}, executed_at = ${time(now)} FROM accepted
        WHERE uuid = order_uuid AND kind = 'swap' AND orders.status = 'executing'
        RETURNING uuid, orders.status, requested_by
      ), superseding AS (
        UPDATE orders SET txid = ${txid} FROM accepted
        WHERE uuid = order_uuid AND kind = 'swap' AND accepted.status = 'accepted' AND orders.status = 'broadcasted'
      ), counted AS (
        ${countSuccess(sql`(SELECT requested_by FROM sent)`, sql`sent`, 'execution_count')}
      ), event AS (${insertOrderEvent(sql`sent`, now, sql`jsonb_build_object('txid', ${txid}::text)`)})
      SELECT uuid FROM sent`,
  )
}

/**
 * The node rejected the transaction, and no other process has ever sent it: the order fails, or reopens when the order is
 * not at fault. The nonce is returned if none after it was signed; otherwise the reconciler fills it. Returns false when
 * the reconciler has leased the transaction meanwhile: then a node may have accepted it.
 */
export async function recordRefused(
  db: Database,
  { txid, operator, reason }: { txid: string; operator: string; reason: string },
  next: 'failed' | 'open',
  now: number,
): Promise<boolean> {
  const change =
    next === 'failed'
      ? sql`status = 'failed', failed_at = ${time(now)}, failure_reason = ${reason}`
      : sql`status = 'open', txid = NULL`
  const details = sql`jsonb_build_object('txid', ${txid}::text, 'reason', ${reason}::text)`
  const ended = await rows(
    db,
    sql`WITH ${lock(operator)}, refused AS (
        UPDATE transactions SET status = 'refused', reason = ${reason}, answered_at = ${time(now)}, check_at = NULL
        FROM payer WHERE txid = ${txid} AND status = 'signed' AND looks = 0
        RETURNING order_uuid, operator, nonce
      ), ended AS (
        UPDATE orders SET ${change} FROM refused
        WHERE uuid = order_uuid AND orders.status = 'executing' RETURNING uuid, orders.status
      ), returned AS (
        UPDATE operators SET next_nonce = refused.nonce FROM refused
        WHERE address = operator AND next_nonce = refused.nonce + 1
      ), event AS (${insertOrderEvent(sql`ended`, now, details)})
      SELECT uuid FROM ended`,
  )
  return ended.length === 1
}

/**
 * Reschedules a check that changed nothing. `isMissing` counts, or resets, the checks in a row that did not find it. A swap
 * keeps the node's last reason; a filler keeps the reason why it was sent.
 */
export async function recordAttempt(
  db: Database,
  txid: string,
  checkAt: number,
  { reason, isMissing }: { reason?: string | undefined; isMissing?: boolean | undefined } = {},
): Promise<void> {
  const notFound = isMissing === undefined ? sql`misses` : isMissing ? sql`misses + 1` : sql`0`
  const why = sql`CASE WHEN kind = 'swap' AND status = 'signed' THEN ${reason ?? null} ELSE reason END`
  await rows(
    db,
    sql`UPDATE transactions SET check_at = ${time(checkAt)}, misses = ${notFound},
        reason = ${reason === undefined ? sql`reason` : why}
      WHERE txid = ${txid} AND check_at IS NOT NULL`,
  )
}

export type Mined = Extract<ChainStatus, { kind: 'mined' }>

/**
 * The transaction is in a block. Once the block is deep enough the order ends, other transactions for the nonce are
 * replaced, and a filler that replaced an order's swap ends the order as failed, with the filler's reason.
 */
export async function recordMined(
  db: Database,
  { txid, operator }: { txid: string; operator: string },
  { outcome, height, amountOut }: Mined,
  { isDeep, checkAt }: { isDeep: boolean; checkAt: number | undefined },
  now: number,
): Promise<void> {
  const success = outcome === 'success' ? sql`kind = 'swap'` : sql`false`
  const failure: SQL =
    outcome === 'success' ? sql`ending.reason` : sql`coalesce(ending.reason, ${outcome})`
  const details = sql`jsonb_strip_nulls(jsonb_build_object('txid', txid, 'blockHeight', block_height,
    'amountOut', amount_out::text, 'reason', failure_reason))`
  await rows(
    db,
    sql`WITH ${lock(operator)}, mined AS (
        UPDATE transactions SET status = 'mined', outcome = ${outcome}, block_height = ${height}::bigint, misses = 0,
          looks = CASE WHEN status = 'mined' THEN looks ELSE 0 END, mined_at = coalesce(mined_at, ${time(now)}),
          check_at = ${checkAt === undefined ? sql`NULL` : time(checkAt)}
        FROM payer WHERE txid = ${txid} AND status <> 'refused'
        RETURNING order_uuid, operator, nonce, kind, CASE WHEN kind = 'filler' THEN reason END AS reason
      ), spent AS (
        UPDATE operators SET chain_nonce = mined.nonce + 1, chain_nonce_at = ${time(now)} FROM mined
        WHERE address = operator AND chain_nonce <= mined.nonce
      ), others AS (
        UPDATE transactions SET status = 'replaced', check_at = NULL FROM mined
        WHERE ${isDeep}::boolean AND transactions.operator = mined.operator AND transactions.nonce = mined.nonce
          AND txid <> ${txid} AND status IN ('signed', 'accepted', 'outbid')
      ), ending AS (
        SELECT order_uuid, ${success} AS succeeded, kind, reason FROM mined
      ), ended AS (
        UPDATE orders SET
          status = CASE WHEN succeeded THEN 'confirmed' ELSE 'failed' END,
          txid = CASE WHEN kind = 'swap' THEN ${txid} ELSE txid END,
          block_height = CASE WHEN kind = 'swap' THEN ${height}::bigint END,
          confirmed_at = CASE WHEN succeeded THEN ${time(now)} END,
          amount_out = CASE WHEN succeeded THEN ${amountOut ?? null}::numeric END,
          failed_at = CASE WHEN succeeded THEN NULL ELSE ${time(now)} END,
          failure_reason = CASE WHEN succeeded THEN NULL ELSE ${failure} END
        FROM ending
        WHERE ${isDeep}::boolean AND uuid = order_uuid AND orders.status <> 'confirmed'
          AND (succeeded OR orders.status IN ('executing', 'broadcasted'))
        RETURNING uuid, orders.status, txid, block_height, amount_out, failure_reason
      ), shown AS (
        UPDATE orders SET txid = ${txid}, block_height = ${height}::bigint FROM ending
        WHERE NOT ${isDeep}::boolean AND kind = 'swap' AND uuid = order_uuid AND orders.status = 'broadcasted'
      ), event AS (${insertOrderEvent(sql`ended`, now, details)})
      SELECT uuid FROM ended`,
  )
}

/** The block was reorganised away: the transaction, and others for its nonce, may be mined again. */
export async function recordReorganised(
  db: Database,
  { txid, operator }: { txid: string; operator: string },
  now: number,
  checkAt: number,
): Promise<void> {
  const details = sql`jsonb_build_object('txid', ${txid}::text, 'reason', 'reorganised')`
  await rows(
    db,
    sql`WITH ${lock(operator)}, back AS (
        UPDATE transactions SET status = 'accepted', outcome = NULL, block_height = NULL, mined_at = NULL,
          check_at = ${time(checkAt)}, looks = 0, misses = 0
        FROM payer WHERE txid = ${txid} AND status = 'mined'
        RETURNING order_uuid, operator, nonce
      ), unspent AS (
        UPDATE operators SET chain_nonce = back.nonce, chain_nonce_at = ${time(now)} FROM back
        WHERE address = operator AND chain_nonce > back.nonce
      ), others AS (
        UPDATE transactions SET status = 'outbid', check_at = ${time(checkAt)}, looks = 0, misses = 0 FROM back
        WHERE transactions.operator = back.operator AND transactions.nonce = back.nonce
          AND txid <> ${txid} AND status = 'replaced'
      ), undone AS (
        UPDATE orders SET status = 'broadcasted', block_height = NULL, confirmed_at = NULL, amount_out = NULL,
          failed_at = NULL, failure_reason = NULL
        FROM back WHERE uuid = order_uuid AND orders.status IN ('confirmed', 'failed')
        RETURNING uuid, orders.status
      ), hidden AS (
        UPDATE orders SET block_height = NULL FROM back WHERE uuid = order_uuid AND orders.status = 'broadcasted'
      ), event AS (${insertOrderEvent(sql`undone`, now, details)})
      SELECT uuid FROM undone`,
  )
}

/** A signed transaction and its encrypted bytes. */
export interface EncryptedTransaction {
  transaction: SignedTransaction
  rawBox: Uint8Array
}

/**
 * Stores a replacement for a pending transaction: for the same nonce, with a higher fee, either the same swap or a filler
 * that keeps the swap off the chain. From now on only the replacement is sent; either may be mined.
 */
export async function recordReplacement(
  db: Database,
  { txid, operator }: { txid: string; operator: string },
  { transaction, rawBox }: EncryptedTransaction,
  { kind, reason }: { kind: 'swap' | 'filler'; reason: string | null },
  now: number,
): Promise<void> {
  await rows(
    db,
    sql`WITH ${lock(operator)}, outbid AS (
        UPDATE transactions SET status = 'outbid', reason = coalesce(${reason}::text, reason)
        FROM payer WHERE txid = ${txid} AND status IN ('signed', 'accepted')
        RETURNING order_uuid, operator, nonce, requested_by, kind, reason
      )
      INSERT INTO transactions
        (txid, order_uuid, kind, operator, nonce, fee_in_micro_stx, raw_box, requested_by, reason, created_at, check_at)
      SELECT ${transaction.txid}, order_uuid, ${kind}, operator, nonce, ${transaction.feeInMicroStx}::bigint,
        ${rawBox}::bytea, requested_by, CASE WHEN ${kind} = 'filler' THEN reason END, ${time(now)}, ${time(now)}
      FROM outbid
      ON CONFLICT (txid) DO NOTHING`,
  )
}

/**
 * Stores a filler for a nonce that no transaction will use. Two processes that do so at once store the same bytes. Since
 * the caller read the gaps, the nonce may have been returned and claimed by an order, which must not share it: the
 * operator's row is locked first, and the statement after it sees what was committed before.
 */
export async function recordFiller(
  db: Database,
  operator: string,
  { transaction, rawBox }: EncryptedTransaction,
  now: number,
): Promise<void> {
  const { txid, nonce, feeInMicroStx } = transaction
  await db.transaction(async (tx) => {
    await rows(tx, sql`SELECT FROM operators WHERE address = ${operator} FOR UPDATE`)
    await rows(
      tx,
      sql`INSERT INTO transactions (txid, kind, operator, nonce, fee_in_micro_stx, raw_box, created_at, check_at)
        SELECT ${txid}, 'filler', address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea,
          ${time(now)}, ${time(now)}
        FROM operators WHERE address = ${operator} AND next_nonce > ${nonce}::bigint AND NOT EXISTS (
          SELECT FROM transactions WHERE operator = address AND nonce = ${nonce}::bigint AND status <> 'refused')
        ON CONFLICT (txid) DO NOTHING`,
    )
  })
}

/**
 * Another program used the nonce with the operator's key: no transaction that was signed for it here can be mined, and its
 * order reopens. The caller has looked up every transaction that was signed for the nonce.
 */
export async function recordNonceLost(
  db: Database,
  { operator, nonce }: { operator: string; nonce: number },
  now: number,
): Promise<void> {
  await rows(
    db,
    sql`WITH ${lock(operator)}, lost AS (
        UPDATE transactions SET status = 'replaced', reason = 'nonce_lost', check_at = NULL
        FROM payer WHERE operator = payer.address AND nonce = ${nonce}::bigint AND status IN ('signed', 'accepted', 'outbid')
        RETURNING order_uuid
      ), reopened AS (
        UPDATE orders SET status = 'open', txid = NULL, executed_at = NULL
        WHERE uuid IN (SELECT order_uuid FROM lost) AND status IN ('executing', 'broadcasted')
        RETURNING uuid, status
      ), event AS (${insertOrderEvent(sql`reopened`, now, sql`jsonb_build_object('reason', 'nonce_lost')`)})
      SELECT uuid FROM reopened`,
  )
}
