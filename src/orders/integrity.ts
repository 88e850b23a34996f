import { toHex } from '../crypto/bytes.ts'
import type { Mac } from '../crypto/mac.ts'
import type { OrderRow } from '../db/order-row.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { OrderStatus } from './order.ts'
import type { OrderServices } from './services.ts'

/*
 * MACs of orders. A database that can be written to must not be able to redirect, widen or reopen an order: `terms_mac`
 * covers what the owner ordered, `state_mac` the status. Two guards of the claim complete them, because an old status with
 * its old MAC can be put back: an order with a terminal event, and an order with a live transaction, is never claimed; the
 * events are append-only.
 */

/** The columns that an owner's order consists of: none of them ever changes. */
export type OrderTermsRow = Pick<
  OrderRow,
  | 'uuid'
  | 'owner'
  | 'inputToken'
  | 'outputToken'
  | 'amountIn'
  | 'recipient'
  | 'targetPrice'
  | 'direction'
  | 'conditionToken'
  | 'baseAsset'
  | 'validFrom'
  | 'validTo'
  | 'routerContract'
  | 'minAmountOut'
  | 'commitSalt'
  | 'commitUntil'
  | 'committedBy'
  | 'createdBy'
  | 'createdAt'
>

/** The text that `terms_mac` is computed over. */
export function termsText(row: OrderTermsRow): string {
  return JSON.stringify([
    'order terms 1',
    row.uuid,
    row.owner,
    row.inputToken,
    row.outputToken,
    row.amountIn,
    row.recipient,
    row.targetPrice,
    row.direction,
    row.conditionToken,
    row.baseAsset,
    row.validFrom?.getTime() ?? null,
    row.validTo?.getTime() ?? null,
    row.routerContract,
    row.minAmountOut,
    row.commitSalt && toHex(row.commitSalt),
    row.commitUntil,
    row.committedBy,
    row.createdBy,
    row.createdAt.getTime(),
  ])
}

/** The text that `state_mac` is computed over. */
export function stateText(uuid: string, status: OrderStatus): string {
  return JSON.stringify(['order state 1', uuid, status])
}

/** The MACs of an order's possible next statuses as JSON text, for a statement that decides which one it becomes. */
export function stateMacs(mac: Mac, uuid: string, statuses: readonly OrderStatus[]): string {
  return JSON.stringify(
    Object.fromEntries(statuses.map((status) => [status, mac(stateText(uuid, status))])),
  )
}

/** The MACs, in hex, that a row has while it is unchanged; null where it has none. */
export interface AcceptedMacs {
  termsMacs: readonly string[] | null
  stateMacs: readonly string[] | null
}

/** More than one while the encryption key is rotated: a row that got its MAC of another key is the same row. */
export function acceptedMacs({ mac }: Pick<OrderServices, 'mac'>, row: OrderRow): AcceptedMacs {
  return {
    termsMacs: row.termsMac === null ? null : mac.accepted(termsText(row)),
    stateMacs: row.stateMac === null ? null : mac.accepted(stateText(row.uuid, row.status)),
  }
}

/**
 * Checks that an order's row is as the service wrote it. An order of a release without MACs is refused as unsealed, unless
 * the operator has them executed for a time: nothing that is stored tells such an order from an edited one.
 */
export function checkIntegrity(
  { mac, config }: Pick<OrderServices, 'mac' | 'config'>,
  row: OrderRow,
  now: number,
): Result<null, 'orderTampered'> {
  if (row.termsMac === null || row.stateMac === null) {
    const isAccepted = now < Date.parse(config.UNSEALED_ORDERS_UNTIL ?? '')
    return isAccepted ? ok(null) : refuse('orderTampered', { reason: 'unsealed' })
  }
  const isIntact =
    mac.verify(termsText(row), toHex(row.termsMac)) &&
    mac.verify(stateText(row.uuid, row.status), toHex(row.stateMac))
  return isIntact ? ok(null) : refuse('orderTampered', { reason: 'edited' })
}
