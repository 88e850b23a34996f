import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import type { AuditEntry } from '../audit/append.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { atomically, type Database } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import { changeKeys, type LockedKey, lockKey, lockKeys, ownerEntry } from './change.ts'
import { walletOf } from './find.ts'
import { endReason, isPast } from './liveness.ts'
import type { KeyHash, PresentedSecret } from './secret.ts'
import type { KeyServices } from './services.ts'

type RevokeReason = ConsumeReason | 'auditHeadUnknown' | 'keyNotFound'
type RevokeSelfReason = 'apiKeyInvalid' | 'apiKeyInactive'

interface Revoked {
  name: string
  auditHead: AuditHead
}

interface RevokedSelf extends Revoked {
  keyId: string
  walletAddress: string
}

interface SelfRevocation {
  /** Of its event in the audit. */
  details?: AuditEntry['details']
  /** What else the transaction of the revocation does. */
  inTransaction?: (
    tx: Database,
    revoked: Pick<RevokedSelf, 'keyId' | 'walletAddress'>,
  ) => Promise<void>
}

/**
 * Revokes a key permanently: with a fresh delete_api_key, or with a revoke_api_key certificate that its owner kept.
 * Idempotent: revoking a revoked key succeeds. A key whose row was edited is revoked as well.
 */
export async function revokeKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string } & HeadMember>,
  now: number,
): Promise<Result<Revoked, RevokeReason>> {
  const { walletAddress, members } = action
  const { keyId } = members
  const revoked = await atomically<Revoked, RevokeReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    const key = await lockKey(tx, services, walletAddress, keyId)
    if (key === undefined) return refuse('keyNotFound')
    const entry = ownerEntry(action, consumed.value, keyId, now)
    const auditHead = await changeKeys(tx, services, [key], revocationSql(now), entry)
    return ok({ name: key.rights.name, auditHead })
  })
  if (!revoked.ok) return revoked
  services.log('info', 'api_key_revoked', { keyId, walletAddress })
  await services.keepHead(walletAddress, revoked.value.auditHead)
  return revoked
}

/**
 * Revokes the key that has this secret: the only management that a key may do. It takes no quota and checks no address,
 * so that a thief who uses up the quota cannot keep the key alive.
 */
export async function revokeSelf(
  services: KeyServices,
  { hash, shard }: PresentedSecret,
  now: number,
  { details = {}, inTransaction = async () => {} }: SelfRevocation = {},
): Promise<Result<RevokedSelf, RevokeSelfReason>> {
  const bytes = sql`decode(${hash}, 'hex')`
  const hasHash = sql`(key_hash = ${bytes} OR previous_key_hash = ${bytes})`
  const revoked = await atomically<RevokedSelf, RevokeSelfReason>(services.db, async (tx) => {
    const walletAddress = await walletOf(tx, hasHash, shard)
    if (walletAddress === undefined) return refuse('apiKeyInvalid')
    await lockWallet(tx, walletAddress)
    const [key] = await lockKeys(tx, services, walletAddress, hasHash)
    if (key === undefined) return refuse('apiKeyInvalid')
    const reason = secretEndReason(key, hash, now)
    if (reason !== undefined) return refuse('apiKeyInactive', { reason })
    const { id: keyId, name } = key.rights
    const auditHead = await changeKeys(tx, services, [key], revocationSql(now), {
      event: 'delete_api_key',
      walletAddress,
      keyId,
      actor: 'key',
      at: now,
      details,
    })
    await inTransaction(tx, { keyId, walletAddress })
    return ok({ keyId, walletAddress, name, auditHead })
  })
  if (!revoked.ok) return revoked
  const { keyId, walletAddress, auditHead } = revoked.value
  services.log('info', 'api_key_revoked', { keyId, walletAddress })
  await services.keepHead(walletAddress, auditHead)
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
