import { sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import { milliseconds } from '../db/time.ts'
import { expireOrders } from '../orders/expire.ts'
import { watchBalances } from './balances.ts'
import { burnUuids } from './burn.ts'
import { encryptTransaction } from './encrypt.ts'
import { FILLER_FEE_IN_MICRO_STX } from './fees.ts'
import { checkTransaction, type ReconcilePass, withoutBlocked } from './follow.ts'
import type { OperatorAccount } from './operator.ts'
import { leaseDue, nonceGaps, stalledOperators } from './outbox.ts'
import { recordFiller } from './record.ts'
import { sendLeaseMs } from './schedule.ts'
import type { SettlementServices } from './services.ts'
import { type Share, takeShare } from './share.ts'
import { signFiller } from './transaction.ts'

/** What one pass handles, at most, and how many transactions concurrently. */
const MAX_ORDERS = 1_000
const MAX_TRANSACTIONS = 100
const MAX_BURNS = 20
const CONCURRENCY = 8
/** Passes between two look-ups of an operator with pending transactions: public APIs have rate limits. */
const PASSES_PER_LOOK_UP = 5
/** Operators that a pass looks up, at most. */
const MAX_LOOK_UPS = 10

/** The result of one pass. */
export interface Reconciled {
  expired: number
  checked: number
  /** False when more is due already. */
  isDone: boolean
}

/**
 * One pass over everything under way: expires orders, looks up the operators' nonces, fills nonces that no transaction will
 * use, burns uuids, sends unaccepted transactions again and follows the others until their orders have ended. Any number of
 * processes may run passes at once: each does its share.
 */
export async function reconcile(services: SettlementServices): Promise<Reconciled> {
  const share = await takeShare(services)
  await services.operators.read()
  if (share.duties.has('balances'))
    await guarded(services, 'balances_not_read', () => watchBalances(services))
  const expired = share.duties.has('expire') ? await expireOrders(services, MAX_ORDERS) : 0
  await concurrently(await operatorsToLookUp(services, share), (operator) =>
    guarded(services, 'operator_not_reconciled', () => reconcileOperator(services, operator)),
  )
  if (share.duties.has('burn'))
    await guarded(services, 'uuids_not_burnt', () => burnUuids(services, MAX_BURNS))

  const leaseMs = sendLeaseMs(services.config.NODE_TIMEOUT_MS)
  const due = await leaseDue(services, share.operators, leaseMs, MAX_TRANSACTIONS)
  let height: Promise<number | undefined> | undefined
  const pass: ReconcilePass = {
    services,
    now: await readDatabaseTime(services),
    height() {
      height ??= services.chain.height()
      return height
    },
  }
  await concurrently(await withoutBlocked(pass, due), (one) =>
    guarded(services, 'transaction_not_checked', () => checkTransaction(pass, one)),
  )
  return {
    expired,
    checked: due.length,
    isDone: due.length < MAX_TRANSACTIONS && expired < MAX_ORDERS,
  }
}

async function readDatabaseTime({
  db,
  databaseTime,
}: Pick<SettlementServices, 'db' | 'databaseTime'>): Promise<number> {
  const [read] = await rows<{ now: number }>(db, sql`SELECT ${milliseconds(databaseTime())} AS now`)
  return read?.now ?? 0
}

/**
 * Every operator of the share once when the process starts, and every few passes those with pending transactions of which none was seen
 * as mined meanwhile. The longest ago first, up to a number of them.
 */
async function operatorsToLookUp(
  services: SettlementServices,
  share: Share,
): Promise<OperatorAccount[]> {
  const stalledForMs = PASSES_PER_LOOK_UP * services.config.RECONCILE_INTERVAL_MS
  const stalled = await stalledOperators(services, stalledForMs)
  for (const one of services.operators.all) one.countPass()
  const passesOf = (one: OperatorAccount) => one.passesSinceReconciled() ?? Number.POSITIVE_INFINITY
  const isDue = (one: OperatorAccount) =>
    passesOf(one) === Number.POSITIVE_INFINITY ||
    (stalled.has(one.address) && passesOf(one) >= PASSES_PER_LOOK_UP)
  return services.operators.all
    .filter((one) => share.operators.has(one.address) && isDue(one))
    .sort((a, b) => (passesOf(a) < passesOf(b) ? 1 : -1))
    .slice(0, MAX_LOOK_UPS)
}

async function reconcileOperator(
  services: SettlementServices,
  operator: OperatorAccount,
): Promise<void> {
  const nonces = await operator.reconcile()
  if (nonces === undefined) return
  const { address, privateKey } = operator
  for (const nonce of await nonceGaps(services.db, address, nonces)) {
    const filler = await signFiller({
      privateKey,
      nonce,
      feeInMicroStx: FILLER_FEE_IN_MICRO_STX,
      network: services.config.STACKS_NETWORK,
    })
    services.log('warn', 'nonce_filled', { operator: address, nonce, txid: filler.txid })
    const rawBox = await encryptTransaction(services, filler)
    await recordFiller(services, address, { transaction: filler, rawBox })
  }
}

/** An error with one item does not stop the others: its lease expires, and it is retried. */
async function guarded(
  services: SettlementServices,
  event: string,
  work: () => Promise<unknown>,
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
