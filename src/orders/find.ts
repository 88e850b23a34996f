import { and, asc, desc, eq, gt, lt, type SQL, sql } from 'drizzle-orm'
import type { Database } from '../db/database.ts'
import type { OrderRow } from '../db/order-row.ts'
import { orderEvents, orders } from '../db/schema.ts'
import { shardSql, walletShard } from '../db/shard.ts'
import { preparedQuery } from '../db/statement.ts'
import { timestamptz } from '../db/time.ts'
import type { Admission } from '../gate/decide.ts'
import { SCOPES } from '../keys/scope.ts'
import { ok, type Result } from '../result.ts'
import { archivedBefore, refuseMissing } from './archived.ts'
import { isOpenSql, isOverdueSql, statusAt } from './lifecycle.ts'
import {
  type Order,
  type OrderChange,
  type OrderEvent,
  type OrderStatus,
  orderHasEnded,
} from './order.ts'
import type { OrderServices } from './services.ts'

/**
 * Finds an order by its uuid, and by its owner where the caller knows it, which then reads one shard. Without the owner all shards are
 * read. On one Postgres a uuid is of one order. Where tables are distributed, another wallet can have used it as well, after the first
 * one had made it known: the order that was stored first is the one that the uuid names.
 */
export async function findOrder(
  services: OrderServices,
  uuid: string,
  owner?: string,
): Promise<OrderRow | undefined> {
  const query = owner === undefined ? orderOfUuid : orderOfOwner
  const [row] = await query(services.db).execute({
    uuid,
    ...(owner !== undefined && { owner, shard: walletShard(owner) }),
  })
  return row
}

const orderOfUuid = preparedQuery((db) =>
  db
    .select()
    .from(orders)
    .where(eq(orders.uuid, sql.placeholder('uuid')))
    .orderBy(asc(orders.sequence))
    .limit(1)
    .prepare('order_of_uuid'),
)

const orderOfOwner = preparedQuery((db) =>
  db
    .select()
    .from(orders)
    .where(
      and(
        eq(orders.uuid, sql.placeholder('uuid')),
        eq(orders.owner, sql.placeholder('owner')),
        eq(orders.shard, sql.placeholder('shard')),
      ),
    )
    .prepare('order_of_owner'),
)

function isOfOwner(owner: string): SQL {
  return sql`${orders.owner} = ${owner} AND ${orders.shard} = ${shardSql(owner)}`
}

export async function getOrder(
  services: OrderServices,
  uuid: string,
  owner?: string,
): Promise<Result<OrderRow, 'orderNotFound' | 'orderArchived'>> {
  const row = await findOrder(services, uuid, owner)
  return row === undefined ? refuseMissing(services.db, uuid, owner) : ok(row)
}

/** The events of an order after an id, oldest first. */
export async function eventsOf(
  services: OrderServices,
  { uuid, shard }: Pick<OrderRow, 'uuid' | 'shard'>,
  after = 0,
  limit = 100,
): Promise<OrderEvent[]> {
  return services.db
    .select({
      id: orderEvents.id,
      status: orderEvents.status,
      at: orderEvents.at,
      details: orderEvents.details,
    })
    .from(orderEvents)
    .where(
      and(eq(orderEvents.orderUuid, uuid), eq(orderEvents.shard, shard), gt(orderEvents.id, after)),
    )
    .orderBy(asc(orderEvents.id))
    .limit(limit)
}

export interface OrderListFilter {
  owner?: string | undefined
  status?: OrderStatus | undefined
  limit: number
  cursor?: string | undefined
}

/** An authenticated reader, which is shown the uuids of its wallet's orders. */
export interface OrderViewer {
  walletAddress: string
  /** A key that is shown the uuids of the orders that it created, and of no other. */
  createdBy?: string | undefined
}

/** What a key is shown. One that may neither read its owner's orders nor act on them has no use for their uuids, which spoil orders. */
export function viewerOfKey({
  keyId,
  walletAddress,
  rights: { ownOrdersOnly, permissions },
}: Pick<Admission, 'keyId' | 'walletAddress' | 'rights'>): OrderViewer {
  const isConfined = ownOrdersOnly || !SCOPES.some((scope) => permissions.includes(scope))
  return { walletAddress, createdBy: isConfined ? keyId : undefined }
}

interface OrderPage {
  data: Order[]
  nextCursor?: string
  /** With the last orders of an owner: those that ended before this moment may have left with an archive. */
  archivedBefore?: string | undefined
}

