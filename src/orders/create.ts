import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { consumeMessage } from '../actions/consume.ts'
import { fromHex } from '../crypto/bytes.ts'
import { signatureLabel } from '../crypto/labels.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import { type OrderRow, orderJson, orderOfJson } from '../db/order-row.ts'
import { countSuccess, succeed } from '../gate/admit.ts'
import { findLimitViolation, perDayOf } from '../keys/limits.ts'
import { presentLimits, type Rights } from '../keys/rights.ts'
import { ok, type Result, refuse } from '../result.ts'
import { proveIntent } from '../stacks/intent.ts'
import { giveBack, type Reservation, reserve } from './allowance.ts'
import { checkOwner } from './authorize.ts'
import { findOrder } from './find.ts'
import type { NewOrder } from './order.ts'
import type { OrderServices } from './services.ts'
import { faultsOf, orderHash } from './validate.ts'

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
  services: OrderServices,
  order: NewOrder,
  { key, action }: OrderCredentials,
  now: number,
): Promise<Result<{ row: OrderRow; created: boolean }, CreateReason>> {
  const { STACKS_NETWORK: network, ROUTER_CONTRACT: router } = services.config
  const { owner, inputToken, amountIn, uuid, signature, recipient = owner } = order
  const issues = faultsOf(order, network)
  if (issues.length > 0)
    return refuse('invalidRequest', { problem: 'order does not fit the network', issues })
  const owned = key === undefined ? ok(null) : checkOwner(order, { by: 'key', ...key })
  if (!owned.ok) return refuse('keyOfAnotherWallet', owned.details)
  const { recover } = services
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
  const excess = findLimitViolation({ ...order, recipient, createdBy: key?.keyId ?? null }, limits)
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
    signatureBox: await services.encryption.encrypt(
      fromHex(intent.value.rsv),
      signatureLabel(uuid),
    ),
    createdBy: key?.keyId ?? null,
    createdAt: new Date(now),
  }
  const stored = await store(services, row, { key, action }, now)
  if (stored.ok) {
    services.log('info', 'order_created', { uuid, owner, keyId: key?.keyId })
    return ok({ row: stored.value, created: true })
  }
  const before = await findOrder(services, uuid)
  if (before === undefined || !isSame(before, row)) return stored
  if (key !== undefined) await succeed(services.db, key.keyId)
  return ok({ row: before, created: false })
}

/** What is stored of an order that is new; the rest has defaults. */
type NewRow = Pick<
  OrderRow,
  (typeof SENT_BY_CLIENT)[number] | 'uuid' | 'signatureBox' | 'createdBy' | 'createdAt'
>

type StoreReason = 'messageReplayed' | 'orderConflict' | 'limitExceeded'

/** The order, with the message that vouches for it and with what it takes of the key's day, or nothing at all. */
async function store(
  services: OrderServices,
  row: NewRow,
  { key, action }: OrderCredentials,
  now: number,
): Promise<Result<OrderRow, StoreReason>> {
  const reservation = key === undefined ? undefined : reservationOf(row, key, now)
  if (action === undefined && reservation === undefined) return insert(services.db, row, key?.keyId)
  const attempt = () =>
    atomically<OrderRow, StoreReason>(services.db, async (tx) => {
      const spent = action === undefined ? ok(0) : await consumeMessage(tx, action, now)
      if (!spent.ok) return spent
      const reserved = reservation === undefined ? ok(null) : await reserve(tx, reservation)
      return reserved.ok ? insert(tx, row, key?.keyId) : reserved
    })
  const stored = await attempt()
  const isFull = reservation !== undefined && !stored.ok && stored.reason === 'limitExceeded'
  if (!isFull) return stored
  await giveBack(services.db, reservation)
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
      ), told AS (${insertOrderEvent(sql`made`, row.createdAt.getTime())})${counted}
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
