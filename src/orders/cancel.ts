import { and, eq, sql } from 'drizzle-orm'
import { spendAction } from '../actions/spend.ts'
import { atomically, type Database } from '../db/database.ts'
import { tellChange } from '../db/order-event.ts'
import type { OrderRow } from '../db/order-row.ts'
import { orders } from '../db/schema.ts'
import { countSuccess } from '../gate/spend.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'
import { type Caller, judgeOrder, type OrderReason } from './caller.ts'
import { findOrder, stillValid } from './find.ts'

type CancelReason = OrderReason | 'messageReplayed'

/**
 * Closes an open order, so that this service will never execute it. What the owner signed stays valid on chain for
 * whoever else holds the signature.
 */
export async function cancelOrder(
  world: World,
  uuid: string,
  caller: Caller,
  now: number,
): Promise<Result<OrderRow, CancelReason>> {
  const cancelled =
    caller.by === 'key'
      ? await cancel(world.db, uuid, caller, now)
      : await atomically<OrderRow, CancelReason>(world.db, async (tx) => {
          const spent = await spendAction(tx, caller.action, now)
          return spent.ok ? cancel(tx, uuid, caller, now) : spent
        })
  if (cancelled.ok) {
    world.log('info', 'order_cancelled', { uuid, by: caller.by })
    return cancelled
  }
  if (cancelled.reason !== 'orderNotOpen') return cancelled
  const row = await findOrder(world, uuid)
  if (row === undefined) return refuse('orderNotFound')
  const why = judgeOrder(row, caller, now, 'cancel')
  return why.ok ? cancelled : why
}

/** One guarded statement: of two callers, or of this and an execute, one wins. */
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
        eq(orders.status, 'open'),
        stillValid(now),
        caller.by === 'key' && caller.rights.ownOrdersOnly
          ? eq(orders.createdBy, caller.keyId)
          : undefined,
      ),
    )
    .returning()
  const cancelled = db.$with('cancelled').as(change)
  const told = db.$with('told', {}).as(tellChange(sql`cancelled`, now))
  const also =
    caller.by === 'wallet'
      ? []
      : [
          db
            .$with('counted', {})
            .as(countSuccess(caller.keyId, sql`cancelled`, 'cancellation_count')),
        ]
  const [row] = await db
    .with(cancelled, told, ...also)
    .select()
    .from(cancelled)
  return row === undefined ? refuse('orderNotOpen') : ok(row)
}