/** A page of orders, newest first. */
export async function listOrders(
  db: Database,
  filter: OrderListFilter,
  viewer: OrderViewer | undefined,
  now: number,
): Promise<OrderPage> {
  const found = await db
    .select()
    .from(orders)
    .where(
      and(
        filter.owner === undefined ? undefined : isOfOwner(filter.owner),
        filter.status === undefined ? undefined : hasStatus(filter, now),
        filter.cursor === undefined ? undefined : lt(orders.sequence, Number(filter.cursor)),
      ),
    )
    .orderBy(desc(orders.sequence))
    .limit(filter.limit + 1)
  const page = found.slice(0, filter.limit)
  const last = page.at(-1)
  return {
    data: page.map((row) => presentInList(row, viewer, now)),
    ...(found.length > page.length && last
      ? { nextCursor: String(last.sequence) }
      : filter.owner !== undefined && { archivedBefore: await archivedBefore(db) }),
  }
}

/** Filters by the status at a time, as `statusAt` decides it. */
function hasStatus({ status, ...filter }: OrderListFilter, now: number): SQL | undefined {
  const at = timestamptz(now)
  if (status === undefined) return undefined
  if (status === 'expired') return isExpired(filter, at)
  return status === 'open' ? isOpenSql(at) : eq(orders.status, status)
}

/**
 * Orders that are stored as expired, and those that are overdue and soon will be. Each has an index of its own; one condition
 * with OR would have neither, and read every expired order for a page.
 */
function isExpired({ owner, limit, cursor }: OrderListFilter, at: SQL): SQL {
  const bounds = and(
    owner === undefined ? undefined : isOfOwner(owner),
    cursor === undefined ? undefined : lt(orders.sequence, Number(cursor)),
  )
  const newest = sql`ORDER BY orders.sequence DESC LIMIT ${limit + 1}::int`
  return sql`orders.sequence IN (
    (SELECT orders.sequence FROM orders WHERE ${and(eq(orders.status, 'expired'), bounds)} ${newest})
    UNION ALL
    (SELECT orders.sequence FROM orders WHERE ${and(isOverdueSql(at), bounds)} ${newest}))`
}

/** Statuses in which a third party that knows the uuid could still burn it before the swap is mined. */
const BURNABLE: readonly OrderStatus[] = ['open', 'executing']

function presentInList(row: OrderRow, viewer: OrderViewer | undefined, now: number): Order {
  const { uuid, ...rest } = presentOrder(row, now)
  const { walletAddress, createdBy = row.createdBy } = viewer ?? {}
  const isShown = walletAddress === row.owner && createdBy === row.createdBy
  return isShown || !BURNABLE.includes(rest.status) ? { uuid, ...rest } : rest
}

/** Presents an order on the wire, without its signature. */
export function presentOrder(row: OrderRow, now: number): Order & { uuid: string } {
  const status = statusAt(row, now)
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
    ...presentCommitment(row),
    status,
    createdAt: row.createdAt.toISOString(),
    ...(row.cancelledAt !== null && { cancelledAt: row.cancelledAt.toISOString() }),
    ...(row.executedAt !== null && { executedAt: row.executedAt.toISOString() }),
    ...(row.failedAt !== null && { failedAt: row.failedAt.toISOString() }),
    ...(row.failureReason !== null && { failureReason: row.failureReason }),
    ...(row.txid !== null && { txid: row.txid }),
    ...chainEnd(row, status, now),
    ...(row.blockHeight !== null && { blockHeight: row.blockHeight }),
    ...(row.confirmedAt !== null && { confirmedAt: row.confirmedAt.toISOString() }),
    ...(row.amountOut !== null && { amountOut: row.amountOut }),
  }
}

/** What a committed order's uuid is derived from, without the salt that keeps it unguessable. */
function presentCommitment({
  routerContract,
  minAmountOut,
  commitUntil,
  committedBy,
}: OrderRow): Pick<Order, 'routerContract' | 'minAmountOut' | 'deadline' | 'executor'> {
  if (routerContract === null || minAmountOut === null || commitUntil === null) return {}
  return {
    routerContract,
    minAmountOut,
    deadline: new Date(commitUntil * 1000).toISOString(),
    ...(committedBy !== null && { executor: committedBy }),
  }
}

/** What an order that has ended unsettled may still become on chain. */
function chainEnd(
  { disclosedAt, uuidUsedAt, burnRequestedAt, commitUntil }: OrderRow,
  status: OrderStatus,
  now: number,
): Pick<Order, 'intentExposed' | 'burn'> {
  if (!orderHasEnded(status) || status === 'confirmed') return {}
  const isGood = uuidUsedAt === null && (commitUntil === null || commitUntil * 1000 > now)
  return {
    ...(disclosedAt !== null && isGood && { intentExposed: true }),
    ...(burnRequestedAt !== null && { burn: uuidUsedAt === null ? 'requested' : 'mined' }),
  }
}

/** Presents an event on the wire, with those details that the order itself shows too. */
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
