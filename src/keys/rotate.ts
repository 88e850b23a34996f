import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { HeadMember } from '../audit/event.ts'
import { timestamptz } from '../db/time.ts'
import { ok, type Result } from '../result.ts'
import { type ChangeReason, changeLiveKey } from './change.ts'
import type { RotatedKey } from './key.ts'
import { hashSecret, makeSecret, previewOf } from './secret.ts'
import type { KeyServices } from './services.ts'

/**
 * Gives a key a new secret. The old one works until the grace ends, and never beyond the key's own end; both are one key
 * with one quota. A rotation within a rotation's grace ends the oldest secret at once.
 */
export async function rotateKey(
  services: KeyServices,
  action: SignedAction<{ keyId: string; graceSeconds: number } & HeadMember>,
  now: number,
): Promise<Result<RotatedKey, ChangeReason>> {
  const { keyId, graceSeconds } = action.members
  const { KEY_PREFIX } = services.config
  const apiKey = makeSecret(KEY_PREFIX, services.randomBytes(32))
  const keyHash = hashSecret(apiKey)
  let previousUntil = now + graceSeconds * 1000
  const rotated = await changeLiveKey(
    services,
    action,
    keyId,
    now,
    async (_, { rights }) => {
      previousUntil = Math.min(previousUntil, rights.expiresAt ?? previousUntil)
      return ok(sql`previous_key_hash = key_hash, previous_until = ${timestamptz(previousUntil)},
        key_hash = decode(${keyHash}, 'hex'), key_preview = ${previewOf(KEY_PREFIX, apiKey)}`)
    },
    { keyHash },
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
