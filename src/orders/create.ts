import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { consumeMessage } from '../actions/consume.ts'
import { fromHex } from '../crypto/bytes.ts'
import { signatureLabel } from '../crypto/labels.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import type { OrderRow } from '../db/order-row.ts'
import { shardSql, walletShard } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { recordSuccess } from '../gate/counters.ts'
import { findLimitViolation, perDayOf } from '../keys/limits.ts'
import type { Rights } from '../keys/rights.ts'
import { presentLimits } from '../keys/terms.ts'
import { ok, type Result, refuse } from '../result.ts'
import { proveIntent } from '../stacks/intent.ts'
import { type Reservation, reclaimEnded, reserveAllowance } from './allowance.ts'
import { checkOwner } from './authorize.ts'
import { findOrder } from './find.ts'
import { insertAlone, type NewRow } from './insert.ts'
import { stateText, termsText } from './integrity.ts'
import { hasEndedSql, isUnendedOrderSql } from './lifecycle.ts'
import type { NewOrder } from './order.ts'
import { routeOf } from './router.ts'
import type { OrderServices } from './services.ts'
import { orderHash, validateOrder } from './validate.ts'

type CreateReason =
  | 'invalidRequest'
  | 'keyOfAnotherWallet'
  | 'recipientNotGranted'
  | 'limitExceeded'
  | 'signatureInvalid'
  | 'messageReplayed'
  | 'walletSuspended'
  | 'orderConflict'

/** The credentials of an order besides its intent signature: a key, or the owner's message that names the recipient. */
export interface OrderCredentials {
  key?: { keyId: string; walletAddress: string; rights: Rights } | undefined
  /** A verified `create_order` message for exactly this order. */
  action?: SignedAction<unknown> | undefined
}

/** Stores an order. Idempotent: sending the same order again returns the stored one. */
export async function createOrder(
  services: OrderServices,
  order: NewOrder,
  credentials: OrderCredentials,
  now: number,
): Promise<Result<{ row: OrderRow; created: boolean }, CreateReason>> {
  const { key } = credentials
  const row = await prepareRow(services, order, credentials, now)
  if (!row.ok) return row
  const stored = await store(services, row.value, credentials, now)
  const { uuid, owner } = row.value
  if (stored.ok) {
    services.log('info', 'order_created', { uuid, owner, keyId: key?.keyId })
    return ok({ row: stored.value, created: true })
  }
  if (stored.reason === 'walletSuspended') return stored
  const before = await findOrder(services, uuid, owner)
  if (before === undefined || !isSame(before, row.value)) return stored
  if (key !== undefined) await recordSuccess(services.db, key)
  return ok({ row: await sealUnsealed(services, before, row.value), created: false })
}

/** Validates an order and what authorizes it, and resolves to its row. */
async function prepareRow(
  services: OrderServices,
  order: NewOrder,
  { key, action }: OrderCredentials,
  now: number,
): Promise<Result<NewRow, CreateReason>> {
  const { config, recover, operators } = services
  const { STACKS_NETWORK: network, ROUTERS: routers } = config
  const { owner, inputToken, amountIn, uuid, signature, recipient = owner } = order
  const issues = validateOrder(order, network, {
    enforcesTargetPrice: config.ENFORCE_TARGET_PRICE,
    now,
  })
  if (issues.length > 0)
    return refuse('invalidRequest', { problem: 'order does not fit the network', issues })
  const routed = routeOf(order, {
    network,
    routers,
    operators: operators.active().map(({ address }) => address),
  })
  if (!routed.ok) return routed
  const { router, commitment } = routed.value
  const owned = key === undefined ? ok(null) : checkOwner(order, { by: 'key', ...key })
  if (!owned.ok) return refuse('keyOfAnotherWallet', owned.details)
  const claim = { owner, inputToken, amountIn, uuid, router, signature, network, recover }
  const intent = proveIntent(claim)
  if (!intent.ok)
    return refuse('signatureInvalid', {
      reason: intent.reason,
      field: 'signature',
      ...intent.details,
    })
  const limits = key === undefined ? {} : presentLimits(key.rights)
  const createdBy = key?.keyId ?? null
  const violation = findLimitViolation({ ...order, recipient, createdBy }, limits)
  if (violation !== undefined) return refuse('limitExceeded', violation)
  // A committed order's intent binds the recipient; another one's does not.
  const isGranted =
    recipient === owner ||
    commitment.commitSalt !== null ||
    action !== undefined ||
    limits.recipients?.includes(recipient) === true
  if (!isGranted)
    return refuse('recipientNotGranted', {
      recipient,
      expected: {
        action: 'create_order',
        orderHash: orderHash(order),
        timestamp: now,
        ...(config.SIGNED_DOMAIN !== undefined && { domain: config.SIGNED_DOMAIN }),
      },
    })
  const box = services.encryption.encrypt(fromHex(intent.value.rsv), signatureLabel(uuid))
  const terms = {
    uuid,
    owner,
    shard: walletShard(owner),
    inputToken,
    outputToken: order.outputToken,
    amountIn,
    recipient,
    targetPrice: order.targetPrice ?? null,
    direction: order.direction ?? null,
    conditionToken: order.conditionToken ?? null,
    baseAsset: order.baseAsset ?? null,
    validFrom: dateOf(order.validFrom),
    validTo: dateOf(order.validTo ?? order.deadline),
    routerContract: router,
    ...commitment,
    commitSalt: commitment.commitSalt === null ? null : fromHex(commitment.commitSalt),
    createdBy,
    createdAt: new Date(now),
  }
  return ok({
    ...terms,
    signatureBox: await box,
    termsMac: fromHex(services.mac(termsText(terms))),
    stateMac: fromHex(services.mac(stateText(uuid, 'open'))),
  })
}

