import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { spendAction } from '../actions/spend.ts'
import { fromHex } from '../bytes.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { tellChange } from '../db/order-event.ts'
import { type OrderRow, orderJson, orderOfJson } from '../db/order-row.ts'
import { giveBack, type Reservation, reserve } from '../gate/reserve.ts'
import { countSuccess, succeed } from '../gate/spend.ts'
import { excessOf, perDayOf } from '../keys/limits.ts'
import { presentLimits, type Rights } from '../keys/rights.ts'
import { ok, type Result, refuse } from '../result.ts'
import { proveIntent } from '../stacks/intent.ts'
import type { World } from '../world.ts'
import { findOrder } from './find.ts'
import type { NewOrder } from './order.ts'
import { faultsOf, orderHash } from './terms.ts'

type CreateReason =
  | 'invalidRequest'
  | 'keyOfAnotherWallet'
  | 'recipientNotGranted'
  | 'limitExceeded'
  | 'signatureInvalid'
  | 'messageReplayed'
  | 'orderConflict'

/** What came with an order besides the order: a key's owner, or the owner's word for the recipient. */
export interface OrderCredentials {
  key?: { keyId: string; walletAddress: string; rights: Rights } | undefined
  /** A verified `create_order` message for exactly this order. */
  action?: SignedAction<unknown> | undefined
}

/** Takes an order in. Sending the same order again is answered with the stored one. */
export async function createOrder(
  world: World,
  order: NewOrder,
  { key, action }: OrderCredentials,
  now: number,
): Promise<Result<{ row: OrderRow; created: boolean }, CreateReason>> {
  const { STACKS_NETWORK: network, ROUTER_CONTRACT: router } = world.config
  const { owner, inputToken, amountIn, uuid, signature, recipient = owner } = order
  const issues = faultsOf(order, network)
  if (issues.length > 0)
    return refuse('invalidRequest', { problem: 'order does not fit the network', issues })
  if (key !== undefined && key.walletAddress !== owner)
    return refuse('keyOfAnotherWallet', {
      apiKeyWallet: key.walletAddress,
      orderOwner: owner,
      orderUuid: uuid,
    })
  const { recover } = world
  const intent = proveIntent({
    owner,
    inputToken,
    amountIn,
    uuid,
    router,
    signature,
    network,
    recover,
  })
  if (!intent.ok) return refuse('signatureInvalid', { reason: intent.reason, field: 'signature' })
  const limits = key === undefined ? {} : presentLimits(key.rights)
  const excess = excessOf({ ...order, recipient, createdBy: key?.keyId ?? null }, limits)
  if (excess !== undefined) return refuse('limitExceeded', excess)
  if (recipient !== owner && action === undefined && !limits.recipients?.includes(recipient))
    return refuse('recipientNotGranted', {
      recipient,
      expected: { action: 'create_order', orderHash: orderHash(order), timestamp: now },
    })

  const row: NewRow = {
    uuid,
    owner,
    inputToken,
    outputToken: order.outputToken,
    amountIn,
    recipient,
    targetPrice: order.targetPrice ?? null,
    direction: order.direction ?? null,
    conditionToken: order.conditionToken ?? null,
    baseAsset: order.baseAsset ?? null,
    validFrom: dateOf(order.validFrom),
    validTo: dateOf(order.validTo),
    signatureBox: await world.seal.seal(fromHex(intent.value.rsv), sealName(uuid)),
    createdBy: key?.keyId ?? null,
    createdAt: new Date(now),
  }
  const stored = await store(world, row, { key, action }, now)
  if (stored.ok) {
    world.log('info', 'order_created', { uuid, owner, keyId: key?.keyId })
    return ok({ row: stored.value, created: true })
  }
  const before = await findOrder(world, uuid)
  if (before === undefined || !isSame(before, row)) return stored
  if (key !== undefined) await succeed(world.db, key.keyId)
  return ok({ row: before, created: false })
}

/** The name under which an order's signature is sealed: a box moved to another row does not open. */
export function sealName(uuid: string): string {
  return `order signature ${uuid}`
}

