import type { World } from '../world.ts'
import type { Answer } from './answer.ts'
import type { Sighting } from './chain.ts'
import type { Operator } from './operator.ts'
import { type Due, rivalsOf } from './outbox.ts'
import {
  type Mined,
  recordAccepted,
  recordLook,
  recordMined,
  recordNonceLost,
  recordOutbid,
  recordReorganised,
} from './record.ts'
import { GONE_AFTER_MISSES, nextLook, nextWatch, PATIENCE } from './schedule.ts'
import { type SignedTransaction, signAgain, signFiller } from './transaction.ts'

/** One pass of the reconciler. */
export interface Pass {
  world: World
  now: number
  /** The newest block's height, asked for at most once a pass. */
  height: () => Promise<number | undefined>
}

/** Looks at one transaction: sends it again when nobody has answered for it, else asks the chain what became of it. */
export async function lookAt(pass: Pass, due: Due): Promise<void> {
  if (due.status === 'signed') return heed(pass, due, await submit(pass, due))
  await follow(pass, due, await pass.world.chain.find(due.txid))
}

/** Does what the node's answer to the stored bytes asks for. They may have been sent before. */
async function heed(pass: Pass, due: Due, answer: Answer): Promise<void> {
  const { world, now } = pass
  world.log(answer.kind === 'accepted' ? 'info' : 'warn', 'transaction_sent_again', {
    uuid: due.orderUuid,
    txid: due.txid,
    answer: answer.kind,
    reason: answer.kind === 'accepted' ? undefined : answer.reason,
  })
  switch (answer.kind) {
    case 'accepted':
      return due.status === 'signed'
        ? recordAccepted(world.db, due.txid, now, soon(pass))
        : later(pass, due, { missed: true })
    case 'refused':
      return giveUp(pass, due, answer.reason)
    case 'nonceTaken':
      return examine(pass, due, answer.reason)
    case 'postponed':
      return answer.reason === 'FeeTooLow'
        ? raiseFee(pass, due, answer.reason)
        : later(pass, due, { reason: answer.reason })
    default:
      return later(pass, due, { reason: answer.reason })
  }
}

/** Does what the chain's word on a transaction asks for. */
async function follow(pass: Pass, due: Due, seen: Sighting): Promise<void> {
  const { world, now } = pass
  if (seen.kind === 'unknown') return later(pass, due)
  if (seen.kind === 'mined') return settle(pass, due, seen)
  if (due.status === 'mined') {
    // A node that lags calls it pending, or has not heard of it.
    const isSaid = seen.kind === 'orphaned' || seen.kind === 'dropped'
    const isGone = isSaid || due.misses + 1 >= GONE_AFTER_MISSES
    if (!isGone) return later(pass, due, { missed: true })
    world.log('warn', 'transaction_reorganised', { uuid: due.orderUuid, txid: due.txid })
    return recordReorganised(world.db, due, now, now)
  }
  if (due.status === 'outbid') return later(pass, due)
  if (seen.kind === 'pending')
    return isStuck(pass, due) ? raiseFee(pass, due) : later(pass, due, { missed: false })
  const reason = seen.kind === 'dropped' ? seen.reason : `dropped_${seen.kind}`
  if (isHopeless(pass, due)) return giveUp(pass, due, reason)
  await heed(pass, due, await submit(pass, due))
}

/** The transaction is in a block: an order ends once that is deep enough, and is watched for some time after. */
async function settle(pass: Pass, due: Due, seen: Mined): Promise<void> {
  const { world, now } = pass
  const { CONFIRMATIONS, RECONCILE_INTERVAL_MS } = world.config
  if (due.status === 'signed' || due.status === 'outbid')
    await recordAccepted(world.db, due.txid, now, soon(pass))
  const isElsewhere = seen.height !== due.blockHeight || seen.outcome !== due.outcome
  if (due.status === 'mined' && isElsewhere) await recordReorganised(world.db, due, now, now)
  const isDeep =
    CONFIRMATIONS === 1 || ((await pass.height()) ?? 0) - seen.height + 1 >= CONFIRMATIONS
  const firstMs = Math.max(RECONCILE_INTERVAL_MS, 1)
  const checkAt = isDeep
    ? nextWatch(now, due.minedAt ?? now, due.status === 'mined' ? due.looks : 0, firstMs)
    : nextLook(now, 0, firstMs)
  await recordMined(world.db, due, seen, { isDeep, checkAt }, now)
  if (due.status !== 'mined')
    world.log('info', 'transaction_mined', {
      uuid: due.orderUuid,
      txid: due.txid,
      kind: due.kind,
      outcome: seen.outcome,
      height: seen.height,
    })
}

/**
 * Something else has the nonce. Perhaps it is this very transaction, mined or waiting; perhaps a rival that was signed
 * here, which is followed by itself. Only when the chain has long passed the nonce, and none of them is anywhere, was it
 * used by somebody else.
 */
