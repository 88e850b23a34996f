import { and, asc, desc, eq, gt, isNull, lt, lte, or, type SQL } from 'drizzle-orm'
import type { OrderRow } from '../db/order-row.ts'
import { orderEvents, orders } from '../db/schema.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'
import type { Order, OrderChange, OrderEvent, OrderStatus } from './order.ts'

export async function findOrder(world: World, uuid: string): Promise<OrderRow | undefined> {
  const [row] = await world.db.select().from(orders).where(eq(orders.uuid, uuid))
  return row
}

export async function getOrder(
  world: World,
  uuid: string,
): Promise<Result<OrderRow, 'orderNotFound'>> {
  const row = await findOrder(world, uuid)
  return row === undefined ? refuse('orderNotFound') : ok(row)
}

/** What became of an order after the event that was seen last, oldest first. */
export async function eventsOf(
  world: World,
  uuid: string,
  after = 0,
  most = 100,
): Promise<OrderEvent[]> {
  return world.db
    .select({
      id: orderEvents.id,
      status: orderEvents.status,
      at: orderEvents.at,
      details: orderEvents.details,
    })
    .from(orderEvents)
    .where(and(eq(orderEvents.orderUuid, uuid), gt(orderEvents.id, after)))
    .orderBy(asc(orderEvents.id))
    .limit(most)
}

export interface OrderFilter {
  owner?: string | undefined
  status?: OrderStatus | undefined
  limit: number
  cursor?: string | undefined
}

/** A page of orders, newest first. `viewer` is the wallet that the caller proved to be; it sees its own uuids. */
export async function listOrders(
  world: World,
  filter: OrderFilter,
  viewer: string | undefined,
  now: number,
): Promise<{ data: Order[]; nextCursor?: string }> {
  const found = await world.db
    .select()
    .from(orders)
    .where(
      and(
        filter.owner === undefined ? undefined : eq(orders.owner, filter.owner),
        filter.status === undefined ? undefined : hasStatus(filter.status, now),
        filter.cursor === undefined ? undefined : lt(orders.sequence, Number(filter.cursor)),
      ),
    )
    .orderBy(desc(orders.sequence))
    .limit(filter.limit + 1)
  const page = found.slice(0, filter.limit)
  const last = page.at(-1)
  return {
    data: page.map((row) => presentInList(row, viewer, now)),
    ...(found.length > page.length && last && { nextCursor: String(last.sequence) }),
  }
}

/** An open order whose time has passed is `expired`, whether or not that is stored yet. */
function hasStatus(status: OrderStatus, now: number): SQL | undefined {
  const at = new Date(now)
  if (status === 'expired')
    return or(eq(orders.status, status), and(eq(orders.status, 'open'), lte(orders.validTo, at)))
  if (status !== 'open') return eq(orders.status, status)
  return and(eq(orders.status, 'open'), stillValid(now))
}

/** The guard that keeps an expired order from being executed or cancelled. */
export function stillValid(now: number): SQL | undefined {
  return or(isNull(orders.validTo), gt(orders.validTo, new Date(now)))
}

export function statusOf(row: OrderRow, now: number): OrderStatus {
  const past = row.validTo !== null && row.validTo.getTime() <= now
  return row.status === 'open' && past ? 'expired' : row.status
}

/** Statuses in which a transaction that burns the uuid could still come first. */
const BURNABLE: readonly OrderStatus[] = ['open', 'executing']

function presentInList(row: OrderRow, viewer: string | undefined, now: number): Order {
  const { uuid, ...rest } = presentOrder(row, now)
  return viewer !== row.owner && BURNABLE.includes(rest.status) ? rest : { uuid, ...rest }
}

/** An order as the wire shows it. Its signature stays behind. */
export function presentOrder(row: OrderRow, now: number): Order & { uuid: string } {
  return {
    uuid: row.uuid,
    owner: row.owner,
    inputToken: row.inputToken,
    outputToken: row.outputToken,
    amountIn: row.amountIn,
    recipient: row.recipient,
    ...(row.targetPrice !== null && { targetPrice: row.targetPrice }),
    ...(row.direction !== null && { direction: row.direction }),
    ...(row.conditionToken !== null && { conditionToken: row.conditionToken }),
    ...(row.baseAsset !== null && { baseAsset: row.baseAsset }),
    ...(row.validFrom !== null && { validFrom: row.validFrom.toISOString() }),
    ...(row.validTo !== null && { validTo: row.validTo.toISOString() }),
    status: statusOf(row, now),
    createdAt: row.createdAt.toISOString(),
    ...(row.cancelledAt !== null && { cancelledAt: row.cancelledAt.toISOString() }),
    ...(row.executedAt !== null && { executedAt: row.executedAt.toISOString() }),
    ...(row.failedAt !== null && { failedAt: row.failedAt.toISOString() }),
    ...(row.failureReason !== null && { failureReason: row.failureReason }),
    ...(row.txid !== null && { txid: row.txid }),
    ...(row.blockHeight !== null && { blockHeight: row.blockHeight }),
    ...(row.confirmedAt !== null && { confirmedAt: row.confirmedAt.toISOString() }),
    ...(row.amountOut !== null && { amountOut: row.amountOut }),
  }
}

/** A change as the wire shows it: of its details, what the order itself would show. */
export function presentEvent(uuid: string, { status, at, details }: OrderEvent): OrderChange {
  const { txid, blockHeight, amountOut, reason } = details ?? {}
  return {
    uuid,
    status,
    at: at.toISOString(),
    ...(typeof txid === 'string' && { txid }),
    ...(typeof blockHeight === 'number' && { blockHeight }),
    ...(typeof amountOut === 'string' && { amountOut }),
    ...(status === 'failed' && typeof reason === 'string' && { failureReason: reason }),
  }
}
