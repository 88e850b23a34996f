import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { spendAction } from '../actions/spend.ts'
import { atomically, rows } from '../db/database.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'

/** Ends a key for ever. Revoking it once more is answered the same. */
export async function revokeKey(
  world: World,
  action: SignedAction<{ keyId: string }>,
  now: number,
): Promise<Result<{ name: string }, 'messageReplayed' | 'keyNotFound'>> {
  const { keyId } = action.members
  const revoked = await atomically<{ name: string }, 'messageReplayed' | 'keyNotFound'>(
    world.db,
    async (tx) => {
      const spent = await spendAction(tx, action, now)
      if (!spent.ok) return spent
      const [key] = await rows<{ name: string }>(
        tx,
        sql`UPDATE api_keys SET revoked_at = coalesce(revoked_at, ${new Date(now).toISOString()}::timestamptz)
          WHERE id = ${keyId} AND wallet_address = ${action.walletAddress} RETURNING name`,
      )
      return key === undefined ? refuse('keyNotFound') : ok(key)
    },
  )
  if (revoked.ok)
    world.log('info', 'api_key_revoked', { keyId, walletAddress: action.walletAddress })
  return revoked
}
