import type { SignedAction } from '../actions/action.ts'
import { consumeMessage } from '../actions/consume.ts'
import { atomically, type Database } from '../db/database.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Quote } from './chain.ts'
import { type Claim, claimOrder, claimWasCommitted, explainLostClaim } from './claim.ts'
import { encryptTransaction } from './encrypt.ts'
import { SWAP_FEE_IN_MICRO_STX } from './fees.ts'
import { MAX_PENDING, type OperatorAccount } from './operator.ts'
import { meetsTarget, minimumOutput } from './price.ts'
import { recordAccepted, recordRefused } from './record.ts'
import { sendLeaseMs } from './schedule.ts'
import type { SettlementServices } from './services.ts'
import type { SubmitResult } from './submit-result.ts'
import { signSwap } from './transaction.ts'

/** The fields of an executable order that settlement needs. */
export interface Settlable {
  uuid: string
  owner: string
  inputToken: string
  outputToken: string
  amountIn: string
  recipient: string
  targetPrice: string | null
  direction: 'gt' | 'lt' | null
  /** The owner's intent signature, RSV. */
  signature: Uint8Array
}

export interface Requester {
  keyId?: string | undefined
  action?: SignedAction<unknown> | undefined
}

export interface Settled {
  txid: string
  /** Whether a node has the transaction, or it is not known yet. */
  state: 'accepted' | 'unknown'
}

export type SettleReason = 'orderNotOpen' | 'messageReplayed' | 'executionFailed' | 'unavailable'

/** Claims of one order with one operator. Another process may take the nonce first; then it has claimed an order. */
const MAX_CLAIMS = 20
/** How often an order is signed for another nonce because its nonce was taken before a node accepted it. */
const MAX_NONCES = 3

type Route = Quote & { outputAsset: string }

/**
 * Settles an order with one transaction: sign, store and commit; then send; then record the result. Nothing is sent that
 * is not stored: after a failure at any point the same bytes are sent again, and other bytes never are.
 */
export async function settle(
  services: SettlementServices,
  order: Settlable,
  requester: Requester,
  now: number,
): Promise<Result<Settled, SettleReason>> {
  const routed = await findRoute(services, order)
  if (!routed.ok) return routed
  let { action } = requester
  for (let nonces = 0; nonces < MAX_NONCES; nonces++) {
    const claimed = await claim(services, order, routed.value, { ...requester, action }, now)
    if (!claimed.ok) return claimed
    const settled = await send(services, claimed.value, now)
    if (settled.ok || settled.reason !== 'nonceTaken')
      return settled as Result<Settled, SettleReason>
    action = undefined // The first claim consumed it.
  }
  return refuse('unavailable', { reason: 'nonce_taken' })
}

/** The route, and the least that the swap must pay. */
async function findRoute(
  services: SettlementServices,
  order: Settlable,
): Promise<Result<Route, SettleReason>> {
  const { chain, config } = services
  const quoted = await chain.quote(order.inputToken, order.outputToken, order.amountIn)
  if (!quoted.ok)
    return quoted.reason === 'noRoute'
      ? refuse('executionFailed', { reason: 'no_route' })
      : refuse('unavailable', { reason: 'quote' })
  const target = config.ENFORCE_TARGET_PRICE ? order : undefined
  const { amountOut } = quoted.value
  if (target !== undefined && !meetsTarget(target, amountOut))
    return refuse('executionFailed', {
      reason: 'target_price',
      targetPrice: order.targetPrice,
      direction: order.direction,
      amountIn: order.amountIn,
      amountOut,
    })
  const outputAsset = await chain.assetName(order.outputToken)
  if (outputAsset === undefined) return refuse('unavailable', { reason: 'token_interface' })
  const minimumReceived = minimumOutput(quoted.value, config.SLIPPAGE_BPS, target)
  return ok({ ...quoted.value, minimumReceived, outputAsset })
}

/** Claims the order with the first operator that has room. */
async function claim(
  services: SettlementServices,
  order: Settlable,
  route: Route,
  requester: Requester,
  now: number,
): Promise<Result<Claim, SettleReason>> {
  for (const operator of services.operators.roundRobin()) {
    const claimed = await operator.exclusively(() =>
      claimWith(services, operator, order, route, requester, now),
    )
    if (claimed.ok || claimed.reason !== 'operatorFull')
      return claimed as Result<Claim, SettleReason>
  }
  return refuse('unavailable', { reason: 'operator_busy' })
}

