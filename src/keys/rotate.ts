import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { type Database, isUniqueViolation, rows } from '../db/database.ts'
import { shardSql, walletShard } from '../db/shard.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type ChangeReason, changeLiveKey } from './change.ts'
import type { RotatedKey } from './key.ts'
import { isPast } from './liveness.ts'
import { isUnendedSql } from './liveness-sql.ts'
import { encryptMacKey } from './mac-key.ts'
import {
  hashSecret,
  type KeyHash,
  makeSecret,
  previewOf,
  RANDOM_BYTES,
  type Secret,
} from './secret.ts'
import type { KeyServices } from './services.ts'

type Rotation = { keyId: string; graceSeconds: number; force?: boolean | undefined } & HeadMember

/** What a rotation did, by the message that asked for it. */
interface Rotated {
  previousUntil: number
  auditHead: AuditHead
}

/**
 * Gives a key a new secret. The old one works until the grace ends, and never beyond the key's own end; both are one key
 * with one quota. Without grace the old hash is dropped, so that no clock decides. A rotation within the grace of another one
 * would end the secret that is in use, as when the first response was lost and the call is repeated: it needs `force`.
 *
 * `ownSecret` is the one that the message names by its hash. The same message then resolves with the same rotation for as long as it
 * is fresh and the key has that secret.
 */
export async function rotateKey(
  services: KeyServices,
  action: SignedAction<Rotation>,
  now: number,
  ownSecret?: Secret,
): Promise<Result<RotatedKey, ChangeReason>> {
  const { keyId } = action.members
  const { KEY_PREFIX } = services.config
  const shard = walletShard(action.walletAddress)
  const apiKey = ownSecret ?? makeSecret(KEY_PREFIX, shard, services.randomBytes(RANDOM_BYTES))
  const keyHash = hashSecret(apiKey)
  const present = ({ previousUntil, auditHead }: Rotated): Result<RotatedKey, never> =>
    ok({
      status: 'success',
      apiKey,
      keyId,
      previousUntil: new Date(previousUntil).toISOString(),
      auditHead,
    })
  const keyPreview = previewOf(KEY_PREFIX, apiKey)
  const rotated = await storeSecret(services, action, { apiKey, keyHash, keyPreview }, now)
  if (rotated.ok) return present(rotated.value)
  const isReplay = rotated.reason === 'messageReplayed' && ownSecret !== undefined
  const before = isReplay ? await rotationBefore(services.db, action, keyHash, now) : undefined
  return before === undefined ? rotated : present(before)
}

async function storeSecret(
  services: KeyServices,
  action: SignedAction<Rotation>,
  { apiKey, keyHash, keyPreview }: { apiKey: Secret; keyHash: KeyHash; keyPreview: string },
  now: number,
): Promise<Result<Rotated, ChangeReason>> {
  const { keyId, graceSeconds, force } = action.members
  const hasGrace = graceSeconds > 0
  let previousUntil = now + graceSeconds * 1000
  const changed = await changeLiveKey(
    services,
    action,
    keyId,
    now,
    async (tx, { rights, hasMacKey }) => {
      if (rights.publicKey !== null)
        return refuse('invalidRequest', {
          problem:
            'the key has a public key and no secret: sign update_api_key with another publicKey',
        })
      // Before the grace: a rotation that took effect and is asked for again is told from the one before it.
      const holders = await holdersOf(tx, action.walletAddress, keyHash)
      if (holders.length > 0) return refuse('secretInUse')
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
          key_preview = ${keyPreview}`,
      )
    },
    // A replay tells by it that the old hash was dropped, which an earlier release kept.
    { keyHash, ...(!hasGrace && { previousUntil: null }) },
    async (tx) => {
      const holders = await holdersOf(tx, action.walletAddress, keyHash)
      return holders.length > 1 ? refuse('secretInUse') : ok(undefined)
    },
  ).catch((error) => {
    // Another wallet of the shard took the secret after `decide` had looked: its holder gave it to both.
    if (isUniqueViolation(error)) return refuse('secretInUse')
    throw error
  })
  return changed.ok ? ok({ previousUntil, auditHead: changed.value }) : changed
}

/** The keys that a secret leads to, or led to before their last rotation. Its shard is the wallet's. */
async function holdersOf(
  tx: Database,
  walletAddress: string,
  keyHash: KeyHash,
): Promise<unknown[]> {
  const hash = sql`decode(${keyHash}, 'hex')`
  const shard = shardSql(walletAddress)
  return rows(
    tx,
    sql`SELECT FROM api_keys WHERE key_hash = ${hash} AND shard = ${shard}
      UNION ALL SELECT FROM api_keys WHERE previous_key_hash = ${hash} AND shard = ${shard}`,
  )
}

/** What this very message did before; undefined where the key has ended or has another secret by now. */
async function rotationBefore(
  db: Database,
  { walletAddress, messageHash, members }: SignedAction<Rotation>,
  keyHash: KeyHash,
  now: number,
): Promise<Rotated | undefined> {
  const shard = shardSql(walletAddress)
  const [rotated] = await rows<{ previousUntil: number } & AuditHead>(
    db,
    sql`SELECT ${milliseconds(sql`coalesce(api_keys.previous_until, asked.accepted_at)`)} AS "previousUntil", made.sequence::int AS sequence, encode(made.hash, 'hex') AS hash
      FROM api_keys
      JOIN signed_actions AS asked ON asked.wallet_address = ${walletAddress} AND asked.message_hash = ${messageHash}::bytea AND asked.shard = ${shard}
      JOIN audit_events AS made ON made.action_id = asked.id AND made.key_id = api_keys.id AND made.shard = ${shard}
      WHERE api_keys.id = ${members.keyId} AND api_keys.key_hash = decode(${keyHash}, 'hex') AND api_keys.shard = ${shard}
        AND api_keys.wallet_address = ${walletAddress} AND ${isUnendedSql(timestamptz(now))}`,
  )
  if (rotated === undefined) return undefined
  const { previousUntil, sequence, hash } = rotated
  return { previousUntil, auditHead: { sequence, hash } }
}
