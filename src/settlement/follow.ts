import { transactionLabel } from '../crypto/labels.ts'
import type { ChainStatus } from './chain.ts'
import { encryptTransaction } from './encrypt.ts'
import { burnFee, CANCELLATION_CEILING, replacementFee } from './fees.ts'
import type { OperatorAccount } from './operator.ts'
import { competingTransactions, type DueTransaction } from './outbox.ts'
import {
  type Mined,
  recordAccepted,
  recordAttempt,
  recordConfirmation,
  recordMined,
  recordNonceLost,
  recordReorganised,
  recordReplacement,
} from './record.ts'
import {
  confirmationPauseMs,
  GIVE_UP_AFTER_NOT_FOUND,
  ORPHANED_AFTER_NOT_FOUND,
  retryPauseMs,
} from './schedule.ts'
import type { SettlementServices } from './services.ts'
import type { SubmitResult } from './submit-result.ts'
import { signAgain, signBurn, signFiller } from './transaction.ts'

/** One pass of the reconciler. */
export interface ReconcilePass {
  services: SettlementServices
  /** Postgres' time at the start of the pass, in milliseconds since 1970. */
  now: number
  /** The height of the newest block, looked up at most once a pass. */
  height: () => Promise<number | undefined>
}

/**
 * Checks one transaction: sends it again while no node's acceptance is recorded, else looks up its status. A swap whose
 * order's time is over is not sent: the process may have been down since it was claimed.
 */
export async function checkTransaction(pass: ReconcilePass, due: DueTransaction): Promise<void> {
  if (due.status === 'signed' && !isOver(pass, due))
    return applySubmitResult(pass, due, await submit(pass, due))
  await applyChainStatus(pass, due, await pass.services.chain.find(due.txid))
}

/**
 * Leaves out the accepted transactions that the chain cannot have mined, because it waits for an earlier nonce of their operator, and
 * returns the others by nonce. One look-up of an account replaces one for each of its transactions.
 */
export async function withoutBlocked(
  pass: ReconcilePass,
  due: readonly DueTransaction[],
): Promise<DueTransaction[]> {
  const accepted = due.filter(({ status }) => status === 'accepted')
  const blocked = await Promise.all(
    [...Map.groupBy(accepted, ({ operator }) => operator)].map(async ([operator, all]) => {
      const [, second] = all
      if (second === undefined) return []
      const account = await pass.services.chain.account(operator)
      return account === undefined ? [] : all.filter(({ nonce }) => nonce > account.nonce)
    }),
  )
  const waiting = new Set(blocked.flat())
  await Promise.all([...waiting].map((one) => reschedule(pass, one)))
  return due.filter((one) => !waiting.has(one)).toSorted((a, b) => a.nonce - b.nonce)
}

/**
 * Handles a node's result for the stored bytes, which may have been sent before, and to other nodes. A rejection ends
 * nothing: an API may pass a transaction to several nodes and return the word of one of them. Only a mined transaction with
 * the same nonce proves that this one cannot be mined any more.
 */
async function applySubmitResult(
  pass: ReconcilePass,
  due: DueTransaction,
  result: SubmitResult,
): Promise<void> {
  const { services } = pass
  services.log(result.kind === 'accepted' ? 'info' : 'warn', 'transaction_sent_again', {
    uuid: due.orderUuid,
    txid: due.txid,
    result: result.kind,
    reason: result.kind === 'accepted' ? undefined : result.reason,
  })
  switch (result.kind) {
    case 'accepted':
      if (due.status !== 'signed') return reschedule(pass, due, { isMissing: true })
      return void (await recordAccepted(services, due, services.config.RECONCILE_INTERVAL_MS))
    case 'refused':
      return cancelByReplacement(pass, due, result.reason)
    case 'nonceTaken':
      return resolveNonceConflict(pass, due, result.reason)
    case 'feeTooLow':
      return bumpFee(pass, due, result.reason)
    case 'waiting':
      return isHopeless(pass, due)
        ? cancelByReplacement(pass, due, result.reason)
        : reschedule(pass, due, { reason: result.reason, isMissing: true })
    default:
      return reschedule(pass, due, { reason: result.reason })
  }
}