type StoreReason = 'messageReplayed' | 'walletSuspended' | 'orderConflict' | 'limitExceeded'

/** Stores the order, consumes its message and uses the key's limits on orders and on amounts of a day, in one transaction. */
async function store(
  services: OrderServices,
  row: NewRow,
  { key, action }: OrderCredentials,
  now: number,
): Promise<Result<OrderRow, StoreReason>> {
  const reservation = key === undefined ? undefined : reservationOf(row, key, now)
  const maxOpenOrders = key?.rights.maxOpenOrders ?? null
  if (action === undefined && reservation === undefined && maxOpenOrders === null)
    return services.insertOrder(row)
  const attempt = () =>
    atomically<OrderRow, StoreReason>(services.db, async (tx) => {
      const consumed = action === undefined ? ok(0) : await consumeMessage(tx, action, now)
      if (!consumed.ok) return consumed
      const room = maxOpenOrders === null ? ok(null) : await checkRoom(tx, row, maxOpenOrders, now)
      if (!room.ok) return room
      const reserved =
        reservation === undefined ? ok(null) : await reserveAllowance(tx, services, reservation)
      return reserved.ok ? insertAlone(tx, row, services.distribution) : reserved
    })
  const stored = await attempt()
  const isDayFull = !stored.ok && stored.details?.limit === 'maxAmountIn.perDay'
  if (reservation === undefined || !isDayFull) return stored
  await reclaimEnded(services, reservation)
  return attempt()
}

/**
 * Refuses a key that has as many unended orders as maxOpenOrders allows. The orders themselves are counted, so one that ends in
 * any way makes room at once, also one that expired and is not stored as expired yet. The wallet's lock is held until the
 * transaction ends, and is a statement of its own: the count then has a snapshot in which every order of an earlier holder is
 * committed. It is not the key's row, because the gate would wait for that one, with the requests of other keys.
 */
async function checkRoom(
  tx: Database,
  { owner, createdBy }: NewRow,
  maxOpenOrders: number,
  now: number,
): Promise<Result<null, 'limitExceeded'>> {
  await lockWallet(tx, owner)
  const [unended] = await rows<{ orders: number }>(
    tx,
    sql`SELECT count(*)::int AS orders FROM orders
      WHERE created_by = ${createdBy} AND shard = ${shardSql(owner)} AND ${isUnendedOrderSql(timestamptz(now))}`,
  )
  const value = (unended?.orders ?? 0) + 1
  return value <= maxOpenOrders
    ? ok(null)
    : refuse('limitExceeded', { limit: 'maxOpenOrders', value, allowed: maxOpenOrders })
}

/** The reservation that an order needs; undefined when the key has no daily limit for its input token. */
export function reservationOf(
  {
    uuid,
    owner,
    inputToken,
    amountIn,
  }: Pick<OrderRow, 'uuid' | 'owner' | 'inputToken' | 'amountIn'>,
  { keyId, rights }: { keyId: string; rights: Rights },
  now: number,
): Reservation | undefined {
  const perDay = perDayOf(presentLimits(rights), inputToken)
  if (perDay === undefined) return undefined
  const above = rights.alerts?.spendPerHour?.above ?? {}
  const alertAbove = Object.hasOwn(above, inputToken) ? above[inputToken] : undefined
  const of = { keyId, walletAddress: owner, uuid, now }
  return { ...of, token: inputToken, amount: amountIn, perDay, alertAbove }
}

/**
 * Gives an order of a release without MACs its MACs, since its owner's intent was sent again with the very same terms. Its
 * row is as it was compared: a column that changes meanwhile does not fit the MAC.
 */
async function sealUnsealed(
  { db, mac }: OrderServices,
  stored: OrderRow,
  { routerContract }: NewRow,
): Promise<OrderRow> {
  if (stored.termsMac !== null || stored.status !== 'open') return stored
  const row = { ...stored, routerContract }
  const termsMac = mac(termsText(row))
  const stateMac = mac(stateText(row.uuid, 'open'))
  await rows(
    db,
    sql`UPDATE orders SET router_contract = ${routerContract}, terms_mac = decode(${termsMac}, 'hex'), state_mac = decode(${stateMac}, 'hex')
      WHERE uuid = ${row.uuid} AND shard = ${shardSql(row.owner)} AND terms_mac IS NULL AND status = 'open'
        AND NOT ${hasEndedSql(shardSql(row.owner))}`,
  )
  return { ...row, termsMac: fromHex(termsMac), stateMac: fromHex(stateMac) }
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
  'routerContract',
  'minAmountOut',
  'commitUntil',
  'committedBy',
] as const satisfies (keyof OrderRow)[]

/** An order of a release with one router names none. The salt needs no comparison: the uuid depends on it. */
function isSame(stored: OrderRow, sent: NewRow): boolean {
  return SENT_BY_CLIENT.every(
    (name) =>
      comparable(stored[name]) === comparable(sent[name]) ||
      (name === 'routerContract' && stored[name] === null),
  )
}

function comparable(
  column: string | number | Date | null | undefined,
): string | number | null | undefined {
  return column instanceof Date ? column.getTime() : column
}

function dateOf(time: string | undefined): Date | null {
  return time === undefined ? null : new Date(time)
}
