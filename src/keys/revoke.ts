import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { consumeMessage } from '../actions/consume.ts'
import { atomically } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import { changeKeys, type LockedKey, lockKey, lockKeys, ownerEntry } from './change.ts'
import { walletOf } from './find.ts'
import { endReason, isPast } from './liveness.ts'
import type { KeyHash } from './secret.ts'
import type { KeyServices } from './services.ts'

type RevokeReason = 'messageReplayed' | 'keyNotFound'
type RevokeSelfReason = 'apiKeyInvalid' | 'apiKeyInactive'

interface RevokedSelf {
  keyId: string
  walletAddress: string
  name: string
}

/**
 * Revokes a key permanently: with a fresh delete_api_key, or with a revoke_api_key certificate that its owner kept.
 * Idempotent: revoking a revoked key succeeds. A key whose row was edited is revoked as well.
 */
export async function revokeKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string }>,
  now: number,
): Promise<Result<{ name: string }, RevokeReason>> {
  const { walletAddress, members } = action
  const { keyId } = members
  const revoked = await atomically<{ name: string }, RevokeReason>(services.db, async (tx) => {
    const consumed = await consumeMessage(tx, action, now)
    if (!consumed.ok) return consumed
    const key = await lockKey(tx, services, walletAddress, keyId)
    if (key === undefined) return refuse('keyNotFound')
    const entry = ownerEntry(action, consumed.value, keyId, now)
    await changeKeys(tx, services, [key], revocationSql(now), entry)
    return ok({ name: key.rights.name })
  })
  if (revoked.ok) services.log('info', 'api_key_revoked', { keyId, walletAddress })
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
): Promise<Result<RevokedSelf, RevokeSelfReason>> {
  const bytes = sql`decode(${hash}, 'hex')`
  const hasHash = sql`(key_hash = ${bytes} OR previous_key_hash = ${bytes})`
  const revoked = await atomically<RevokedSelf, RevokeSelfReason>(services.db, async (tx) => {
    const walletAddress = await walletOf(tx, hasHash)
    if (walletAddress === undefined) return refuse('apiKeyInvalid')
    await lockWallet(tx, walletAddress)
    const [key] = await lockKeys(tx, services, walletAddress, hasHash)
    if (key === undefined) return refuse('apiKeyInvalid')
    const reason = secretEndReason(key, hash, now)
    if (reason !== undefined) return refuse('apiKeyInactive', { reason })
    const { id: keyId, name } = key.rights
    await changeKeys(tx, services, [key], revocationSql(now), {
      event: 'delete_api_key',
      walletAddress,
      keyId,
      actor: 'key',
      at: now,
    })
    return ok({ keyId, walletAddress, name })
  })
  if (revoked.ok) {
    const { keyId, walletAddress } = revoked.value
    services.log('info', 'api_key_revoked', { keyId, walletAddress })
  }
  return revoked
}

/** Why a secret has ended: with its key, or with the grace of the rotation that replaced it. */
function secretEndReason({ rights }: LockedKey, hash: KeyHash, now: number): string | undefined {
  const isRotated = rights.keyHash !== hash && isPast(rights.previousUntil ?? 0, now)
  return endReason(rights, now) ?? (isRotated ? 'rotated' : undefined)
}

/** The assignment that revokes a key; a key that was revoked before keeps its time. */
export function revocationSql(now: number): SQL {
  return sql`revoked_at = coalesce(revoked_at, ${timestamptz(now)})`
}