/** Handles the observed status of a transaction. */
async function applyChainStatus(
  pass: ReconcilePass,
  due: DueTransaction,
  seen: ChainStatus,
): Promise<void> {
  const { services } = pass
  if (seen.kind === 'unknown') return reschedule(pass, due)
  if (seen.kind === 'mined') return applyMined(pass, due, seen)
  if (due.status === 'mined') {
    // A lagging node reports it as pending or unknown.
    const isReported = seen.kind === 'orphaned' || seen.kind === 'dropped'
    const isGone = isReported || due.notFound + 1 >= ORPHANED_AFTER_NOT_FOUND
    if (!isGone) return reschedule(pass, due, { isMissing: true })
    services.log('warn', 'transaction_reorganised', { uuid: due.orderUuid, txid: due.txid })
    return recordReorganised(services, due)
  }
  if (due.status === 'outbid') return reschedule(pass, due)
  if (seen.kind === 'pending' && due.status === 'signed')
    return void (await recordAccepted(services, due, services.config.RECONCILE_INTERVAL_MS))
  if (seen.kind === 'pending') return applyPending(pass, due)
  if (isOver(pass, due)) return cancelByReplacement(pass, due, 'order_expired')
  const reason = seen.kind === 'dropped' ? seen.reason : `dropped_${seen.kind}`
  if (isHopeless(pass, due)) return cancelByReplacement(pass, due, reason)
  await applySubmitResult(pass, due, await submit(pass, due))
}

/**
 * A pending transaction that the chain waits for, and that is not mined in time: its fee is raised, up to the ceiling; once
 * it has had its time, it is given up. Some nodes keep a transaction for two days that no miner will ever take.
 */
function applyPending(pass: ReconcilePass, due: DueTransaction): Promise<void> {
  const { STUCK_AFTER_SECONDS, GIVE_UP_AFTER_SECONDS } = pass.services.config
  const isNext = due.nonce === due.chainNonce
  const waitedMs = pass.now - Math.max(due.firstSignedAt, due.chainNonceAt)
  if (isNext && due.kind === 'swap' && waitedMs >= GIVE_UP_AFTER_SECONDS * 1000)
    return cancelByReplacement(pass, due, 'not_mined')
  const stuckMs = pass.now - Math.max(due.since, due.chainNonceAt)
  if (isNext && stuckMs >= STUCK_AFTER_SECONDS * 1000) return bumpFee(pass, due)
  return reschedule(pass, due, { isMissing: false })
}

/** The transaction is in a block. The order ends once that is deep enough; the block is checked for some time after. */
async function applyMined(pass: ReconcilePass, due: DueTransaction, seen: Mined): Promise<void> {
  const { services, now } = pass
  const { CONFIRMATIONS, RECONCILE_INTERVAL_MS } = services.config
  if (due.status === 'signed' || due.status === 'outbid')
    await recordAccepted(services, due, RECONCILE_INTERVAL_MS)
  const isElsewhere = seen.height !== due.blockHeight || seen.outcome !== due.outcome
  if (due.status === 'mined' && isElsewhere) await recordReorganised(services, due)
  const isDeep =
    CONFIRMATIONS === 1 || ((await pass.height()) ?? 0) - seen.height + 1 >= CONFIRMATIONS
  const firstMs = Math.max(RECONCILE_INTERVAL_MS, 1)
  const checkInMs = isDeep
    ? confirmationPauseMs(
        now - (due.minedAt ?? now),
        due.status === 'mined' ? due.attempts : 0,
        firstMs,
      )
    : retryPauseMs(0, firstMs)
  // Nothing is left to record of a swap that is where it was, but that it was found.
  if (due.status === 'mined' && due.kind === 'swap' && due.isSettled && isDeep && !isElsewhere)
    return recordConfirmation(services, due, checkInMs)
  const isUuidUsed = await isUsedAfter(pass, due, seen)
  const { isExposed } = await recordMined(services, due, seen, { isDeep, checkInMs, isUuidUsed })
  if (isExposed)
    services.log('error', 'intent_exposed', { uuid: due.orderUuid, outcome: seen.outcome })
  if (due.status !== 'mined')
    services.log('info', 'transaction_mined', {
      uuid: due.orderUuid,
      txid: due.txid,
      kind: due.kind,
      outcome: seen.outcome,
      height: seen.height,
    })
}

/** Whether the uuid of a mined transaction's order is used. A success uses it; an abort rolls its own use back. */
async function isUsedAfter(
  { services }: ReconcilePass,
  { kind, orderUuid }: DueTransaction,
  { outcome }: Mined,
): Promise<boolean> {
  if (orderUuid === undefined) return false
  if (outcome === 'success' && kind !== 'filler') return true
  const { INTENT_VERIFIER_CONTRACT } = services.config
  return (await services.chain.isUuidUsed(INTENT_VERIFIER_CONTRACT, orderUuid)) === true
}

/**
 * The nonce is used: by this very transaction, mined or pending; by a competing transaction of this service, which is
 * followed by itself; or, once the chain has long passed the nonce and none of them is found, by another program.
 */
