import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import { shardSql } from '../db/shard.ts'
import { later } from '../db/time.ts'
import { isSuspendedSql, lockWallet, lockWallets } from '../db/wallet-lock.ts'
import { inactiveReasonSql, isActiveSql } from '../keys/liveness-sql.ts'
import { stateMacs } from '../orders/integrity.ts'
import { hasEndedSql, isExecutableSql } from '../orders/lifecycle.ts'
import type { OrderStatus } from '../orders/order.ts'
import { ok, type Result, refuse } from '../result.ts'
import { canClaimSql, isUnusableSql, useNonceSql } from './operator.ts'
import type { SettlementServices } from './services.ts'
import type { VerifiedOrder } from './swap.ts'
import type { SignedTransaction } from './transaction.ts'

export interface Claim {
  order: VerifiedOrder
  operator: string
  transaction: SignedTransaction
  /** The transaction's bytes, encrypted. */
  rawBox: Uint8Array
  requestedBy: string | undefined
}

export type ClaimReason =
  | 'nonceTaken'
  | 'operatorUnusable'
  | 'orderNotOpen'
  | 'walletSuspended'
  | 'apiKeyInactive'
  | 'settlementLimit'

/**
 * Claims an open order for execution, uses the operator's nonce and stores the signed bytes, or changes nothing.
 *
 * The caller's transaction locks the wallet, so that what its bounds count cannot be raced; then the operator's row, if its
 * nonce is still the one that was signed and not too far ahead of the chain, it can pay and is not retired; then the order's row, if it is executable at
 * the time of Postgres and unchanged since it was verified. An order that ever ended, or that has a live transaction, is
 * never claimed, whatever its status says. Nor is one for a key that ended while its request waited for the chain: changes
 * of keys take the wallet's lock too. Of concurrent executes and cancels one succeeds, and no nonce is skipped or used
 * twice. Until the lease ends only the caller sends the bytes.
 */
export async function claimOrder(
  tx: Database,
  services: SettlementServices,
  claim: Claim,
  leaseMs: number,
): Promise<Result<null, ClaimReason>> {
  await lockWallet(tx, claim.order.owner)
  const isClaimed = await claimLocked(tx, services, claim, leaseMs)
  return isClaimed ? ok(null) : explainLostClaim(tx, services, claim)
}

/**
 * Claims orders for consecutive nonces of one operator as `claimOrder` does, each or not: the nonce after one that was not
 * used is not the operator's next. All their wallets are locked first, in the order of their addresses. The statements are
 * sent without waiting for each other's results.
 */
export async function claimOrders(
  tx: Database,
  services: SettlementServices,
  claims: readonly Claim[],
  leaseMs: number,
): Promise<boolean[]> {
  await lockWallets(
    tx,
    claims.map(({ order }) => order.owner),
    services.distribution,
  )
  // All have settled before the transaction ends: none of them may reach the server after it.
  const settled = await Promise.allSettled(
    claims.map((claim) => claimLocked(tx, services, claim, leaseMs)),
  )
  return settled.map((one) => {
    if (one.status === 'rejected') throw one.reason
    return one.value
  })
}

/** Resolves to whether the order was claimed. The transaction has locked its wallet. */
async function claimLocked(
  tx: Database,
  services: SettlementServices,
  claim: Claim,
  leaseMs: number,
): Promise<boolean> {
  const { order, operator, transaction, rawBox, requestedBy } = claim
  const { txid, nonce, feeInMicroStx } = transaction
  const { uuid, owner } = order
  const at = services.databaseTime()
  const shard = shardSql(owner)
  const macs = stateMacs(services.mac, uuid, ['executing'])
  const claimed = await rows(
    tx,
    sql`WITH payer AS (
        SELECT address FROM operators WHERE ${canClaimSql(operator, nonce, feeInMicroStx)} FOR UPDATE
      ), claimed AS (
        UPDATE orders SET status = 'executing', state_mac = decode(${macs}::jsonb ->> 'executing', 'hex'), txid = ${txid},
          disclosed_at = coalesce(disclosed_at, ${at})
        FROM payer
        WHERE uuid = ${uuid} AND owner = ${owner} AND orders.shard = ${shard} AND ${isExecutableSql(at)} AND ${isUnchangedSql(order)}
          AND NOT ${hasEndedSql(shard)} AND NOT EXISTS (${liveTransactions(sql`orders.uuid`, shard)})
          AND NOT ${isSuspendedSql(owner)} AND ${isRequesterActiveSql(requestedBy, shard, at)}
          AND ${isWithinBoundsSql(services, owner, at)}
        RETURNING uuid, orders.shard, orders.status, payer.address
      ), used AS (
        UPDATE operators SET ${useNonceSql(feeInMicroStx)} FROM claimed WHERE operators.address = claimed.address
      ), event AS (
        ${insertOrderEvent(sql`claimed`, at, sql`jsonb_build_object('txid', ${txid}::text)`)}
      )
      INSERT INTO transactions
        (txid, order_uuid, shard, operator, nonce, fee_in_micro_stx, raw_box, requested_by, created_at, check_at)
      SELECT ${txid}, uuid, shard, address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea,
        ${requestedBy ?? null}::text, ${at}, ${later(at, leaseMs)}
      FROM claimed
      ON CONFLICT ON CONSTRAINT transactions_pkey DO UPDATE SET status = 'signed', reason = NULL, answered_at = NULL, misses = 0,
        looks = CASE WHEN transactions.status = 'refused' THEN 0 ELSE transactions.looks + 1 END,
        requested_by = excluded.requested_by, created_at = excluded.created_at, check_at = excluded.check_at
      RETURNING txid`,
  )
  return claimed.length === 1
}

