import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { atomically } from '../db/database.ts'
import { changeKeys, lockKeys, ownerEntry } from '../keys/change.ts'
import { revocationSql } from '../keys/revoke.ts'
import type { KeyServices } from '../keys/services.ts'
import { cancelOpenOrdersOf } from '../orders/cancel.ts'
import type { OrderServices } from '../orders/services.ts'
import { ok, type Result } from '../result.ts'
import { endSessionsOf } from '../sessions/find.ts'

type RevokeAllReason = ConsumeReason | 'auditHeadUnknown'

export interface RevokedAll {
  keyIds: string[]
  cancelledOrders: number
  auditHead: AuditHead
}

/**
 * Revokes every key and ends every session of a wallet in one transaction, with its open orders where the message says so.
 * A key that is created meanwhile is either among the revoked ones, or is created afterwards by a message of its owner.
 */
export async function revokeAll(
  services: Pick<KeyServices, 'db' | 'mac' | 'log' | 'keepHead'> &
    Pick<OrderServices, 'databaseTime'>,
  action: SignedAction<{ cancelOpenOrders: boolean } & HeadMember>,
  now: number,
): Promise<Result<RevokedAll, RevokeAllReason>> {
  const { walletAddress } = action
  const { cancelOpenOrders } = action.members
  const revoked = await atomically<RevokedAll, RevokeAllReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    // Lock order everywhere: orders before keys.
    const cancelledOrders = cancelOpenOrders
      ? await cancelOpenOrdersOf(tx, services, walletAddress)
      : 0
    await endSessionsOf(tx, walletAddress, now)
    const keys = await lockKeys(tx, services, walletAddress, sql`revoked_at IS NULL`)
    const keyIds = keys.map(({ rights }) => rights.id)
    const entry = ownerEntry(action, consumed.value, undefined, now, { keyIds, cancelledOrders })
    const auditHead = await changeKeys(tx, services, keys, revocationSql(now), entry)
    return ok({ keyIds, cancelledOrders, auditHead })
  })
  if (!revoked.ok) return revoked
  services.log('info', 'api_keys_revoked', { walletAddress, keys: revoked.value.keyIds.length })
  await services.keepHead(walletAddress, revoked.value.auditHead)
  return revoked
}