async function examine(pass: Pass, due: Due, reason: string): Promise<void> {
  const { world, now } = pass
  const seen = await world.chain.find(due.txid)
  if (seen.kind === 'mined') return settle(pass, due, seen)
  if (seen.kind === 'pending' && due.status === 'signed')
    return recordAccepted(world.db, due.txid, now, soon(pass))
  const isPassed = due.chainNonce > due.nonce && seen.kind !== 'pending' && seen.kind !== 'unknown'
  if (!isPassed || !isHopeless(pass, due)) return later(pass, due, { reason, missed: isPassed })
  for (const rival of await rivalsOf(world.db, due)) {
    const { kind } = await world.chain.find(rival)
    if (kind === 'mined' || kind === 'pending' || kind === 'unknown')
      return later(pass, due, { reason, missed: true })
  }
  world.log('error', 'nonce_lost', { operator: due.operator, nonce: due.nonce, txid: due.txid })
  await recordNonceLost(world.db, due, now)
}

/**
 * Nobody takes the transaction, or everybody forgets it, but somebody may still have it. So its nonce is used up by a
 * filler that pays more: once that is mined the order has failed, for this reason; if the swap is mined, it has not.
 */
async function giveUp(pass: Pass, due: Due, reason: string): Promise<void> {
  const { world, now } = pass
  const operator = operatorOf(world, due)
  if (operator === undefined || due.kind === 'filler') {
    world.log('error', 'transaction_stuck', { txid: due.txid, operator: due.operator, reason })
    return later(pass, due, { reason })
  }
  const filler = await signFiller({
    privateKey: operator.privateKey,
    nonce: due.nonce,
    feeInMicroStx: due.feeInMicroStx * 2,
    network: world.config.STACKS_NETWORK,
  })
  world.log('warn', 'order_given_up', { uuid: due.orderUuid, txid: due.txid, reason })
  const sealed = { transaction: filler, rawBox: await seal(world, filler) }
  await recordOutbid(world.db, due, sealed, { kind: 'filler', reason }, now)
}

/** Signs the same transaction again for twice the fee, as long as that is within the limit. */
async function raiseFee(pass: Pass, due: Due, reason?: string): Promise<void> {
  const { world, now } = pass
  const operator = operatorOf(world, due)
  const feeInMicroStx = Math.min(due.feeInMicroStx * 2, world.config.MAX_FEE_IN_MICRO_STX)
  if (operator === undefined || feeInMicroStx <= due.feeInMicroStx) {
    world.log('error', 'transaction_stuck', { txid: due.txid, operator: due.operator, reason })
    return later(pass, due, { reason })
  }
  const raw = await world.seal.open(due.rawBox, sealName(due.txid))
  const dearer = signAgain(raw, { privateKey: operator.privateKey, feeInMicroStx })
  world.log('warn', 'fee_raised', { uuid: due.orderUuid, txid: dearer.txid, feeInMicroStx })
  const sealed = { transaction: dearer, rawBox: await seal(world, dearer) }
  await recordOutbid(world.db, due, sealed, { kind: due.kind, reason: null }, now)
}

/** Only what the chain waits for can be stuck: what comes after it waits for its turn. */
function isStuck({ world, now }: Pass, due: Due): boolean {
  const { STUCK_AFTER_SECONDS } = world.config
  if (STUCK_AFTER_SECONDS === undefined || due.nonce !== due.chainNonce) return false
  return now - Math.max(due.since, due.chainNonceAt) >= STUCK_AFTER_SECONDS * 1000
}

function isHopeless({ now }: Pass, due: Due): boolean {
  return due.misses + 1 >= PATIENCE.misses && now - due.since >= PATIENCE.ms
}

async function submit({ world }: Pass, due: Due): Promise<Answer> {
  return world.chain.submit(await world.seal.open(due.rawBox, sealName(due.txid)))
}

function later(
  pass: Pass,
  due: Due,
  found: { reason?: string | undefined; missed?: boolean } = {},
): Promise<void> {
  const firstMs = Math.max(pass.world.config.RECONCILE_INTERVAL_MS, 1)
  return recordLook(pass.world.db, due.txid, nextLook(pass.now, due.looks, firstMs), found)
}

function soon({ world, now }: Pass): number {
  return now + world.config.RECONCILE_INTERVAL_MS
}

function operatorOf(world: World, due: Due): Operator | undefined {
  return world.operators.all.find(({ address }) => address === due.operator)
}

/** The name under which a transaction's bytes are sealed: a box moved to another row does not open. */
export function sealName(txid: string): string {
  return `transaction ${txid}`
}

export function seal(world: World, { raw, txid }: SignedTransaction): Promise<Uint8Array> {
  return world.seal.seal(raw, sealName(txid))
}
