import { sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import type { KeyHash } from '../keys/token.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'
import { type SessionRow, sessionText } from './session.ts'

/** Whose session this is, while it lasts. */
export async function findSession(
  world: Pick<World, 'db' | 'mac' | 'log'>,
  hash: KeyHash,
  now: number,
): Promise<Result<{ id: string; walletAddress: string }, 'sessionInvalid'>> {
  const [found] = await rows<SessionRow & { mac: string }>(
    world.db,
    sql`SELECT id, encode(secret_hash, 'hex') AS "secretHash", wallet_address AS "walletAddress",
        grant_id::float8 AS "grantId", (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAt",
        (extract(epoch FROM ended_at) * 1000)::float8 AS "endedAt", encode(mac, 'hex') AS mac
      FROM sessions WHERE secret_hash = decode(${hash}, 'hex')`,
  )
  if (found === undefined) return refuse('sessionInvalid')
  if (found.endedAt !== null || found.expiresAt <= now)
    return refuse('sessionInvalid', { reason: found.endedAt === null ? 'expired' : 'ended' })
  if (found.mac !== world.mac(sessionText(found))) {
    world.log('error', 'session_tampered', { sessionId: found.id })
    return refuse('sessionInvalid', { reason: 'tampered' })
  }
  const { id, walletAddress } = found
  return ok({ id, walletAddress })
}

/** Ends a session before its time. */
export async function endSession(
  world: Pick<World, 'db'>,
  { id }: { id: string },
  now: number,
): Promise<void> {
  await rows(
    world.db,
    sql`UPDATE sessions SET ended_at = coalesce(ended_at, ${new Date(now).toISOString()}::timestamptz)
      WHERE id = ${id}`,
  )
}
