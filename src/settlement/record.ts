import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import type { TransactionKind } from '../db/schema.ts'
import { shardSql } from '../db/shard.ts'
import { later, milliseconds } from '../db/time.ts'
import { countSuccess } from '../gate/counters.ts'
import { announceOrders } from '../notices/announce.ts'
import { stateMacs } from '../orders/integrity.ts'
import { hasEndedSql } from '../orders/lifecycle.ts'
import type { OrderStatus } from '../orders/order.ts'
import type { ChainStatus } from './chain.ts'
import type { SettlementServices } from './services.ts'
import type { SignedTransaction } from './transaction.ts'

/*
 * The state changes of signed transactions, one guarded statement each. All of them may run concurrently in several
 * processes, and twice: a statement changes nothing once the status does not allow it. Lock order: wallet, operator,
 * transaction, order, key. Every time is Postgres' own.
 */

type RecordServices = Pick<SettlementServices, 'db' | 'databaseTime' | 'mac'>

/** The identity of a stored transaction. */
export interface StoredTransaction {
  txid: string
  operator: string
  /** Undefined for a filler of a nonce. */
  orderUuid: string | undefined
  /** Of the order's owner, and so of every transaction for its nonce; of a filler, of the operator's address. */
  shard: number
}

const lockOperator = (operator: string) =>
  sql`payer AS (SELECT address FROM operators WHERE address = ${operator} FOR UPDATE)`

/** The assignments that give an order its next status, with the MAC of that status. */
function nextState(
  { mac }: RecordServices,
  uuid: string | undefined,
  statuses: readonly OrderStatus[],
  status: SQL,
): SQL {
  const macs = stateMacs(mac, uuid ?? '', statuses)
  return sql`status = ${status}, state_mac = decode(${macs}::jsonb ->> (${status}), 'hex')`
}

/**
 * A node has the transaction: the order becomes broadcasted and the requesting key's success is counted. A superseded
 * transaction stays superseded; the success is counted nevertheless. Resolves to the time of the broadcast in milliseconds
 * since 1970; undefined when the order was broadcasted before.
 */
export async function recordAccepted(
  services: RecordServices,
  { txid, orderUuid, shard }: Pick<StoredTransaction, 'txid' | 'orderUuid' | 'shard'>,
  checkInMs: number,
): Promise<number | undefined> {
  const at = services.databaseTime()
  const own = sql`${shard}::int`
  const [sent] = await rows<{ executedAt: number }>(
    services.db,
    sql`WITH accepted AS (
        UPDATE transactions SET status = CASE WHEN status = 'signed' THEN 'accepted' ELSE status END,
          answered_at = ${at}, reason = CASE WHEN kind <> 'swap' THEN reason END,
          check_at = ${later(at, checkInMs)}, looks = 0, misses = 0
        WHERE txid = ${txid} AND transactions.shard = ${own} AND status IN ('signed', 'outbid')
        RETURNING order_uuid, requested_by, kind, status
      ), sent AS (
        UPDATE orders SET ${nextState(services, orderUuid, ['broadcasted'], sql`'broadcasted'`)}, txid = ${txid},
          executed_at = ${at}
        FROM accepted WHERE uuid = order_uuid AND orders.shard = ${own} AND kind = 'swap' AND orders.status = 'executing'
        RETURNING uuid, orders.shard, orders.status, requested_by, orders.executed_at
      ), superseding AS (
        UPDATE orders SET txid = ${txid} FROM accepted
        WHERE uuid = order_uuid AND orders.shard = ${own} AND kind = 'swap' AND accepted.status = 'accepted' AND orders.status = 'broadcasted'
      ), counted AS (
        ${countSuccess(sql`(SELECT requested_by FROM sent)`, own, sql`sent`, 'execution_count')}
      ), event AS (${insertOrderEvent(sql`sent`, at, sql`jsonb_build_object('txid', ${txid}::text)`)})
      SELECT ${milliseconds(sql`executed_at`)} AS "executedAt" FROM sent`,
  )
  return sent?.executedAt
}

/**
 * Reschedules a check that changed nothing. `isMissing` counts, or resets, the checks in a row that did not find it. A swap
 * keeps the node's last reason; a replacement keeps the reason why it was sent.
 */
export async function recordAttempt(
  { db, databaseTime }: RecordServices,
  { txid, shard }: Pick<StoredTransaction, 'txid' | 'shard'>,
  checkInMs: number,
  { reason, isMissing }: { reason?: string | undefined; isMissing?: boolean | undefined } = {},
): Promise<void> {
  const notFound = isMissing === undefined ? sql`misses` : isMissing ? sql`misses + 1` : sql`0`
  const why = sql`CASE WHEN kind = 'swap' AND status = 'signed' THEN ${reason ?? null} ELSE reason END`
  await rows(
    db,
    sql`UPDATE transactions SET check_at = ${later(databaseTime(), checkInMs)}, misses = ${notFound},
        reason = ${reason === undefined ? sql`reason` : why}
      WHERE txid = ${txid} AND shard = ${shard}::int AND check_at IS NOT NULL`,
  )
}

