import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { spendAction } from '../actions/spend.ts'
import { toBase62 } from '../bytes.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'
import type { CreatedKey } from './key.ts'
import type { KeyGrant } from './schemas.ts'
import { hashToken, makeToken, previewOf } from './token.ts'

type CreateReason = 'invalidRequest' | 'messageReplayed' | 'keyNameTaken' | 'keyLimitReached'

/** Grants a key to the wallet that signed for it. Its secret is in the answer and, from then on, nowhere. */
export async function createKey(
  world: World,
  action: SignedAction<KeyGrant>,
  now: number,
): Promise<Result<CreatedKey, CreateReason>> {
  const { keyName: name, permissions, expiresAt } = action.members
  const expiry = expiresAt === undefined ? null : new Date(expiresAt)
  if (expiry !== null && !(expiry.getTime() > now && expiry.getUTCFullYear() < 10_000))
    return refuse('invalidRequest', {
      issues: [{ path: 'expiresAt', message: 'must be in the future' }],
      serverTime: now,
    })

  const { KEY_PREFIX, MAX_ACTIVE_KEYS_PER_WALLET, RATE_LIMIT_PER_MINUTE } = world.config
  const apiKey = makeToken(KEY_PREFIX, world.randomBytes(32))
  const keyId = `key_${toBase62(world.randomBytes(12), 17)}`
  const at = sql`${new Date(now).toISOString()}::timestamptz`
  const live = sql`FROM api_keys WHERE wallet_address = ${action.walletAddress}
    AND revoked_at IS NULL AND (expires_at IS NULL OR expires_at > ${at})`

  const made = await atomically<null, CreateReason>(world.db, async (tx) => {
    const spent = await spendAction(tx, action, now)
    if (!spent.ok) return spent
    const inserted = await rows(
      tx,
      sql`INSERT INTO api_keys
        (id, key_hash, key_preview, wallet_address, name, permissions, grant_id, created_at, expires_at)
        SELECT ${keyId}, ${hashToken(apiKey)}::bytea, ${previewOf(KEY_PREFIX, apiKey)}, ${action.walletAddress}, ${name},
          ${`{${permissions.join(',')}}`}::text::text[], ${spent.value}::bigint, ${at},
          ${expiry?.toISOString() ?? null}::timestamptz
        WHERE (SELECT count(*) ${live}) < ${MAX_ACTIVE_KEYS_PER_WALLET}::int
          AND NOT EXISTS (SELECT ${live} AND name = ${name})
        RETURNING id`,
    )
    if (inserted.length === 1) return ok(null)
    return (await isTaken(tx, name, live))
      ? refuse('keyNameTaken', { keyName: name })
      : refuse('keyLimitReached', { limit: MAX_ACTIVE_KEYS_PER_WALLET })
  })
  if (!made.ok) return made

  world.log('info', 'api_key_created', { keyId, walletAddress: action.walletAddress })
  return ok({
    status: 'success',
    apiKey,
    keyId,
    name,
    permissions,
    rateLimit: RATE_LIMIT_PER_MINUTE,
    ...(expiry !== null && { expiresAt: expiry.toISOString() }),
    createdAt: new Date(now).toISOString(),
  })
}

async function isTaken(tx: Database, name: string, live: ReturnType<typeof sql>): Promise<boolean> {
  return (await rows(tx, sql`SELECT 1 ${live} AND name = ${name}`)).length > 0
}
