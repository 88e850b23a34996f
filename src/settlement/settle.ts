import type { SignedAction } from '../actions/action.ts'
import { walletShard } from '../db/shard.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Claim } from './claim.ts'
import { claimNext } from './claims.ts'
import { swapFee } from './fees.ts'
import { previewSwap } from './preview.ts'
import { recordAccepted, recordNonceLost } from './record.ts'
import type { SettlementServices } from './services.ts'
import type { RoutableOrder, Route } from './swap.ts'
import { buildSwap } from './transaction.ts'

export interface Requester {
  keyId?: string | undefined
  action?: SignedAction<unknown> | undefined
}

export interface Settled {
  txid: string
  /** When a node accepted the transaction, in milliseconds since 1970; undefined while that is not known. */
  acceptedAt: number | undefined
}

export type SettleReason =
  | 'orderNotOpen'
  | 'messageReplayed'
  | 'walletSuspended'
  | 'apiKeyInactive'
  | 'settlementLimit'
  | 'executionFailed'
  | 'unavailable'

/** How often an order is signed for another nonce because another program used its nonce. */
const MAX_NONCES = 3
/** Operators that an order is signed for, because other processes filled them or retired them meanwhile. */
const MAX_OPERATORS = 10

/**
 * Settles an order with one transaction: sign, store and commit; then send; then record the result. Nothing is sent that
 * is not stored: after a failure at any point the same bytes are sent again. Once a node may have the bytes, the order
 * reopens only when the chain proves that they cannot be mined any more.
 */
export async function settle(
  services: SettlementServices,
  order: RoutableOrder,
  requester: Requester,
): Promise<Result<Settled, SettleReason>> {
  const route = await previewSwap(services, order)
  if (!route.ok) return route
  let { action } = requester
  for (let nonces = 0; nonces < MAX_NONCES; nonces++) {
    const claimed = await claim(services, order, route.value, { ...requester, action })
    if (!claimed.ok) return claimed
    const settled = await send(services, claimed.value)
    if (settled !== 'nonceLost') return ok(settled)
    action = undefined // The first claim consumed it.
  }
  return refuse('unavailable', { reason: 'nonce_taken' })
}

/** Claims the order with the first operator that has room and can pay. */
async function claim(
  services: SettlementServices,
  order: RoutableOrder,
  route: Route,
  requester: Requester,
): Promise<Result<Claim, SettleReason>> {
  const { STACKS_NETWORK: network, MAX_FEE_IN_MICRO_STX: ceiling } = services.config
  const swap = buildSwap({ ...order, ...route }, network)
  const estimate = await services.chain.estimateFee(swap.payload(), swap.byteLength)
  const feeInMicroStx = swapFee(swap.byteLength, estimate, ceiling)
  const request = { requestedBy: requester.keyId, action: requester.action }
  for (let tried = 0; tried < MAX_OPERATORS; tried++) {
    const need = { feeInMicroStx, by: order.terms?.by, now: services.now() }
    const operator = await services.operators.choose(need)
    if (!operator.ok) return refuse('unavailable', { reason: operator.reason })
    const waiting = { services, operator: operator.value, order, swap, feeInMicroStx, ...request }
    const claimed = await claimNext(waiting)
    if (claimed.ok || claimed.reason !== 'operatorUnusable')
      return claimed as Result<Claim, SettleReason>
    await services.operators.read()
  }
  return refuse('unavailable', { reason: 'operator_busy' })
}

/** Sends the stored bytes and records the node's result. Unless a node accepts them the order stays executing. */
async function send(services: SettlementServices, claim: Claim): Promise<Settled | 'nonceLost'> {
  const { txid, raw } = claim.transaction
  const { uuid } = claim.order
  const result = await services.chain.submit(raw)
  services.log(result.kind === 'accepted' ? 'info' : 'warn', 'order_sent', {
    uuid,
    txid,
    result: result.kind,
    reason: result.kind === 'accepted' ? undefined : result.reason,
  })
  try {
    if (result.kind === 'accepted') {
      const { RECONCILE_INTERVAL_MS } = services.config
      const stored = { txid, orderUuid: uuid, shard: walletShard(claim.order.owner) }
      return { txid, acceptedAt: await recordAccepted(services, stored, RECONCILE_INTERVAL_MS) }
    }
    if (result.kind === 'nonceTaken' && (await wasNonceLost(services, claim))) return 'nonceLost'
  } catch (error) {
    // The bytes are stored and were sent: the reconciler finds out what became of them.
    const fault = error instanceof Error ? error.name : 'unknown'
    services.log('error', 'result_not_recorded', { uuid, txid, fault })
  }
  return { txid, acceptedAt: undefined }
}

/**
 * Whether the chain proves that the claim's transaction cannot be mined any more and has not swapped: the account's nonce
 * has passed its own, the transaction itself is not found, and the uuid is unused. Then another program used the nonce, and
 * the order reopens. The transaction is looked up, because one node may have mined it and have it aborted while another
 * one rejects its nonce.
 */
async function wasNonceLost(services: SettlementServices, claim: Claim): Promise<boolean> {
  const { operator: address, transaction, order } = claim
  const { txid, nonce } = transaction
  const account = await services.chain.account(address)
  if (account === undefined || account.nonce <= nonce) return false
  const { kind } = await services.chain.find(txid)
  if (kind !== 'absent' && kind !== 'dropped') return false
  const { INTENT_VERIFIER_CONTRACT } = services.config
  if ((await services.chain.isUuidUsed(INTENT_VERIFIER_CONTRACT, order.uuid)) !== false)
    return false
  const operator = services.operators.find(address)
  operator?.expect(undefined)
  await operator?.reconcile()
  services.log('warn', 'nonce_lost', { operator: address, nonce, txid })
  return recordNonceLost(services, {
    txid,
    operator: address,
    nonce,
    orderUuid: order.uuid,
    shard: walletShard(order.owner),
  })
}