/** Reschedules the check of a swap that is in its block still, or makes it final where no further check is due. */
export async function recordConfirmation(
  { db, databaseTime }: RecordServices,
  { txid, shard }: Pick<StoredTransaction, 'txid' | 'shard'>,
  checkInMs: number | undefined,
): Promise<void> {
  const checkAt = checkInMs === undefined ? sql`NULL` : later(databaseTime(), checkInMs)
  await rows(
    db,
    sql`UPDATE transactions SET check_at = ${checkAt}, misses = 0 WHERE txid = ${txid} AND shard = ${shard}::int
        AND status = 'mined'`,
  )
}

export type Mined = Extract<ChainStatus, { kind: 'mined' }>

export interface MinedOptions {
  /** Whether the block has the configured confirmations. */
  isDeep: boolean
  /** When to check again; undefined when the transaction is final. */
  checkInMs: number | undefined
  /** Whether the chain has the uuid of the transaction's order as used, whatever used it. */
  isUuidUsed: boolean
}

/**
 * The transaction is in a block. Once the block is deep enough the order ends: a successful swap confirms it, even one that
 * was taken for failed; a swap that aborted, and whatever replaced a swap, fail it. Other transactions for the nonce are
 * replaced. `isExposed`: the order's intent is public and its uuid is not used, so its burn was requested. The order that ends
 * has the use of its uuid stored with it; a statement of its own stores that of another one.
 */
export async function recordMined(
  services: RecordServices,
  { txid, operator, orderUuid, shard }: StoredTransaction,
  { outcome, height, amountOut }: Mined,
  { isDeep, checkInMs, isUuidUsed }: MinedOptions,
): Promise<{ isExposed: boolean }> {
  const at = services.databaseTime()
  const own = sql`${shard}::int`
  const success = outcome === 'success' ? sql`kind = 'swap'` : sql`false`
  const failure: SQL =
    outcome === 'success' ? sql`ending.reason` : sql`coalesce(ending.reason, ${outcome})`
  const details = sql`jsonb_strip_nulls(jsonb_build_object('txid', txid, 'blockHeight', block_height,
    'amountOut', amount_out::text, 'reason', failure_reason))`
  const status = sql`CASE WHEN succeeded THEN 'confirmed' ELSE 'failed' END`
  const ended = await rows(
    services.db,
    sql`WITH ${lockOperator(operator)}, mined AS (
        UPDATE transactions SET status = 'mined', outcome = ${outcome}, block_height = ${height}::bigint, misses = 0,
          looks = CASE WHEN status = 'mined' THEN looks ELSE 0 END, mined_at = coalesce(mined_at, ${at}),
          check_at = ${checkInMs === undefined ? sql`NULL` : later(at, checkInMs)}
        FROM payer WHERE txid = ${txid} AND transactions.shard = ${own} AND status <> 'refused'
        RETURNING order_uuid, operator, nonce, kind, CASE WHEN kind <> 'swap' THEN reason END AS reason
      ), moved AS (
        UPDATE operators SET chain_nonce = mined.nonce + 1, chain_nonce_at = ${at} FROM mined
        WHERE address = operator AND chain_nonce <= mined.nonce
      ), others AS (
        UPDATE transactions SET status = 'replaced', check_at = NULL FROM mined
        WHERE ${isDeep}::boolean AND transactions.shard = ${own} AND transactions.operator = mined.operator AND transactions.nonce = mined.nonce
          AND txid <> ${txid} AND status IN ('signed', 'accepted', 'outbid')
      ), ending AS (
        SELECT order_uuid, ${success} AS succeeded, kind, reason FROM mined
      ), ended AS (
        UPDATE orders SET ${nextState(services, orderUuid, ['confirmed', 'failed'], status)},
          txid = CASE WHEN kind = 'swap' THEN ${txid} ELSE txid END,
          block_height = CASE WHEN kind = 'swap' THEN ${height}::bigint END,
          confirmed_at = CASE WHEN succeeded THEN ${at} END,
          amount_out = CASE WHEN succeeded THEN ${amountOut ?? null}::numeric END,
          failed_at = CASE WHEN succeeded THEN NULL ELSE ${at} END,
          failure_reason = CASE WHEN succeeded THEN NULL ELSE ${failure} END,
          uuid_used_at = coalesce(uuid_used_at, CASE WHEN ${isUuidUsed}::boolean THEN ${at} END)
        FROM ending
        WHERE ${isDeep}::boolean AND uuid = order_uuid AND orders.shard = ${own} AND orders.status <> 'confirmed'
          AND (succeeded OR orders.status IN ('executing', 'broadcasted'))
        RETURNING uuid, orders.shard, orders.status, txid, block_height, amount_out, failure_reason
      ), shown AS (
        UPDATE orders SET txid = ${txid}, block_height = ${height}::bigint FROM ending
        WHERE NOT ${isDeep}::boolean AND kind = 'swap' AND uuid = order_uuid AND orders.shard = ${own}
          AND orders.status = 'broadcasted'
      ), event AS (${insertOrderEvent(sql`ended`, at, details)})
      SELECT uuid FROM ended`,
  )
  const isUseStored = isUuidUsed && ended.length > 0
  if (!isDeep || orderUuid === undefined || isUseStored) return { isExposed: false }
  return { isExposed: await recordUuid(services, { uuid: orderUuid, shard }, isUuidUsed) }
}

