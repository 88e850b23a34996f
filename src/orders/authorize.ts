import type { SignedAction } from '../actions/action.ts'
import type { OrderRow } from '../db/order-row.ts'
import { checkOwnOrdersOnly, findLimitViolation, type LimitViolation } from '../keys/limits.ts'
import type { Rights } from '../keys/rights.ts'
import { presentLimits } from '../keys/terms.ts'
import { ok, type Result, refuse } from '../result.ts'
import { statusAt } from './lifecycle.ts'

/** An authenticated caller that acts on an order: a bot with its key, or the wallet itself with a signed message. */
export type Caller =
  | {
      by: 'key'
      walletAddress: string
      keyId: string
      rights: Rights
      order: OrderRow | undefined
    }
  | { by: 'wallet'; walletAddress: string; action: SignedAction<unknown> }

export type OrderReason =
  | 'orderNotFound'
  | 'orderArchived'
  | 'keyOfAnotherWallet'
  | 'orderOfAnotherWallet'
  | 'limitExceeded'
  | 'orderNotOpen'
  | 'orderNotYetValid'

/** Checks that the wallet that acts, by key or by signature, is the one that owns the order. */
export function checkOwner(
  { owner, uuid }: { owner: string; uuid: string },
  { by, walletAddress }: { by: 'key' | 'wallet'; walletAddress: string },
): Result<null, 'keyOfAnotherWallet' | 'orderOfAnotherWallet'> {
  if (owner === walletAddress) return ok(null)
  return by === 'key'
    ? refuse('keyOfAnotherWallet', {
        apiKeyWallet: walletAddress,
        orderOwner: owner,
        orderUuid: uuid,
      })
    : refuse('orderOfAnotherWallet', { orderOwner: owner, orderUuid: uuid })
}

/** Authorizes a caller for an order: ownership, then the key's limits, then the order's status. */
export function authorizeOrder(
  row: OrderRow,
  caller: Caller,
  now: number,
  operation: 'execute' | 'cancel',
): Result<OrderRow, OrderReason> {
  const owned = checkOwner(row, caller)
  if (!owned.ok) return owned
  const violation = caller.by === 'key' ? operationViolation(row, caller, operation) : undefined
  if (violation !== undefined) return refuse('limitExceeded', violation)
  const status = statusAt(row, now)
  if (status !== 'open')
    return refuse('orderNotOpen', { status, ...(row.txid !== null && { txid: row.txid }) })
  if (operation === 'execute' && row.validFrom !== null && row.validFrom.getTime() > now)
    return refuse('orderNotYetValid', { validFrom: row.validFrom.toISOString(), serverTime: now })
  return ok(row)
}

/** Cancelling moves no tokens, so of the limits only ownOrdersOnly applies to it. */
function operationViolation(
  row: OrderRow,
  { rights, keyId }: { rights: Rights; keyId: string },
  operation: 'execute' | 'cancel',
): LimitViolation | undefined {
  const limits = presentLimits(rights)
  return (
    checkOwnOrdersOnly(row, limits, keyId) ??
    (operation === 'execute' ? findLimitViolation(row, limits) : undefined)
  )
}
