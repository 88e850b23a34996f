import type { SignedAction } from '../actions/action.ts'
import { consumeMessage } from '../actions/consume.ts'
import { openBatches } from '../batches.ts'
import { atomically, isDeadlock, isLockTimeout, isOutage } from '../db/database.ts'
import { ok, type Result, refuse } from '../result.ts'
import {
  type Claim,
  type ClaimReason,
  claimOrder,
  claimOrders,
  claimWasCommitted,
} from './claim.ts'
import { encryptTransaction } from './encrypt.ts'
import type { OperatorAccount } from './operator.ts'
import { sendLeaseMs } from './schedule.ts'
import type { SettlementServices } from './services.ts'
import type { VerifiedOrder } from './swap.ts'
import type { UnsignedSwap } from './transaction.ts'

export type ClaimedOrRefused = Result<Claim, Exclude<ClaimReason, 'nonceTaken'> | 'messageReplayed'>

/** An order that waits for the next nonce of an operator. */
export interface WaitingOrder {
  services: SettlementServices
  operator: OperatorAccount
  order: VerifiedOrder
  swap: UnsignedSwap
  feeInMicroStx: number
  requestedBy: string | undefined
  /** The wallet's message where one requested the claim: it is consumed with it. */
  action: SignedAction<unknown> | undefined
}

/** Claims of one order with one operator. Another process may take the nonce first; then it has claimed an order. */
const MAX_CLAIMS = 20
/** Orders that one transaction claims, at most: the operator's row is locked for as long as all of them take. */
const MAX_TOGETHER = 10

/**
 * Signs an order for the operator's next nonce and claims it. Orders that wait for one operator are claimed in one
 * transaction, with consecutive nonces. One that this does not claim is claimed alone after them, or refused: a refusal
 * concerns no other order. A message is consumed together with its claim or not at all, so its order is never one of several.
 */
export async function claimNext(waiting: WaitingOrder): Promise<ClaimedOrRefused> {
  const { operator, action } = waiting
  const claimed = action === undefined ? await queueOf(operator)(waiting) : undefined
  return claimed ?? operator.exclusively(() => claimAlone(waiting))
}

type Queue = (waiting: WaitingOrder) => Promise<ClaimedOrRefused | undefined>

const QUEUES = new WeakMap<OperatorAccount, Queue>()

function queueOf(operator: OperatorAccount): Queue {
  const known = QUEUES.get(operator)
  if (known !== undefined) return known
  const queue: Queue = openBatches(
    {
      maxItems: MAX_TOGETHER,
      maxRuns: 1, // The nonces of the next run follow those of this one.
      nameOf: ({ order }) => order.uuid,
      isShared: isOutage,
    },
    ([first, ...others]) =>
      operator.exclusively(async () =>
        others.length === 0
          ? [await claimAlone(first as WaitingOrder)]
          : claimTogether([first as WaitingOrder, ...others]),
      ),
  )
  QUEUES.set(operator, queue)
  return queue
}

/** Signs the orders for consecutive nonces and claims them. Resolves to undefined for each order that was not claimed. */
async function claimTogether(
  waiting: readonly [WaitingOrder, ...WaitingOrder[]],
): Promise<(ClaimedOrRefused | undefined)[]> {
  const [{ services, operator }] = waiting
  const nonce = await operator.expectedNonce()
  if (nonce === undefined) return waiting.map(() => undefined)
  const claims = await Promise.all(waiting.map((one, at) => sign(one, nonce + at)))
  operator.expect(undefined)
  const isClaimed = await storeTogether(services, claims)
  if (isClaimed.every(Boolean)) operator.expect(nonce + claims.length)
  return claims.map((claim, at) => (isClaimed[at] === true ? ok(claim) : undefined))
}

/** Rejects only with an outage, which every order would meet. */
async function storeTogether(
  services: SettlementServices,
  claims: readonly Claim[],
): Promise<boolean[]> {
  const { db, config } = services
  const leaseMs = sendLeaseMs(config.NODE_TIMEOUT_MS)
  try {
    return await db.transaction((tx) => claimOrders(tx, services, claims, leaseMs))
  } catch (error) {
    // A connection that is lost during COMMIT leaves open whether the claims were committed.
    const isClaimed = await Promise.all(
      claims.map((claim) => claimWasCommitted(db, claim).catch(() => false)),
    )
    const isOfAll = isOutage(error) && !isDeadlock(error) && !isLockTimeout(error)
    if (isOfAll && !isClaimed.some(Boolean)) throw error
    return isClaimed
  }
}

/** Signs for the next nonce and claims with it; signs again when the nonce was taken meanwhile. */
async function claimAlone(waiting: WaitingOrder): Promise<ClaimedOrRefused> {
  const { operator } = waiting
  for (let attempt = 0; attempt < MAX_CLAIMS; attempt++) {
    const nonce = (await operator.expectedNonce()) ?? (await operator.reconcile())?.nextNonce
    if (nonce === undefined) return refuse('operatorUnusable')
    const claim = await sign(waiting, nonce)
    operator.expect(undefined)
    const stored = await store(waiting, claim)
    if (stored.ok) {
      operator.expect(nonce + 1)
      return ok(claim)
    }
    if (stored.reason !== 'nonceTaken') return stored as ClaimedOrRefused
  }
  return refuse('operatorUnusable')
}

async function sign(
  { services, operator, order, swap, feeInMicroStx, requestedBy }: WaitingOrder,
  nonce: number,
): Promise<Claim> {
  const transaction = await swap.sign({ ...operator, nonce, feeInMicroStx })
  const { uuid, owner, termsMacs, stateMacs } = order
  return {
    order: { uuid, owner, termsMacs, stateMacs },
    operator: operator.address,
    transaction,
    rawBox: await encryptTransaction(services, transaction),
    requestedBy,
  }
}

/** Stores the claim, and consumes the wallet's message where one requested it, in one transaction. */
async function store(
  { services, action }: WaitingOrder,
  claim: Claim,
): Promise<Result<null, ClaimReason | 'messageReplayed'>> {
  const { db, config } = services
  const leaseMs = sendLeaseMs(config.NODE_TIMEOUT_MS)
  try {
    return await atomically<null, ClaimReason | 'messageReplayed' | 'walletSuspended'>(
      db,
      async (tx) => {
        const consumed =
          action === undefined ? ok(0) : await consumeMessage(tx, action, services.now())
        return consumed.ok ? claimOrder(tx, services, claim, leaseMs) : consumed
      },
    )
  } catch (error) {
    // A connection that is lost during COMMIT leaves open whether the claim was committed.
    if (await claimWasCommitted(db, claim).catch(() => false)) return ok(null)
    throw error
  }
}
