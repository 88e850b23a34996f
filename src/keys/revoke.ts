import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { spendAction } from '../actions/spend.ts'
import { lockWallet } from '../audit/append.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { tellChange } from '../db/order-event.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'
import { changeKeys, lockKey, lockKeys, ownerEntry } from './change.ts'
import type { KeyHash } from './token.ts'
import { endOf } from './update.ts'

type RevokeReason = 'messageReplayed' | 'keyNotFound'

/**
 * Ends a key for ever: by a fresh delete_api_key, or by a revoke_api_key that was signed long ago and kept. Revoking it
 * once more is answered the same.
 */
export async function revokeKey(
  world: World,
  action: SignedAction<{ keyId: string }>,
  now: number,
): Promise<Result<{ name: string }, RevokeReason>> {
  const { keyId } = action.members
  const revoked = await atomically<{ name: string }, RevokeReason>(world.db, async (tx) => {
    const spent = await spendAction(tx, action, now)
    if (!spent.ok) return spent
    const key = await lockKey(tx, world, action.walletAddress, keyId)
    if (key === undefined) return refuse('keyNotFound')
    const entry = ownerEntry(action, spent.value, keyId, now)
    await changeKeys(tx, world, [key], revocation(now), entry)
    return ok({ name: key.rights.name })
  })
  if (revoked.ok)
    world.log('info', 'api_key_revoked', { keyId, walletAddress: action.walletAddress })
  return revoked
}

/**
 * Ends the key whose secret this is: the only thing that a key can do to itself. It asks for no quota and no address, so
 * that a thief who uses them up cannot keep it alive.
 */
export async function revokeSelf(
  world: World,
  hash: KeyHash,
  now: number,
): Promise<Result<{ keyId: string; name: string }, 'apiKeyInvalid' | 'apiKeyInactive'>> {
  return atomically<{ keyId: string; name: string }, 'apiKeyInvalid' | 'apiKeyInactive'>(
    world.db,
    async (tx) => {
      const bytes = sql`decode(${hash}, 'hex')`
      const isIts = sql`(key_hash = ${bytes} OR previous_key_hash = ${bytes})`
      const walletAddress = await walletOf(tx, isIts)
      if (walletAddress === undefined) return refuse('apiKeyInvalid')
      await lockWallet(tx, walletAddress)
      const [key] = await lockKeys(tx, world, walletAddress, isIts)
      if (key === undefined) return refuse('apiKeyInvalid')
      const { id: keyId, name, keyHash, previousUntil } = key.rights
      const isCurrent = keyHash === hash
      const end =
        endOf(key.rights, now) ??
        (!isCurrent && (previousUntil ?? 0) <= now ? 'rotated' : undefined)
      if (end !== undefined) return refuse('apiKeyInactive', { reason: end })
      await changeKeys(tx, world, [key], revocation(now), {
        event: 'delete_api_key',
        walletAddress,
        keyId,
        actor: 'key',
        at: now,
      })
      world.log('info', 'api_key_revoked', { keyId, walletAddress })
      return ok({ keyId, name })
    },
  )
}

export interface Revoked {
  keyIds: string[]
  cancelledOrders: number
}

/** Ends every key and every session of a wallet at once, and with them, if asked, its open orders. */
export async function revokeAll(
  world: World,
  action: SignedAction<{ cancelOpenOrders: boolean }>,
  now: number,
): Promise<Result<Revoked, 'messageReplayed'>> {
  const { walletAddress } = action
  const { cancelOpenOrders } = action.members
  const at = sql`${new Date(now).toISOString()}::timestamptz`
  const revoked = await atomically<Revoked, 'messageReplayed'>(world.db, async (tx) => {
    const spent = await spendAction(tx, action, now)
    if (!spent.ok) return spent
    // Orders before keys, as everywhere: whoever locks both locks them in this order.
    const cancelled = cancelOpenOrders
      ? await rows(
          tx,
          sql`WITH cancelled AS (
              UPDATE orders SET status = 'cancelled', cancelled_at = ${at}
              WHERE owner = ${walletAddress} AND status = 'open' AND (valid_to IS NULL OR valid_to > ${at})
              RETURNING uuid, status
            ), told AS (${tellChange(sql`cancelled`, now)})
            SELECT uuid FROM cancelled`,
        )
      : []
    await rows(
      tx,
      sql`UPDATE sessions SET ended_at = ${at} WHERE wallet_address = ${walletAddress} AND ended_at IS NULL`,
    )
    const keys = await lockKeys(tx, world, walletAddress, sql`revoked_at IS NULL`)
    const keyIds = keys.map(({ rights }) => rights.id)
    const details = { keyIds, cancelledOrders: cancelled.length }
    const entry = ownerEntry(action, spent.value, undefined, now, details)
    await changeKeys(tx, world, keys, revocation(now), entry)
    return ok({ keyIds, cancelledOrders: cancelled.length })
  })
  if (revoked.ok)
    world.log('info', 'api_keys_revoked', { walletAddress, keys: revoked.value.keyIds.length })
  return revoked
}

function revocation(now: number): SQL {
  return sql`revoked_at = coalesce(revoked_at, ${new Date(now).toISOString()}::timestamptz)`
}

async function walletOf(tx: Database, which: SQL): Promise<string | undefined> {
  const [key] = await rows<{ wallet: string }>(
    tx,
    sql`SELECT wallet_address AS wallet FROM api_keys WHERE ${which}`,
  )
  return key?.wallet
}
