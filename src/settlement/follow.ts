import { transactionLabel } from '../crypto/labels.ts'
import type { ChainStatus } from './chain.ts'
import { encryptTransaction } from './encrypt.ts'
import { replacementFee } from './fees.ts'
import type { OperatorAccount } from './operator.ts'
import { competingTransactions, type DueTransaction } from './outbox.ts'
import {
  type Mined,
  recordAccepted,
  recordAttempt,
  recordMined,
  recordNonceLost,
  recordReorganised,
  recordReplacement,
} from './record.ts'
import {
  GIVE_UP_AFTER,
  nextAttempt,
  nextConfirmationCheck,
  ORPHANED_AFTER_NOT_FOUND,
} from './schedule.ts'
import type { SettlementServices } from './services.ts'
import type { SubmitResult } from './submit-result.ts'
import { signAgain, signFiller } from './transaction.ts'

/** One pass of the reconciler. */
export interface ReconcilePass {
  services: SettlementServices
  now: number
  /** The height of the newest block, looked up at most once a pass. */
  height: () => Promise<number | undefined>
}

/** Checks one transaction: sends it again while no node's acceptance is recorded, else looks up its status. */
export async function checkTransaction(pass: ReconcilePass, due: DueTransaction): Promise<void> {
  if (due.status === 'signed') return applySubmitResult(pass, due, await submit(pass, due))
  await applyChainStatus(pass, due, await pass.services.chain.find(due.txid))
}