/**
 * Records whether the chain has an order's uuid as used, and requests its burn where a disclosed, unsettled order has it
 * unused, which its owner is told. Resolves to whether this call requested it.
 */
export async function recordUuid(
  { db, databaseTime }: RecordServices,
  { uuid, shard }: { uuid: string; shard: number },
  isUsed: boolean,
): Promise<boolean> {
  const at = databaseTime()
  const requested = await rows(
    db,
    isUsed
      ? sql`UPDATE orders SET uuid_used_at = coalesce(uuid_used_at, ${at}) WHERE uuid = ${uuid} AND shard = ${shard}::int
          AND uuid_used_at IS NULL`
      : sql`WITH exposed AS (
          UPDATE orders SET burn_requested_at = ${at} WHERE uuid = ${uuid} AND shard = ${shard}::int AND burn_requested_at IS NULL
            AND disclosed_at IS NOT NULL AND uuid_used_at IS NULL AND status IN ('failed', 'cancelled', 'expired')
          RETURNING uuid, shard, owner, created_by
        ), told AS (${announceOrders(sql`exposed`, 'order.exposed', at)})
        SELECT uuid FROM exposed`,
  )
  return requested.length > 0
}

/** The block was reorganised away: the transaction, and others for its nonce, may be mined again. */
export async function recordReorganised(
  services: RecordServices,
  { txid, operator, orderUuid, shard }: StoredTransaction,
): Promise<void> {
  const at = services.databaseTime()
  const own = sql`${shard}::int`
  const details = sql`jsonb_build_object('txid', ${txid}::text, 'reason', 'reorganised')`
  await rows(
    services.db,
    sql`WITH ${lockOperator(operator)}, back AS (
        UPDATE transactions SET status = 'accepted', outcome = NULL, block_height = NULL, mined_at = NULL,
          check_at = ${at}, looks = 0, misses = 0
        FROM payer WHERE txid = ${txid} AND transactions.shard = ${own} AND status = 'mined'
        RETURNING order_uuid, operator, nonce, kind
      ), unmoved AS (
        UPDATE operators SET chain_nonce = back.nonce, chain_nonce_at = ${at} FROM back
        WHERE address = operator AND chain_nonce > back.nonce
      ), others AS (
        UPDATE transactions SET status = 'outbid', check_at = ${at}, looks = 0, misses = 0 FROM back
        WHERE transactions.shard = ${own} AND transactions.operator = back.operator AND transactions.nonce = back.nonce
          AND txid <> ${txid} AND status = 'replaced'
      ), undone AS (
        UPDATE orders SET ${nextState(services, orderUuid, ['broadcasted'], sql`'broadcasted'`)}, block_height = NULL,
          confirmed_at = NULL, amount_out = NULL, failed_at = NULL, failure_reason = NULL, burn_requested_at = NULL,
          uuid_used_at = NULL
        FROM back WHERE uuid = order_uuid AND orders.shard = ${own} AND kind = 'swap' AND orders.status IN ('confirmed', 'failed')
        RETURNING uuid, orders.shard, orders.status
      ), hidden AS (
        UPDATE orders SET block_height = CASE WHEN kind = 'swap' THEN NULL ELSE block_height END, uuid_used_at = NULL
        FROM back WHERE uuid = order_uuid AND orders.shard = ${own} AND (kind = 'burn' OR orders.status = 'broadcasted')
      ), event AS (${insertOrderEvent(sql`undone`, at, details)})
      SELECT uuid FROM undone`,
  )
}

/** A signed transaction and its encrypted bytes. */
export interface EncryptedTransaction {
  transaction: SignedTransaction
  rawBox: Uint8Array
}

/**
 * Stores a replacement for a pending transaction: for the same nonce, with a higher fee, either the same swap, or a burn of
 * the order's uuid that keeps the swap off the chain. From now on only the replacement is sent; either may be mined.
 */
