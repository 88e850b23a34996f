import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { HeadMember } from '../audit/event.ts'
import { walletShard } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type ChangeReason, changeLiveKey } from './change.ts'
import type { RotatedKey } from './key.ts'
import { isPast } from './liveness.ts'
import { encryptMacKey } from './mac-key.ts'
import { hashSecret, makeSecret, previewOf, RANDOM_BYTES } from './secret.ts'
import type { KeyServices } from './services.ts'

/**
 * Gives a key a new secret. The old one works until the grace ends, and never beyond the key's own end; both are one key
 * with one quota. Without grace the old hash is dropped, so that no clock decides. A rotation within the grace of another one
 * would end the secret that is in use, as when the first response was lost and the call is repeated: it needs `force`.
 */
export async function rotateKey(
  services: KeyServices,
  action: SignedAction<
    { keyId: string; graceSeconds: number; force?: boolean | undefined } & HeadMember
  >,
  now: number,
): Promise<Result<RotatedKey, ChangeReason>> {
  const { keyId, graceSeconds, force } = action.members
  const hasGrace = graceSeconds > 0
  const { KEY_PREFIX } = services.config
  const apiKey = makeSecret(
    KEY_PREFIX,
    walletShard(action.walletAddress),
    services.randomBytes(RANDOM_BYTES),
  )
  const keyHash = hashSecret(apiKey)
  let previousUntil = now + graceSeconds * 1000
  const rotated = await changeLiveKey(
    services,
    action,
    keyId,
    now,
    async (_, { rights, hasMacKey }) => {
      if (rights.publicKey !== null)
        return refuse('invalidRequest', {
          problem:
            'the key has a public key and no secret: sign update_api_key with another publicKey',
        })
      const graceEnd = rights.previousKeyHash === null ? null : rights.previousUntil
      if (graceEnd !== null && !isPast(graceEnd, now) && force !== true)
        return refuse('rotationInGrace', { previousUntil: new Date(graceEnd).toISOString() })
      previousUntil = Math.min(previousUntil, rights.expiresAt ?? previousUntil)
      const previous = hasGrace
        ? sql`previous_key_hash = key_hash, previous_mac_key_box = mac_key_box, previous_until = ${timestamptz(previousUntil)}`
        : sql`previous_key_hash = NULL, previous_mac_key_box = NULL, previous_until = NULL`
      const macKeyBox = hasMacKey
        ? await encryptMacKey(services.encryption, { secret: apiKey, keyId, keyHash })
        : null
      return ok(
        sql`${previous}, key_hash = decode(${keyHash}, 'hex'), mac_key_box = decode(${macKeyBox}::text, 'hex'),
          key_preview = ${previewOf(KEY_PREFIX, apiKey)}`,
      )
    },
    // A replay tells by it that the old hash was dropped, which an earlier release kept.
    { keyHash, ...(!hasGrace && { previousUntil: null }) },
  )
  if (!rotated.ok) return rotated
  return ok({
    status: 'success',
    apiKey,
    keyId,
    previousUntil: new Date(previousUntil).toISOString(),
    auditHead: rotated.value,
  })
}