/** Handles a node's result for the stored bytes, which may have been sent before. */
async function applySubmitResult(
  pass: ReconcilePass,
  due: DueTransaction,
  result: SubmitResult,
): Promise<void> {
  const { services, now } = pass
  services.log(result.kind === 'accepted' ? 'info' : 'warn', 'transaction_sent_again', {
    uuid: due.orderUuid,
    txid: due.txid,
    result: result.kind,
    reason: result.kind === 'accepted' ? undefined : result.reason,
  })
  switch (result.kind) {
    case 'accepted':
      return due.status === 'signed'
        ? recordAccepted(services.db, due.txid, now, soon(pass))
        : reschedule(pass, due, { isMissing: true })
    case 'refused':
      return cancelByReplacement(pass, due, result.reason)
    case 'nonceTaken':
      return resolveNonceConflict(pass, due, result.reason)
    case 'postponed':
      return result.reason === 'FeeTooLow'
        ? bumpFee(pass, due, result.reason)
        : reschedule(pass, due, { reason: result.reason })
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
  const { services, now } = pass
  if (seen.kind === 'unknown') return reschedule(pass, due)
  if (seen.kind === 'mined') return applyMined(pass, due, seen)
  if (due.status === 'mined') {
    // A lagging node reports it as pending or unknown.
    const isReported = seen.kind === 'orphaned' || seen.kind === 'dropped'
    const isGone = isReported || due.notFound + 1 >= ORPHANED_AFTER_NOT_FOUND
    if (!isGone) return reschedule(pass, due, { isMissing: true })
    services.log('warn', 'transaction_reorganised', { uuid: due.orderUuid, txid: due.txid })
    return recordReorganised(services.db, due, now, now)
  }
  if (due.status === 'outbid') return reschedule(pass, due)
  if (seen.kind === 'pending')
    return isStuck(pass, due) ? bumpFee(pass, due) : reschedule(pass, due, { isMissing: false })
  const reason = seen.kind === 'dropped' ? seen.reason : `dropped_${seen.kind}`
  if (isHopeless(pass, due)) return cancelByReplacement(pass, due, reason)
  await applySubmitResult(pass, due, await submit(pass, due))
}

/** The transaction is in a block. The order ends once that is deep enough; the block is checked for some time after. */
async function applyMined(pass: ReconcilePass, due: DueTransaction, seen: Mined): Promise<void> {
  const { services, now } = pass
  const { CONFIRMATIONS, RECONCILE_INTERVAL_MS } = services.config
  if (due.status === 'signed' || due.status === 'outbid')
    await recordAccepted(services.db, due.txid, now, soon(pass))
  const isElsewhere = seen.height !== due.blockHeight || seen.outcome !== due.outcome
  if (due.status === 'mined' && isElsewhere) await recordReorganised(services.db, due, now, now)
  const isDeep =
    CONFIRMATIONS === 1 || ((await pass.height()) ?? 0) - seen.height + 1 >= CONFIRMATIONS
  const firstMs = Math.max(RECONCILE_INTERVAL_MS, 1)
  const checkAt = isDeep
    ? nextConfirmationCheck(
        now,
        due.minedAt ?? now,
        due.status === 'mined' ? due.attempts : 0,
        firstMs,
      )
    : nextAttempt(now, 0, firstMs)
  await recordMined(services.db, due, seen, { isDeep, checkAt }, now)
  if (due.status !== 'mined')
    services.log('info', 'transaction_mined', {
      uuid: due.orderUuid,
      txid: due.txid,
      kind: due.kind,
      outcome: seen.outcome,
      height: seen.height,
    })
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
  const { services, now } = pass
  const seen = await services.chain.find(due.txid)
  if (seen.kind === 'mined') return applyMined(pass, due, seen)
  if (seen.kind === 'pending' && due.status === 'signed')
    return recordAccepted(services.db, due.txid, now, soon(pass))
  const isPassed = due.chainNonce > due.nonce && seen.kind !== 'pending' && seen.kind !== 'unknown'
  if (!isPassed || !isHopeless(pass, due))
    return reschedule(pass, due, { reason, isMissing: isPassed })
  for (const competing of await competingTransactions(services.db, due)) {
    const { kind } = await services.chain.find(competing)
    if (kind === 'mined' || kind === 'pending' || kind === 'unknown')
      return reschedule(pass, due, { reason, isMissing: true })
  }
  services.log('error', 'nonce_lost', { operator: due.operator, nonce: due.nonce, txid: due.txid })
  await recordNonceLost(services.db, due, now)
}

/**
 * Every node rejects or forgets the transaction, but one may still have it. A filler with a higher fee uses up its nonce:
 * once the filler is mined the order has failed, for this reason; if the swap is mined instead, it has not.
 */
async function cancelByReplacement(
  pass: ReconcilePass,
  due: DueTransaction,
  reason: string,
): Promise<void> {
  const { services, now } = pass
  const operator = operatorOf(services, due)
  if (operator === undefined || due.kind === 'filler') {
    services.log('error', 'transaction_stuck', { txid: due.txid, operator: due.operator, reason })
    return reschedule(pass, due, { reason })
  }
  const filler = await signFiller({
    privateKey: operator.privateKey,
    nonce: due.nonce,
    feeInMicroStx: replacementFee(due.feeInMicroStx),
    network: services.config.STACKS_NETWORK,
  })
  services.log('warn', 'order_given_up', { uuid: due.orderUuid, txid: due.txid, reason })
  const encrypted = { transaction: filler, rawBox: await encryptTransaction(services, filler) }
  await recordReplacement(services.db, due, encrypted, { kind: 'filler', reason }, now)
}

/** Signs the same transaction with a higher fee, up to the configured ceiling. */
async function bumpFee(pass: ReconcilePass, due: DueTransaction, reason?: string): Promise<void> {
  const { services, now } = pass
  const operator = operatorOf(services, due)
  const feeInMicroStx = Math.min(
    replacementFee(due.feeInMicroStx),
    services.config.MAX_FEE_IN_MICRO_STX,
  )
  if (operator === undefined || feeInMicroStx <= due.feeInMicroStx) {
    services.log('error', 'transaction_stuck', { txid: due.txid, operator: due.operator, reason })
    return reschedule(pass, due, { reason })
  }
  const raw = await services.encryption.decrypt(due.rawBox, transactionLabel(due.txid))
  const replacement = signAgain(raw, { privateKey: operator.privateKey, feeInMicroStx })
  services.log('warn', 'fee_raised', { uuid: due.orderUuid, txid: replacement.txid, feeInMicroStx })
  const encrypted = {
    transaction: replacement,
    rawBox: await encryptTransaction(services, replacement),
  }
  await recordReplacement(services.db, due, encrypted, { kind: due.kind, reason: null }, now)
}

/** Only the transaction with the next nonce can be stuck: later ones wait for it. */
function isStuck({ services, now }: ReconcilePass, due: DueTransaction): boolean {
  const { STUCK_AFTER_SECONDS } = services.config
  if (STUCK_AFTER_SECONDS === undefined || due.nonce !== due.chainNonce) return false
  return now - Math.max(due.since, due.chainNonceAt) >= STUCK_AFTER_SECONDS * 1000
}

function isHopeless({ now }: ReconcilePass, due: DueTransaction): boolean {
  return due.notFound + 1 >= GIVE_UP_AFTER.notFound && now - due.since >= GIVE_UP_AFTER.ms
}

async function submit({ services }: ReconcilePass, due: DueTransaction): Promise<SubmitResult> {
  return services.chain.submit(
    await services.encryption.decrypt(due.rawBox, transactionLabel(due.txid)),
  )
}

function reschedule(
  pass: ReconcilePass,
  due: DueTransaction,
  found: { reason?: string | undefined; isMissing?: boolean } = {},
): Promise<void> {
  const firstMs = Math.max(pass.services.config.RECONCILE_INTERVAL_MS, 1)
  return recordAttempt(
    pass.services.db,
    due.txid,
    nextAttempt(pass.now, due.attempts, firstMs),
    found,
  )
}

function soon({ services, now }: ReconcilePass): number {
  return now + services.config.RECONCILE_INTERVAL_MS
}

function operatorOf(
  services: SettlementServices,
  due: DueTransaction,
): OperatorAccount | undefined {
  return services.operators.all.find(({ address }) => address === due.operator)
}