export async function recordReplacement(
  { db, databaseTime }: RecordServices,
  { txid, operator, shard }: Pick<StoredTransaction, 'txid' | 'operator' | 'shard'>,
  { transaction, rawBox }: EncryptedTransaction,
  { kind, reason }: { kind: TransactionKind; reason: string | null },
): Promise<void> {
  const at = databaseTime()
  await rows(
    db,
    sql`WITH ${lockOperator(operator)}, outbid AS (
        UPDATE transactions SET status = 'outbid', reason = coalesce(${reason}::text, reason)
        FROM payer WHERE txid = ${txid} AND transactions.shard = ${shard}::int AND status IN ('signed', 'accepted')
        RETURNING order_uuid, transactions.shard, operator, nonce, requested_by, kind, reason, recipient, amount_in_micro_stx
      )
      INSERT INTO transactions
        (txid, order_uuid, shard, kind, operator, nonce, fee_in_micro_stx, raw_box, requested_by, reason, recipient, amount_in_micro_stx,
          created_at, check_at)
      SELECT ${transaction.txid}, order_uuid, shard, ${kind}, operator, nonce, ${transaction.feeInMicroStx}::bigint,
        ${rawBox}::bytea, requested_by, CASE WHEN ${kind} <> 'swap' THEN reason END,
        recipient, amount_in_micro_stx, ${at}, ${at}
      FROM outbid
      ON CONFLICT ON CONSTRAINT transactions_pkey DO NOTHING`,
  )
}

/**
 * Stores a filler for a nonce that no transaction will use. Two processes that do so at once store the same bytes. Since
 * the caller read the gaps, the nonce may have been returned and claimed by an order, which must not share it: the
 * operator's row is locked first, and the statement after it sees what was committed before.
 */
export async function recordFiller(
  { db, databaseTime }: RecordServices,
  operator: string,
  { transaction, rawBox }: EncryptedTransaction,
): Promise<void> {
  const { txid, nonce, feeInMicroStx } = transaction
  const at = databaseTime()
  await db.transaction(async (tx) => {
    await lockOperatorRow(tx, operator)
    const using = await rows(
      tx,
      sql`SELECT FROM transactions WHERE operator = ${operator} AND nonce = ${nonce}::bigint AND status <> 'refused' LIMIT 1`,
    )
    if (using.length > 0) return
    await rows(
      tx,
      sql`INSERT INTO transactions (txid, shard, kind, operator, nonce, fee_in_micro_stx, raw_box, created_at, check_at)
        SELECT ${txid}, ${shardSql(operator)}, 'filler', address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea, ${at}, ${at}
        FROM operators WHERE address = ${operator} AND next_nonce > ${nonce}::bigint
        ON CONFLICT ON CONSTRAINT transactions_pkey DO NOTHING`,
    )
  })
}

async function lockOperatorRow(tx: Database, operator: string): Promise<void> {
  await rows(tx, sql`SELECT FROM operators WHERE address = ${operator} FOR UPDATE`)
}

/**
 * The chain has used the nonce for a transaction of another program that has the operator's key: no transaction that was
 * signed for it here can be mined, and its order reopens, unless it had ended before. The caller has looked up every
 * transaction that was signed for the nonce. Resolves to whether the given transaction was lost by this call.
 */
export async function recordNonceLost(
  services: RecordServices,
  { txid, operator, nonce, orderUuid, shard }: StoredTransaction & { nonce: number },
): Promise<boolean> {
  const at = services.databaseTime()
  const own = sql`${shard}::int`
  const hasEnded = hasEndedSql(own)
  const status = sql`CASE WHEN ${hasEnded} THEN 'failed' ELSE 'open' END`
  const lost = await rows<{ txid: string }>(
    services.db,
    sql`WITH ${lockOperator(operator)}, lost AS (
        UPDATE transactions SET status = 'replaced', reason = 'nonce_lost', check_at = NULL
        FROM payer WHERE operator = payer.address AND transactions.shard = ${own} AND nonce = ${nonce}::bigint AND status IN ('signed', 'accepted', 'outbid')
        RETURNING txid, order_uuid
      ), reopened AS (
        UPDATE orders SET ${nextState(services, orderUuid, ['open', 'failed'], status)}, txid = NULL, executed_at = NULL,
          failed_at = CASE WHEN ${hasEnded} THEN ${at} END,
          failure_reason = CASE WHEN ${hasEnded} THEN 'nonce_lost' END
        WHERE uuid = ${orderUuid ?? null}::text AND orders.shard = ${own} AND uuid IN (SELECT order_uuid FROM lost)
          AND status IN ('executing', 'broadcasted')
        RETURNING uuid, orders.shard, status
      ), event AS (${insertOrderEvent(sql`reopened`, at, sql`jsonb_build_object('reason', 'nonce_lost')`)})
      SELECT txid FROM lost`,
  )
  return lost.some((one) => one.txid === txid)
}
