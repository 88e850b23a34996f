import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { spendAction } from '../actions/spend.ts'
import { appendAudit } from '../audit/append.ts'
import { toBase62 } from '../bytes.ts'
import { atomically, rows } from '../db/database.ts'
import { hashToken, makeToken } from '../keys/token.ts'
import { ok, type Result } from '../result.ts'
import type { World } from '../world.ts'
import { type CreatedSession, SESSION_PREFIX, sessionText } from './session.ts'

/** Gives a wallet a bearer that may read what is the wallet's, for a while. */
export async function createSession(
  world: World,
  action: SignedAction<{ ttlSeconds: number }>,
  now: number,
): Promise<Result<CreatedSession, 'messageReplayed'>> {
  const { walletAddress, members, messageHash } = action
  const session = makeToken(SESSION_PREFIX, world.randomBytes(32))
  const secretHash = hashToken(session)
  const id = `ses_${toBase62(world.randomBytes(12), 17)}`
  const expiresAt = now + members.ttlSeconds * 1000
  const made = await atomically<null, 'messageReplayed'>(world.db, async (tx) => {
    const spent = await spendAction(tx, action, now)
    if (!spent.ok) return spent
    const grantId = spent.value
    const mac = world.mac(sessionText({ id, secretHash, walletAddress, grantId, expiresAt }))
    await rows(
      tx,
      sql`INSERT INTO sessions (id, secret_hash, wallet_address, grant_id, created_at, expires_at, mac)
        VALUES (${id}, decode(${secretHash}, 'hex'), ${walletAddress}, ${grantId}::bigint,
          ${new Date(now).toISOString()}::timestamptz, ${new Date(expiresAt).toISOString()}::timestamptz,
          decode(${mac}, 'hex'))`,
    )
    await appendAudit(tx, {
      event: 'create_session',
      walletAddress,
      actor: 'owner',
      at: now,
      action: { id: grantId, messageHash },
      details: { expiresAt },
    })
    return ok(null)
  })
  if (!made.ok) return made
  world.log('info', 'session_created', { sessionId: id, walletAddress })
  return ok({
    status: 'success',
    session,
    walletAddress,
    expiresAt: new Date(expiresAt).toISOString(),
  })
}