/** Transactions of an order that a node may have, or may still get. */
function liveTransactions(uuid: SQL, shard: SQL): SQL {
  return sql`SELECT FROM transactions WHERE order_uuid = ${uuid} AND transactions.shard = ${shard} AND kind = 'swap'
    AND transactions.status IN ('signed', 'accepted', 'outbid', 'mined')`
}

function isUnchangedSql({ termsMacs, stateMacs }: VerifiedOrder): SQL {
  const isOneOf = (column: SQL, macs: readonly string[] | null) =>
    macs === null
      ? sql`${column} IS NULL`
      : sql`encode(${column}, 'hex') = ANY (${`{${macs.join(',')}}`}::text::text[])`
  return sql`${isOneOf(sql`orders.terms_mac`, termsMacs)}
    AND ${isOneOf(sql`orders.state_mac`, stateMacs)}`
}

/** Whether the key that requested a claim is still active; an owner's message was checked when it was consumed. */
function isRequesterActiveSql(keyId: string | undefined, shard: SQL, at: SQL): SQL {
  return keyId === undefined
    ? sql`true`
    : sql`EXISTS (SELECT FROM api_keys WHERE id = ${keyId} AND api_keys.shard = ${shard} AND ${isActiveSql(at)})`
}

/** Settlements of a wallet that are under way, and those of the last 24 hours that failed. */
function settlementCounts(owner: string, at: SQL): { settling: SQL; failed: SQL } {
  const isOwn = sql`other.owner = ${owner} AND other.shard = ${shardSql(owner)}`
  return {
    settling: sql`(SELECT count(*) FROM orders AS other WHERE ${isOwn}
      AND other.status IN ('executing', 'broadcasted'))`,
    failed: sql`(SELECT count(*) FROM orders AS other WHERE ${isOwn}
      AND other.status = 'failed' AND other.failed_at > ${later(at, -DAY_MS)})`,
  }
}

const DAY_MS = 86_400_000

function isWithinBoundsSql({ config }: SettlementServices, owner: string, at: SQL): SQL {
  const { settling, failed } = settlementCounts(owner, at)
  return sql`${settling} < ${config.MAX_SETTLING_PER_WALLET}::int
    AND ${failed} < ${config.MAX_FAILED_PER_WALLET_AND_DAY}::int`
}

interface Seen {
  status: OrderStatus | null
  executable: boolean | null
  ended: boolean | null
  suspended: boolean
  inactive: string | null
  unusable: boolean | null
  settling: number
  failed: number
}

/** Why a claim changed nothing. For the choice of a refusal only: the guards are in the claim. */
async function explainLostClaim(
  tx: Database,
  services: SettlementServices,
  { order: { uuid, owner }, operator, requestedBy, transaction }: Claim,
): Promise<Result<null, ClaimReason>> {
  const at = services.databaseTime()
  const shard = shardSql(owner)
  const { settling, failed } = settlementCounts(owner, at)
  const [seen] = await rows<Seen>(
    tx,
    sql`SELECT orders.status, ${isExecutableSql(at)} AS executable, ${hasEndedSql(shard)} AS ended,
        ${isSuspendedSql(owner)} AS suspended,
        (SELECT ${inactiveReasonSql(at)} FROM api_keys WHERE id = ${requestedBy ?? null}::text AND api_keys.shard = ${shard}) AS inactive,
        ${settling}::int AS settling, ${failed}::int AS failed,
        (SELECT ${isUnusableSql(transaction.feeInMicroStx)} FROM operators WHERE address = ${operator}) AS unusable
      FROM (SELECT 1) AS always LEFT JOIN orders ON uuid = ${uuid} AND owner = ${owner} AND orders.shard = ${shard}`,
  )
  const { MAX_SETTLING_PER_WALLET, MAX_FAILED_PER_WALLET_AND_DAY } = services.config
  if (seen?.suspended) return refuse('walletSuspended')
  if (seen?.inactive != null) return refuse('apiKeyInactive', { reason: seen.inactive })
  if (seen?.status !== 'open' || seen.ended === true)
    return refuse('orderNotOpen', { status: seen?.status ?? null })
  if (seen.executable === false) return refuse('orderNotOpen', { status: 'expired' })
  if (seen.settling >= MAX_SETTLING_PER_WALLET)
    return refuse('settlementLimit', { limit: 'settling', allowed: MAX_SETTLING_PER_WALLET })
  if (seen.failed >= MAX_FAILED_PER_WALLET_AND_DAY)
    return refuse('settlementLimit', { limit: 'failed', allowed: MAX_FAILED_PER_WALLET_AND_DAY })
  return refuse(seen.unusable === true ? 'operatorUnusable' : 'nonceTaken')
}

/**
 * Whether a claim was committed although the connection was lost during its COMMIT. The same bytes may also be another
 * process's claim; like a lease of the reconciler this counts as a second sender.
 */
export async function claimWasCommitted(
  db: Database,
  { order, transaction }: Pick<Claim, 'order' | 'transaction'>,
): Promise<boolean> {
  const found = await rows(
    db,
    sql`UPDATE transactions SET looks = looks + 1 WHERE txid = ${transaction.txid}
      AND shard = ${shardSql(order.owner)} AND status <> 'refused' RETURNING txid`,
  )
  return found.length === 1
}
