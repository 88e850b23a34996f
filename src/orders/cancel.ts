import { and, eq, sql } from 'drizzle-orm'
import { consumeMessage } from '../actions/consume.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import type { OrderRow } from '../db/order-row.ts'
import { orders } from '../db/schema.ts'
import { timestamptz } from '../db/time.ts'
import { countSuccess } from '../gate/admit.ts'
import { ok, type Result, refuse } from '../result.ts'
import { authorizeOrder, type Caller, type OrderReason } from './authorize.ts'
import { findOrder } from './find.ts'
import { isOpenSql } from './lifecycle.ts'
import type { OrderServices } from './services.ts'

type CancelReason = OrderReason | 'messageReplayed'

/**
 * Cancels an open order: this service will not execute it. The signed intent stays valid on chain for any holder of the
 * signature.
 */
export async function cancelOrder(
  services: OrderServices,
  uuid: string,
  caller: Caller,
  now: number,
): Promise<Result<OrderRow, CancelReason>> {
  const cancelled =
    caller.by === 'key'
      ? await cancel(services.db, uuid, caller, now)
      : await atomically<OrderRow, CancelReason>(services.db, async (tx) => {
          const consumed = await consumeMessage(tx, caller.action, now)
          return consumed.ok ? cancel(tx, uuid, caller, now) : consumed
        })
  if (cancelled.ok) {
    services.log('info', 'order_cancelled', { uuid, by: caller.by })
    return cancelled
  }
  if (cancelled.reason !== 'orderNotOpen') return cancelled
  const row = await findOrder(services, uuid)
  if (row === undefined) return refuse('orderNotFound')
  const authorized = authorizeOrder(row, caller, now, 'cancel')
  return authorized.ok ? cancelled : authorized
}

/** One guarded statement: of concurrent cancels and executes, one succeeds. */
async function cancel(
  db: Database,
  uuid: string,
  caller: Caller,
  now: number,
): Promise<Result<OrderRow, 'orderNotOpen'>> {
  const change = db
    .update(orders)
    .set({ status: 'cancelled', cancelledAt: new Date(now) })
    .where(
      and(
        eq(orders.uuid, uuid),
        eq(orders.owner, caller.walletAddress),
        isOpenSql(timestamptz(now)),
        caller.by === 'key' && caller.rights.ownOrdersOnly
          ? eq(orders.createdBy, caller.keyId)
          : undefined,
      ),
    )
    .returning()
  const cancelled = db.$with('cancelled').as(change)
  const event = db.$with('event', {}).as(insertOrderEvent(sql`cancelled`, now))
  const also =
    caller.by === 'wallet'
      ? []
      : [
          db
            .$with('counted', {})
            .as(countSuccess(caller.keyId, sql`cancelled`, 'cancellation_count')),
        ]
  const [row] = await db
    .with(cancelled, event, ...also)
    .select()
    .from(cancelled)
  return row === undefined ? refuse('orderNotOpen') : ok(row)
}

/** Cancels every open order of a wallet, in the caller's transaction; returns how many. */
export async function cancelOpenOrdersOf(
  tx: Database,
  owner: string,
  now: number,
): Promise<number> {
  const at = timestamptz(now)
  const cancelled = await rows(
    tx,
    sql`WITH cancelled AS (
        UPDATE orders SET status = 'cancelled', cancelled_at = ${at}
        WHERE owner = ${owner} AND ${isOpenSql(at)}
        RETURNING uuid, status
      ), event AS (${insertOrderEvent(sql`cancelled`, now)})
      SELECT uuid FROM cancelled`,
  )
  return cancelled.length
}
