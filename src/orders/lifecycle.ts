import { type SQL, sql } from 'drizzle-orm'
import type { OrderRow } from '../db/order-row.ts'
import { ENDED_STATUSES, ORDER_STATUSES, type OrderStatus, orderHasEnded } from './order.ts'

/** The status at a time. An open order is expired from the moment of validTo on, whether or not that is stored yet. */
export function statusAt(row: Pick<OrderRow, 'status' | 'validTo'>, at: number): OrderStatus {
  const isPast = row.validTo !== null && row.validTo.getTime() <= at
  return row.status === 'open' && isPast ? 'expired' : row.status
}

/** Whether a row of orders is open at a time. */
export function isOpenSql(at: SQL): SQL {
  return sql`orders.status = 'open' AND (orders.valid_to IS NULL OR orders.valid_to > ${at})`
}

/** Whether a row of orders is open, and its validTo has passed. */
export function isOverdueSql(at: SQL): SQL {
  return sql`orders.status = 'open' AND orders.valid_to <= ${at}`
}

/** Whether an order can be executed at a time. */
export function isExecutableSql(at: SQL): SQL {
  return sql`${isOpenSql(at)} AND (orders.valid_from IS NULL OR orders.valid_from <= ${at})`
}

/**
 * Whether an order is stored as ended without having been settled. What it had reserved is released by this alone, never
 * by its validTo: an order that is being executed holds its reservation until it is settled or stored as ended.
 */
export function hasEndedUnsettledSql(): SQL {
  return sql`orders.status IN (${UNSETTLED})`
}

/**
 * Whether an order has ever ended: its events are append-only, and no status that is put back undoes them. `shard` is the order's,
 * where the statement is about one wallet.
 */
export function hasEndedSql(shard: SQL = sql`orders.shard`): SQL {
  return sql`EXISTS (SELECT FROM order_events AS past WHERE past.order_uuid = orders.uuid AND past.shard = ${shard} AND past.status IN (${ENDED}))`
}

/** Whether an order has not ended: open and not overdue, or on its way to the chain. Until it ends, it can move tokens. */
export function isUnendedOrderSql(at: SQL): SQL {
  return sql`orders.status IN (${UNENDED}) AND (${isOverdueSql(at)}) IS NOT TRUE`
}

const ENDED = list(ENDED_STATUSES)
const UNSETTLED = list(ENDED_STATUSES.filter((status) => status !== 'confirmed'))
/** Statuses of orders that have not ended: open, or on their way to the chain. */
export const UNENDED_STATUSES = ORDER_STATUSES.filter((status) => !orderHasEnded(status))
const UNENDED = list(UNENDED_STATUSES)

function list(statuses: readonly OrderStatus[]): SQL {
  return sql.raw(statuses.map((status) => `'${status}'`).join(', '))
}
