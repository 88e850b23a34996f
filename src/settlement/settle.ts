import { eq } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { spendAction } from '../actions/spend.ts'
import { atomically, type Database } from '../db/database.ts'
import { orders } from '../db/schema.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'
import type { Quote } from './chain.ts'
import { type Claim, claimOrder, recordAccepted, recordRefused } from './claim.ts'
import { FEE_IN_MICRO_STX } from './operator.ts'
import { signSwap } from './transaction.ts'

/** What settlement needs to know of an order that may be executed. */
export interface Settlable {
  uuid: string
  owner: string
  inputToken: string
  outputToken: string
  amountIn: string
  recipient: string
  /** The owner's intent signature, RSV. */
  signature: Uint8Array
}

export interface Requester {
  keyId?: string | undefined
  action?: SignedAction<unknown> | undefined
}

export interface Settled {
  txid: string
  /** Whether a node has the transaction, or nobody knows yet. */
  state: 'accepted' | 'unknown'
}

export type SettleReason = 'orderNotOpen' | 'messageReplayed' | 'executionFailed' | 'unavailable'

/** Another process may take the nonce first; each time it does, one order of its own got further. */
const MAX_TRIES = 20

/**
 * Turns an order into one transaction: sign, store, commit; then send; then record the answer. Nothing is sent that is
 * not stored, so whatever happens in between, the same bytes can be sent again and others never need to be.
 */
export async function settle(
  world: World,
  order: Settlable,
  requester: Requester,
  now: number,
): Promise<Result<Settled, SettleReason>> {
  const quoted = await world.chain.quote(order.inputToken, order.outputToken, order.amountIn)
  if (!quoted.ok)
    return quoted.reason === 'noRoute'
      ? refuse('executionFailed', { reason: 'no_route' })
      : refuse('unavailable', { reason: 'quote' })
  const outputAsset = await world.chain.assetName(order.outputToken)
  if (outputAsset === undefined) return refuse('unavailable', { reason: 'token_interface' })

  const route = { ...quoted.value, outputAsset }
  const claimed = await world.operator.inTurn(() => claim(world, order, route, requester, now))
  return claimed.ok ? send(world, claimed.value, now) : claimed
}

/** Signs for the nonce that is next and claims with it; when the nonce was taken meanwhile, signs again. */
async function claim(
  world: World,
  order: Settlable,
  route: Quote & { outputAsset: string },
  requester: Requester,
  now: number,
): Promise<Result<Claim, SettleReason>> {
  const { STACKS_NETWORK: network, ROUTER_CONTRACT: router } = world.config
  const { address, privateKey } = world.operator
  for (let attempt = 0; attempt < MAX_TRIES; attempt++) {
    const nonce = await world.operator.expectedNonce()
    const transaction = await signSwap(
      { ...order, ...route, router },
      { privateKey, nonce, feeInMicroStx: FEE_IN_MICRO_STX, network },
    )
    const claim: Claim = {
      uuid: order.uuid,
      owner: order.owner,
      operator: address,
      transaction,
      rawBox: await world.seal.seal(transaction.raw, `transaction ${transaction.txid}`),
      requestedBy: requester.keyId,
    }
    const claimed = await store(world.db, claim, requester.action, now)
    world.operator.expect(claimed.ok ? nonce + 1 : undefined)
    if (claimed.ok) return ok(claim)
    if (claimed.reason === 'messageReplayed') return refuse('messageReplayed')
    const status = await statusOf(world.db, order.uuid)
    if (status !== 'open') return refuse('orderNotOpen', { status })
  }
  return refuse('unavailable', { reason: 'operator_busy' })
}

/** The claim, and the wallet's message when a message asked for it, or neither. */
function store(
  db: Database,
  claim: Claim,
  action: SignedAction<unknown> | undefined,
  now: number,
): Promise<Result<null, 'lost' | 'messageReplayed'>> {
  const attempt = async (tx: Database): Promise<Result<null, 'lost'>> =>
    (await claimOrder(tx, claim, now)) ? ok(null) : refuse('lost')
  if (action === undefined) return attempt(db)
  return atomically<null, 'lost' | 'messageReplayed'>(db, async (tx) => {
    const spent = await spendAction(tx, action, now)
    return spent.ok ? attempt(tx) : spent
  })
}

async function statusOf(db: Database, uuid: string): Promise<string | undefined> {
  const [order] = await db
    .select({ status: orders.status })
    .from(orders)
    .where(eq(orders.uuid, uuid))
  return order?.status
}

/** Sends what is stored and records what the node said. An answer that says nothing leaves the order executing. */
async function send(
  world: World,
  claim: Claim,
  now: number,
): Promise<Result<Settled, SettleReason>> {
  const { txid, raw } = claim.transaction
  const answer = await world.chain.submit(raw)
  const reason = answer.kind === 'accepted' ? undefined : answer.reason
  if (answer.kind !== 'accepted') world.operator.expect(undefined)
  world.log(answer.kind === 'accepted' ? 'info' : 'warn', 'order_sent', {
    uuid: claim.uuid,
    txid,
    answer: answer.kind,
    reason,
  })
  switch (answer.kind) {
    case 'accepted':
      await recordAccepted(world.db, claim, now)
      return ok({ txid, state: 'accepted' })
    case 'unknown':
      return ok({ txid, state: 'unknown' })
    case 'refused':
      await recordRefused(world.db, claim, answer.reason, 'failed', now)
      return refuse('executionFailed', { reason: answer.reason, txid })
    case 'postponed':
      await recordRefused(world.db, claim, answer.reason, 'open', now)
      return refuse('unavailable', { reason: 'operator' })
  }
}
