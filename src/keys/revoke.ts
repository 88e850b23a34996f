import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { type ConsumeReason, consumeMessage } from '../actions/consume.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import { changeKeys, lockKey, lockKeys, ownerEntry } from './change.ts'
import { endReason, isPast } from './liveness.ts'
import type { KeyHash } from './secret.ts'
import type { KeyServices } from './services.ts'

type RevokeReason = ConsumeReason | 'keyNotFound'

/**
 * Revokes a key permanently: with a fresh delete_api_key, or with a revoke_api_key certificate that its owner kept.
 * Idempotent: revoking a revoked key succeeds.
 */
export async function revokeKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string }>,
  now: number,
): Promise<Result<{ name: string }, RevokeReason>> {
  const { keyId } = action.members
  const revoked = await atomically<{ name: string }, RevokeReason>(services.db, async (tx) => {
    const spent = await consumeMessage(tx, action, now)
    if (!spent.ok) return spent
    const key = await lockKey(tx, services, action.walletAddress, keyId)
    if (key === undefined) return refuse('keyNotFound')
    const entry = ownerEntry(action, spent.value, keyId, now)
    await changeKeys(tx, services, [key], revocationSql(now), entry)
    return ok({ name: key.rights.name })
  })
  if (revoked.ok)
    services.log('info', 'api_key_revoked', { keyId, walletAddress: action.walletAddress })
  return revoked
}

/**
 * Revokes the key that has this secret: the only management that a key may do. It takes no quota and checks no address,
 * so that a thief who uses up the quota cannot keep the key alive.
 */
export async function revokeSelf(
  services: KeyServices,
  hash: KeyHash,
  now: number,
): Promise<Result<{ keyId: string; name: string }, 'apiKeyInvalid' | 'apiKeyInactive'>> {
  return atomically<{ keyId: string; name: string }, 'apiKeyInvalid' | 'apiKeyInactive'>(
    services.db,
    async (tx) => {
      const bytes = sql`decode(${hash}, 'hex')`
      const isIts = sql`(key_hash = ${bytes} OR previous_key_hash = ${bytes})`
      const walletAddress = await walletOf(tx, isIts)
      if (walletAddress === undefined) return refuse('apiKeyInvalid')
      await lockWallet(tx, walletAddress)
      const [key] = await lockKeys(tx, services, walletAddress, isIts)
      if (key === undefined) return refuse('apiKeyInvalid')
      const { id: keyId, name, keyHash, previousUntil } = key.rights
      const isCurrent = keyHash === hash
      const end =
        endReason(key.rights, now) ??
        (!isCurrent && isPast(previousUntil ?? 0, now) ? 'rotated' : undefined)
      if (end !== undefined) return refuse('apiKeyInactive', { reason: end })
      await changeKeys(tx, services, [key], revocationSql(now), {
        event: 'delete_api_key',
        walletAddress,
        keyId,
        actor: 'key',
        at: now,
      })
      services.log('info', 'api_key_revoked', { keyId, walletAddress })
      return ok({ keyId, name })
    },
  )
}

/** The assignment that revokes a key; a key that was revoked before keeps its time. */
export function revocationSql(now: number): SQL {
  return sql`revoked_at = coalesce(revoked_at, ${timestamptz(now)})`
}

async function walletOf(tx: Database, which: SQL): Promise<string | undefined> {
  const [key] = await rows<{ wallet: string }>(
    tx,
    sql`SELECT wallet_address AS wallet FROM api_keys WHERE ${which}`,
  )
  return key?.wallet
}
