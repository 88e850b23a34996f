import { sql } from 'drizzle-orm'
import { type ConsumeReason, consumeMessage } from '../actions/consume.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import { type OrderRow, orderJson, orderOfJson } from '../db/order-row.ts'
import { shardSql } from '../db/shard.ts'
import { isSuspendedSql } from '../db/wallet-lock.ts'
import { countSuccess } from '../gate/counters.ts'
import { ok, type Result, refuse } from '../result.ts'
import { refuseMissing } from './archived.ts'
import { authorizeOrder, type Caller, type OrderReason } from './authorize.ts'
import { endOpenOrders } from './end.ts'
import { findOrder } from './find.ts'
import { stateText } from './integrity.ts'
import { hasEndedUnsettledSql, isOpenSql, isOverdueSql } from './lifecycle.ts'
import type { OrderServices } from './services.ts'

type CancelReason = OrderReason | ConsumeReason

export interface CancelOptions {
  /** Requests that the uuid is used up on chain as well, of an order that has ended unsettled too. */
  onChain: boolean
}

/**
 * Cancels an open order: this service will not execute it. The signed intent stays valid on chain until its uuid is used up
 * there, which `onChain` requests.
 */
export async function cancelOrder(
  services: OrderServices,
  uuid: string,
  caller: Caller,
  { onChain }: CancelOptions,
  now: number,
): Promise<Result<OrderRow, CancelReason>> {
  const attempt = async (db: Database): Promise<Result<OrderRow, 'orderNotOpen'>> => {
    const cancelled = await cancel(services, db, uuid, caller, onChain)
    return cancelled.ok || !onChain ? cancelled : requestBurn(services, db, uuid, caller)
  }
  const cancelled =
    caller.by === 'key' && !onChain
      ? await attempt(services.db)
      : await atomically<OrderRow, CancelReason>(services.db, async (tx) => {
          const consumed =
            caller.by === 'key' ? ok(0) : await consumeMessage(tx, caller.action, now)
          return consumed.ok ? attempt(tx) : consumed
        })
  if (cancelled.ok) {
    services.log('info', 'order_cancelled', { uuid, by: caller.by, onChain })
    return cancelled
  }
  if (cancelled.reason !== 'orderNotOpen') return cancelled
  const row =
    (await findOrder(services, uuid, caller.walletAddress)) ?? (await findOrder(services, uuid))
  if (row === undefined) return refuseMissing(services.db, uuid)
  const authorized = authorizeOrder(row, caller, now, 'cancel')
  if (!authorized.ok) return authorized
  return onChain && (await isSuspended(services.db, row.owner))
    ? refuse('walletSuspended')
    : cancelled
}

/** One guarded statement: of concurrent cancels and executes, one succeeds. */
async function cancel(
  { mac, databaseTime }: OrderServices,
  db: Database,
  uuid: string,
  caller: Caller,
  onChain: boolean,
): Promise<Result<OrderRow, 'orderNotOpen'>> {
  const at = databaseTime()
  const isBurnt = onChain ? sql`true` : sql`disclosed_at IS NOT NULL`
  return changed(
    db,
    caller,
    sql`UPDATE orders SET status = 'cancelled', state_mac = decode(${mac(stateText(uuid, 'cancelled'))}, 'hex'),
        cancelled_at = ${at},
        burn_requested_at = CASE WHEN ${isBurnt} AND uuid_used_at IS NULL THEN ${at} ELSE burn_requested_at END
      WHERE uuid = ${uuid} AND ${isOpenSql(at)} AND ${isAllowedSql(caller, onChain)}
      RETURNING *`,
    sql`, event AS (${insertOrderEvent(sql`changed`, at)})`,
  )
}

/** Requests the burn of an order that has ended unsettled. The operator pays for it: a suspended wallet gets none. */
async function requestBurn(
  services: OrderServices,
  tx: Database,
  uuid: string,
  caller: Caller,
): Promise<Result<OrderRow, 'orderNotOpen'>> {
  const at = services.databaseTime()
  const isIts = sql`uuid = ${uuid} AND ${isAllowedSql(caller, true)}`
  const overdue = sql`${isOverdueSql(at)} AND ${isIts}`
  await endOpenOrders(tx, services, 'expired', overdue, {
    shard: shardSql(caller.walletAddress),
    whenLocked: 'wait',
  })
  return changed(
    tx,
    caller,
    sql`UPDATE orders SET burn_requested_at = coalesce(burn_requested_at, ${at})
      WHERE ${isIts} AND ${hasEndedUnsettledSql()} AND uuid_used_at IS NULL
      RETURNING *`,
  )
}

/** Runs an update of one order and counts the key's success with it. */
async function changed(
  db: Database,
  caller: Caller,
  update: ReturnType<typeof sql>,
  also = sql``,
): Promise<Result<OrderRow, 'orderNotOpen'>> {
  const counted =
    caller.by === 'wallet'
      ? sql``
      : sql`, counted AS (${countSuccess(caller.keyId, shardSql(caller.walletAddress), sql`changed`, 'cancellation_count')})`
  const [outcome] = await rows<{ order: Record<string, unknown> }>(
    db,
    sql`WITH changed AS (${update})${also}${counted}
      SELECT ${orderJson(sql`changed`)} AS "order" FROM changed`,
  )
  return outcome === undefined ? refuse('orderNotOpen') : ok(orderOfJson(outcome.order))
}

/** Whether a row of orders is the caller's to cancel. */
function isAllowedSql(caller: Caller, onChain: boolean) {
  const ownOnly =
    caller.by === 'key' && caller.rights.ownOrdersOnly
      ? sql`created_by = ${caller.keyId}`
      : sql`true`
  const { walletAddress } = caller
  return sql`owner = ${walletAddress} AND orders.shard = ${shardSql(walletAddress)} AND ${ownOnly}
    AND ${onChain ? sql`NOT ${isSuspendedSql(walletAddress)}` : sql`true`}`
}

async function isSuspended(db: Database, walletAddress: string): Promise<boolean> {
  const [found] = await rows<{ suspended: boolean }>(
    db,
    sql`SELECT ${isSuspendedSql(walletAddress)} AS suspended`,
  )
  return found?.suspended === true
}

/** Cancels every open order of a wallet, in the caller's transaction; resolves to how many. */
export async function cancelOpenOrdersOf(
  tx: Database,
  services: Pick<OrderServices, 'mac' | 'databaseTime'>,
  owner: string,
): Promise<number> {
  const isOpen = sql`owner = ${owner} AND orders.shard = ${shardSql(owner)} AND ${isOpenSql(services.databaseTime())}`
  const cancelled = await endOpenOrders(tx, services, 'cancelled', isOpen, {
    shard: shardSql(owner),
    whenLocked: 'wait',
  })
  return cancelled.length
}