/** Signs for the next nonce and claims with it; signs again when the nonce was taken meanwhile. */
async function claimWith(
  services: SettlementServices,
  operator: OperatorAccount,
  order: Settlable,
  route: Route,
  requester: Requester,
  now: number,
): Promise<Result<Claim, SettleReason | 'operatorFull'>> {
  const { STACKS_NETWORK: network, ROUTER_CONTRACT: router } = services.config
  const { address, privateKey } = operator
  for (let attempt = 0; attempt < MAX_CLAIMS; attempt++) {
    const nonce = (await operator.expectedNonce()) ?? (await operator.reconcile(now))?.nextNonce
    if (nonce === undefined) return refuse('operatorFull')
    const transaction = await signSwap(
      { ...order, ...route, router },
      { privateKey, nonce, feeInMicroStx: SWAP_FEE_IN_MICRO_STX, network },
    )
    const claim: Claim = {
      uuid: order.uuid,
      owner: order.owner,
      operator: address,
      transaction,
      rawBox: await encryptTransaction(services, transaction),
      requestedBy: requester.keyId,
    }
    operator.expect(undefined)
    const claimed = await store(services, claim, requester.action, now)
    if (claimed.ok) {
      operator.expect(nonce + 1)
      return ok(claim)
    }
    if (claimed.reason === 'messageReplayed') return refuse('messageReplayed')
    const { status, isFull } = await explainLostClaim(services.db, order.uuid, address)
    if (status !== 'open') return refuse('orderNotOpen', { status })
    if (isFull && !(await hasRoom(operator, now))) return refuse('operatorFull')
  }
  return refuse('operatorFull')
}

/** Whether the chain has mined enough of this operator's pending transactions, by a fresh look-up. */
async function hasRoom(operator: OperatorAccount, now: number): Promise<boolean> {
  const standing = await operator.reconcile(now)
  return standing !== undefined && standing.nextNonce < standing.confirmed + MAX_PENDING
}

/** Stores the claim, and consumes the wallet's message where one requested it, in one transaction. */
async function store(
  { db, config, now: clock }: SettlementServices,
  claim: Claim,
  action: SignedAction<unknown> | undefined,
  now: number,
): Promise<Result<null, 'lost' | 'messageReplayed'>> {
  // The quote may have taken longer than a lease since the request read the clock.
  const leasedUntil = clock() + sendLeaseMs(config.NODE_TIMEOUT_MS)
  const attempt = async (tx: Database): Promise<Result<null, 'lost'>> =>
    (await claimOrder(tx, claim, now, leasedUntil)) ? ok(null) : refuse('lost')
  try {
    if (action === undefined) return await attempt(db)
    return await atomically<null, 'lost' | 'messageReplayed'>(db, async (tx) => {
      const consumed = await consumeMessage(tx, action, now)
      return consumed.ok ? attempt(tx) : consumed
    })
  } catch (error) {
    // A connection that is lost during COMMIT leaves open whether the claim was committed.
    if (await claimWasCommitted(db, claim.transaction.txid).catch(() => false)) return ok(null)
    throw error
  }
}

/** Sends the stored bytes and records the node's result. With an unknown result the order stays executing. */
async function send(
  services: SettlementServices,
  claim: Claim,
  now: number,
): Promise<Result<Settled, SettleReason | 'nonceTaken'>> {
  const { txid, raw } = claim.transaction
  const result = await services.chain.submit(raw)
  services.log(result.kind === 'accepted' ? 'info' : 'warn', 'order_sent', {
    uuid: claim.uuid,
    txid,
    result: result.kind,
    reason: result.kind === 'accepted' ? undefined : result.reason,
  })
  try {
    return await record(services, claim, result, now)
  } catch (error) {
    // The bytes are stored and were sent: the reconciler finds out what became of them.
    const fault = error instanceof Error ? error.name : 'unknown'
    services.log('error', 'result_not_recorded', { uuid: claim.uuid, txid, fault })
    return ok({ txid, state: 'unknown' })
  }
}

async function record(
  services: SettlementServices,
  { operator: address, transaction: { txid } }: Claim,
  result: SubmitResult,
  now: number,
): Promise<Result<Settled, SettleReason | 'nonceTaken'>> {
  const { db, config } = services
  if (result.kind === 'accepted') {
    await recordAccepted(db, txid, now, now + config.RECONCILE_INTERVAL_MS)
    return ok({ txid, state: 'accepted' })
  }
  const unknown = ok({ txid, state: 'unknown' as const })
  if (result.kind === 'unknown' || result.kind === 'waiting') return unknown

  const { kind, reason } = result
  const operator = services.operators.all.find((one) => one.address === address)
  const next = kind === 'refused' ? 'failed' : 'open'
  if (!(await recordRefused(db, { txid, operator: address, reason }, next, now))) return unknown
  operator?.expect(undefined)
  switch (kind) {
    case 'refused':
      return refuse('executionFailed', { reason, txid })
    case 'postponed':
      return refuse('unavailable', { reason: 'operator' })
    case 'nonceTaken':
      await operator?.reconcile(now)
      return refuse('nonceTaken')
  }
}
