import { expireOrders } from '../orders/expire.ts'
import { encryptTransaction } from './encrypt.ts'
import { FILLER_FEE_IN_MICRO_STX } from './fees.ts'
import { checkTransaction, type ReconcilePass } from './follow.ts'
import type { OperatorAccount } from './operator.ts'
import { leaseDue, nonceGaps, operatorsWithPending } from './outbox.ts'
import { recordFiller } from './record.ts'
import { sendLeaseMs } from './schedule.ts'
import type { SettlementServices } from './services.ts'
import { signFiller } from './transaction.ts'

/** What one pass handles, at most, and how many transactions concurrently. */
const MAX_ORDERS = 1_000
const MAX_TRANSACTIONS = 100
const CONCURRENCY = 8
/** Passes between two look-ups of an operator with pending transactions: public APIs have rate limits. */
const PASSES_PER_LOOK_UP = 5

/** The result of one pass. */
export interface Reconciled {
  expired: number
  checked: number
  /** False when more is due already. */
  isDone: boolean
}

/**
 * One pass over everything under way: expires orders, looks up the operators' nonces, fills nonces that no transaction will
 * use, sends unaccepted transactions again and follows the others until their orders have ended. Any number of processes
 * may run passes at once.
 */
export async function reconcile(services: SettlementServices, now: number): Promise<Reconciled> {
  const expired = await expireOrders(services.db, now, MAX_ORDERS)
  const busy = await operatorsWithPending(services.db)
  await concurrently(
    services.operators.all.filter((one) => isDue(services, one, now, busy.has(one.address))),
    (operator) =>
      guarded(services, 'operator_not_reconciled', () =>
        reconcileOperator(services, operator, now),
      ),
  )

  const leasedUntil = now + sendLeaseMs(services.config.NODE_TIMEOUT_MS)
  const due = await leaseDue(services.db, now, leasedUntil, MAX_TRANSACTIONS)
  let height: Promise<number | undefined> | undefined
  const pass: ReconcilePass = {
    services,
    now,
    height() {
      height ??= services.chain.height()
      return height
    },
  }
  await concurrently(
    due.toSorted((a, b) => a.nonce - b.nonce),
    (one) => guarded(services, 'transaction_not_checked', () => checkTransaction(pass, one)),
  )
  return {
    expired,
    checked: due.length,
    isDone: due.length < MAX_TRANSACTIONS && expired < MAX_ORDERS,
  }
}

/** Every operator once when the process starts, and those with pending transactions every few passes. */
function isDue(
  services: SettlementServices,
  operator: OperatorAccount,
  now: number,
  isBusy: boolean,
): boolean {
  const last = operator.reconciledAt()
  if (last === undefined) return true
  return isBusy && now - last >= services.config.RECONCILE_INTERVAL_MS * PASSES_PER_LOOK_UP
}

async function reconcileOperator(
  services: SettlementServices,
  operator: OperatorAccount,
  now: number,
): Promise<void> {
  const standing = await operator.reconcile(now)
  if (standing === undefined) return
  const { address, privateKey } = operator
  for (const nonce of await nonceGaps(services.db, address, standing)) {
    const filler = await signFiller({
      privateKey,
      nonce,
      feeInMicroStx: FILLER_FEE_IN_MICRO_STX,
      network: services.config.STACKS_NETWORK,
    })
    services.log('warn', 'nonce_filled', { operator: address, nonce, txid: filler.txid })
    const encrypted = { transaction: filler, rawBox: await encryptTransaction(services, filler) }
    await recordFiller(services.db, address, encrypted, now)
  }
}

/** An error with one item does not stop the others: its lease expires, and it is retried. */
async function guarded(
  services: SettlementServices,
  event: string,
  work: () => Promise<void>,
): Promise<void> {
  try {
    await work()
  } catch (error) {
    services.log('error', event, { error: error instanceof Error ? error.name : 'unknown' })
  }
}

/** Runs work on items in the given order, several concurrently. */
async function concurrently<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const queue = all.values()
  const worker = async () => {
    for (const one of queue) await work(one)
  }
  await Promise.all(Array.from({ length: CONCURRENCY }, worker))
}
