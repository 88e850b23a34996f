import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { consumeMessage } from '../actions/consume.ts'
import { atomically } from '../db/database.ts'
import { changeKeys, lockKeys, ownerEntry } from '../keys/change.ts'
import { revocationSql } from '../keys/revoke.ts'
import type { KeyServices } from '../keys/services.ts'
import { cancelOpenOrdersOf } from '../orders/cancel.ts'
import { ok, type Result } from '../result.ts'
import { endSessionsOf } from '../sessions/find.ts'

export interface RevokedAll {
  keyIds: string[]
  cancelledOrders: number
}

/**
 * Revokes every key and ends every session of a wallet in one transaction, with its open orders where the message says so.
 * A key that is created meanwhile is either among the revoked ones, or is created afterwards by a message of its owner.
 */
export async function revokeAll(
  services: Pick<KeyServices, 'db' | 'mac' | 'log'>,
  action: SignedAction<{ cancelOpenOrders: boolean }>,
  now: number,
): Promise<Result<RevokedAll, 'messageReplayed'>> {
  const { walletAddress } = action
  const { cancelOpenOrders } = action.members
  const revoked = await atomically<RevokedAll, 'messageReplayed'>(services.db, async (tx) => {
    const consumed = await consumeMessage(tx, action, now)
    if (!consumed.ok) return consumed
    // Lock order everywhere: orders before keys.
    const cancelledOrders = cancelOpenOrders ? await cancelOpenOrdersOf(tx, walletAddress, now) : 0
    await endSessionsOf(tx, walletAddress, now)
    const keys = await lockKeys(tx, services, walletAddress, sql`revoked_at IS NULL`)
    const keyIds = keys.map(({ rights }) => rights.id)
    const entry = ownerEntry(action, consumed.value, undefined, now, { keyIds, cancelledOrders })
    await changeKeys(tx, services, keys, revocationSql(now), entry)
    return ok({ keyIds, cancelledOrders })
  })
  if (revoked.ok)
    services.log('info', 'api_keys_revoked', { walletAddress, keys: revoked.value.keyIds.length })
  return revoked
}
