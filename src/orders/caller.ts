import type { SignedAction } from '../actions/action.ts'
import type { OrderRow } from '../db/order-row.ts'
import { type Excess, excessOf, strangeness } from '../keys/limits.ts'
import { presentLimits, type Rights } from '../keys/rights.ts'
import { ok, type Result, refuse } from '../result.ts'
import { statusOf } from './find.ts'

/** Who acts on an order: a bot with its key, or the wallet itself with a signed message. */
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
  | 'keyOfAnotherWallet'
  | 'orderOfAnotherWallet'
  | 'limitExceeded'
  | 'orderNotOpen'
  | 'orderNotYetValid'

/** Steps 8 and 9 of the order of checks: whose order it is, within which limits, and whether it can still be acted on. */
export function judgeOrder(
  row: OrderRow,
  caller: Caller,
  now: number,
  wish: 'execute' | 'cancel',
): Result<OrderRow, OrderReason> {
  if (row.owner !== caller.walletAddress)
    return caller.by === 'key'
      ? refuse('keyOfAnotherWallet', {
          apiKeyWallet: caller.walletAddress,
          orderOwner: row.owner,
          orderUuid: row.uuid,
        })
      : refuse('orderOfAnotherWallet', { orderOwner: row.owner, orderUuid: row.uuid })
  const excess = caller.by === 'key' ? excessOfWish(row, caller, wish) : undefined
  if (excess !== undefined) return refuse('limitExceeded', excess)
  const status = statusOf(row, now)
  if (status !== 'open') return refuse('orderNotOpen', { status })
  if (wish === 'execute' && row.validFrom !== null && row.validFrom.getTime() > now)
    return refuse('orderNotYetValid', { validFrom: row.validFrom.toISOString(), serverTime: now })
  return ok(row)
}

/** Cancelling moves nothing: of the limits, only the one on whose orders it touches is in its way. */
function excessOfWish(
  row: OrderRow,
  { rights, keyId }: { rights: Rights; keyId: string },
  wish: 'execute' | 'cancel',
): Excess | undefined {
  const limits = presentLimits(rights)
  return strangeness(row, limits, keyId) ?? (wish === 'execute' ? excessOf(row, limits) : undefined)
}