async function resolveNonceConflict(
  pass: ReconcilePass,
  due: DueTransaction,
  reason: string,
): Promise<void> {
  const { services } = pass
  const seen = await services.chain.find(due.txid)
  if (seen.kind === 'mined') return applyMined(pass, due, seen)
  if (seen.kind === 'pending' && due.status === 'signed')
    return void (await recordAccepted(services, due, services.config.RECONCILE_INTERVAL_MS))
  const isPassed = due.chainNonce > due.nonce && seen.kind !== 'pending' && seen.kind !== 'unknown'
  if (!isPassed || !isHopeless(pass, due))
    return reschedule(pass, due, { reason, isMissing: isPassed })
  for (const competing of await competingTransactions(services.db, due)) {
    const { kind } = await services.chain.find(competing)
    if (kind === 'mined' || kind === 'pending' || kind === 'unknown')
      return reschedule(pass, due, { reason, isMissing: true })
  }
  services.log('error', 'nonce_lost', {
    operator: due.operator,
    nonce: due.nonce,
    txid: due.txid,
  })
  await recordNonceLost(services, due)
}

/**
 * Nodes reject or forget a swap, or no miner takes it, but one may still have it. A burn of its order's uuid with a higher
 * fee takes its nonce: once the burn is mined the order has failed, for this reason, and its intent is worthless; if the
 * swap is mined instead, the order has not failed.
 */
async function cancelByReplacement(
  pass: ReconcilePass,
  due: DueTransaction,
  reason: string,
): Promise<void> {
  const { services } = pass
  const operator = operatorOf(services, due)
  if (operator === undefined || due.kind !== 'swap') return reportStuck(pass, due, reason)
  const { STACKS_NETWORK: network, INTENT_VERIFIER_CONTRACT: verifier } = services.config
  const fields = {
    privateKey: operator.privateKey,
    nonce: due.nonce,
    feeInMicroStx: burnFee(due.feeInMicroStx),
    network,
  }
  const replacement =
    due.orderUuid === undefined
      ? await signFiller(fields)
      : await signBurn({ verifier, uuid: due.orderUuid }, fields)
  services.log('warn', 'order_given_up', { uuid: due.orderUuid, txid: due.txid, reason })
  const rawBox = await encryptTransaction(services, replacement)
  const kind = due.orderUuid === undefined ? 'filler' : 'burn'
  await recordReplacement(services, due, { transaction: replacement, rawBox }, { kind, reason })
}

/** Signs the same transaction with a higher fee, up to the configured ceiling. */
async function bumpFee(pass: ReconcilePass, due: DueTransaction, reason?: string): Promise<void> {
  const { services } = pass
  const operator = operatorOf(services, due)
  const { MAX_FEE_IN_MICRO_STX } = services.config
  const ceiling = MAX_FEE_IN_MICRO_STX * (due.kind === 'swap' ? 1 : CANCELLATION_CEILING)
  const feeInMicroStx = replacementFee(due, ceiling)
  if (operator === undefined || feeInMicroStx === undefined) return reportStuck(pass, due, reason)
  const raw = await services.encryption.decrypt(due.rawBox, transactionLabel(due.txid))
  const replacement = signAgain(raw, { privateKey: operator.privateKey, feeInMicroStx })
  services.log('warn', 'fee_raised', {
    uuid: due.orderUuid,
    txid: replacement.txid,
    feeInMicroStx,
  })
  const rawBox = await encryptTransaction(services, replacement)
  const { kind } = due
  await recordReplacement(
    services,
    due,
    { transaction: replacement, rawBox },
    { kind, reason: null },
  )
}

/** An alarm for the operator: nothing more can be done automatically now. The transaction is checked on. */
function reportStuck(pass: ReconcilePass, due: DueTransaction, reason?: string): Promise<void> {
  pass.services.log('error', 'transaction_stuck', {
    txid: due.txid,
    operator: due.operator,
    kind: due.kind,
    feeInMicroStx: due.feeInMicroStx,
    reason,
  })
  return reschedule(pass, due, { reason })
}

/** Whether a swap's order has ended by its validTo. */
function isOver({ now }: ReconcilePass, { kind, orderEndsAt }: DueTransaction): boolean {
  return kind === 'swap' && orderEndsAt !== undefined && orderEndsAt <= now
}

/** Whether nodes have not had a transaction for so long that waiting on is pointless. */
function isHopeless({ now, services }: ReconcilePass, due: DueTransaction): boolean {
  return (
    due.notFound + 1 >= GIVE_UP_AFTER_NOT_FOUND &&
    now - due.since >= services.config.STUCK_AFTER_SECONDS * 1000
  )
}

async function submit({ services }: ReconcilePass, due: DueTransaction): Promise<SubmitResult> {
  const raw = await services.encryption.decrypt(due.rawBox, transactionLabel(due.txid))
  return services.chain.submit(raw)
}

function reschedule(
  { services }: ReconcilePass,
  due: DueTransaction,
  found: { reason?: string | undefined; isMissing?: boolean } = {},
): Promise<void> {
  const firstMs = Math.max(services.config.RECONCILE_INTERVAL_MS, 1)
  return recordAttempt(services, due, retryPauseMs(due.attempts, firstMs), found)
}

function operatorOf(
  services: SettlementServices,
  due: DueTransaction,
): OperatorAccount | undefined {
  return services.operators.find(due.operator)
}
