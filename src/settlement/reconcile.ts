import { expireOrders } from '../orders/expire.ts'
import { encryptTransaction } from './encrypt.ts'
import { FILLER_FEE_IN_MICRO_STX } from './fees.ts'
import { checkTransaction, type ReconcilePass } from './follow.ts'
import type { OperatorAccount } from './operator.ts'
import { busyOperators, gapsOf, leaseDue } from './outbox.ts'
import { recordFiller } from './record.ts'
import { sendLeaseMs } from './schedule.ts'
import type { SettlementServices } from './services.ts'
import { signFiller } from './transaction.ts'

/** How much one pass does at most, and how much of it at once. */
const MOST_ORDERS = 1_000
const MOST_TRANSACTIONS = 100
const AT_ONCE = 8
/** How many passes go by before an operator with something pending is looked up again: a public API has limits. */
const PASSES_BETWEEN = 5

/** What a pass of the reconciler did. */
export interface Reconciled {
  expired: number
  looked: number
  /** False when there is more to do at once. */
  isDone: boolean
}

/**
 * One pass over all that is under way: expires orders, asks the chain where the operators stand, fills nonces that
 * nothing will use, sends again what is unanswered and follows what was sent until its order has ended. Any number of
 * processes may run passes at once; a Node process runs one every now and then, Workers run one when their cron ticks.
 */
export async function reconcile(services: SettlementServices, now: number): Promise<Reconciled> {
  const expired = await expireOrders(services.db, now, MOST_ORDERS)
  const busy = await busyOperators(services.db)
  await inLanes(
    services.operators.all.filter((one) => isDue(services, one, now, busy.has(one.address))),
    (operator) =>
      guarded(services, 'operator_not_reconciled', () =>
        reconcileOperator(services, operator, now),
      ),
  )

  const leasedUntil = now + sendLeaseMs(services.config.NODE_TIMEOUT_MS)
  const due = await leaseDue(services.db, now, leasedUntil, MOST_TRANSACTIONS)
  let height: Promise<number | undefined> | undefined
  const pass: ReconcilePass = {
    services,
    now,
    height() {
      height ??= services.chain.height()
      return height
    },
  }
  await inLanes(
    due.toSorted((a, b) => a.nonce - b.nonce),
    (one) => guarded(services, 'transaction_not_looked_at', () => checkTransaction(pass, one)),
  )
  return {
    expired,
    looked: due.length,
    isDone: due.length < MOST_TRANSACTIONS && expired < MOST_ORDERS,
  }
}

/** Every operator once, when the process starts; those of which something is pending now and then. */
function isDue(
  services: SettlementServices,
  operator: OperatorAccount,
  now: number,
  isBusy: boolean,
): boolean {
  const last = operator.reconciledAt()
  if (last === undefined) return true
  return isBusy && now - last >= services.config.RECONCILE_INTERVAL_MS * PASSES_BETWEEN
}

async function reconcileOperator(
  services: SettlementServices,
  operator: OperatorAccount,
  now: number,
): Promise<void> {
  const standing = await operator.reconcile(now)
  if (standing === undefined) return
  const { address, privateKey } = operator
  for (const nonce of await gapsOf(services.db, address, standing)) {
    const filler = await signFiller({
      privateKey,
      nonce,
      feeInMicroStx: FILLER_FEE_IN_MICRO_STX,
      network: services.config.STACKS_NETWORK,
    })
    services.log('warn', 'nonce_filled', { operator: address, nonce, txid: filler.txid })
    const sealed = { transaction: filler, rawBox: await encryptTransaction(services, filler) }
    await recordFiller(services.db, address, sealed, now)
  }
}

/** What goes wrong with one does not keep the others waiting: its lease ends, and it is taken up again. */
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

/** One after another in the order given, several at once. */
async function inLanes<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const waiting = all.values()
  const lane = async () => {
    for (const one of waiting) await work(one)
  }
  await Promise.all(Array.from({ length: AT_ONCE }, lane))
}