/** What is stored of an order that is new; the rest has defaults. */
type NewRow = Pick<
  OrderRow,
  (typeof SENT_BY_CLIENT)[number] | 'uuid' | 'signatureBox' | 'createdBy' | 'createdAt'
>

type StoreReason = 'messageReplayed' | 'orderConflict' | 'limitExceeded'

/** The order, with the message that vouches for it and with what it takes of the key's day, or nothing at all. */
async function store(
  world: World,
  row: NewRow,
  { key, action }: OrderCredentials,
  now: number,
): Promise<Result<OrderRow, StoreReason>> {
  const reservation = key === undefined ? undefined : reservationOf(row, key, now)
  if (action === undefined && reservation === undefined) return insert(world.db, row, key?.keyId)
  const attempt = () =>
    atomically<OrderRow, StoreReason>(world.db, async (tx) => {
      const spent = action === undefined ? ok(0) : await spendAction(tx, action, now)
      if (!spent.ok) return spent
      const reserved = reservation === undefined ? ok(null) : await reserve(tx, reservation)
      return reserved.ok ? insert(tx, row, key?.keyId) : reserved
    })
  const stored = await attempt()
  const isFull = reservation !== undefined && !stored.ok && stored.reason === 'limitExceeded'
  if (!isFull) return stored
  await giveBack(world.db, reservation)
  return attempt()
}

/** What an order takes of the day of a key that has a limit for it. */
export function reservationOf(
  { uuid, inputToken, amountIn }: Pick<OrderRow, 'uuid' | 'inputToken' | 'amountIn'>,
  { keyId, rights }: { keyId: string; rights: Rights },
  now: number,
): Reservation | undefined {
  const perDay = perDayOf(presentLimits(rights), inputToken)
  return perDay === undefined
    ? undefined
    : { keyId, uuid, token: inputToken, amount: amountIn, perDay, now }
}

/**
 * The order, its first event and the success of the key that brought it, in one statement. Written by hand: drizzle's
 * builder would take longer for it than checking the intent's signature does.
 */
async function insert(
  db: Database,
  row: NewRow,
  keyId: string | undefined,
): Promise<Result<OrderRow, 'orderConflict'>> {
  const at = (time: Date | null) => sql`${time?.toISOString() ?? null}::timestamptz`
  const counted =
    keyId === undefined
      ? sql``
      : sql`, counted AS (${countSuccess(keyId, sql`made`, 'creation_count')})`
  const [made] = await rows<{ order: Record<string, unknown> }>(
    db,
    sql`WITH made AS (
        INSERT INTO orders (uuid, owner, input_token, output_token, amount_in, recipient, target_price, direction,
          condition_token, base_asset, valid_from, valid_to, signature_box, created_by, created_at)
        VALUES (${row.uuid}, ${row.owner}, ${row.inputToken}, ${row.outputToken}, ${row.amountIn}::numeric, ${row.recipient},
          ${row.targetPrice}, ${row.direction}, ${row.conditionToken}, ${row.baseAsset}, ${at(row.validFrom)},
          ${at(row.validTo)}, ${row.signatureBox}::bytea, ${row.createdBy}, ${at(row.createdAt)})
        ON CONFLICT DO NOTHING RETURNING *
      ), told AS (${tellChange(sql`made`, row.createdAt.getTime())})${counted}
      SELECT ${orderJson(sql`made`)} AS "order" FROM made`,
  )
  return made === undefined ? refuse('orderConflict') : ok(orderOfJson(made.order))
}

const SENT_BY_CLIENT = [
  'owner',
  'inputToken',
  'outputToken',
  'amountIn',
  'recipient',
  'targetPrice',
  'direction',
  'conditionToken',
  'baseAsset',
  'validFrom',
  'validTo',
] as const satisfies (keyof OrderRow)[]

function isSame(stored: OrderRow, sent: NewRow): boolean {
  return SENT_BY_CLIENT.every((name) => comparable(stored[name]) === comparable(sent[name]))
}

function comparable(column: string | Date | null | undefined): string | number | null | undefined {
  return column instanceof Date ? column.getTime() : column
}

function dateOf(time: string | undefined): Date | null {
  return time === undefined ? null : new Date(time)
}
