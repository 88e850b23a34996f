import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import { appendAudit } from '../audit/append.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { toBase62 } from '../crypto/bytes.ts'
import { atomically, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { hashSecret, makeSecret } from '../keys/secret.ts'
import type { KeyServices } from '../keys/services.ts'
import { ok, type Result } from '../result.ts'
import { type CreatedSession, SESSION_PREFIX, sessionText } from './session.ts'

type CreateSessionReason = ConsumeReason | 'auditHeadUnknown'

/** Opens a session for the wallet that signed for it: a short-lived bearer that may read what is the wallet's. */
export async function createSession(
  services: Pick<KeyServices, 'db' | 'mac' | 'log' | 'keepHead' | 'randomBytes'>,
  action: SignedAction<{ ttlSeconds: number } & HeadMember>,
  now: number,
): Promise<Result<CreatedSession, CreateSessionReason>> {
  const { walletAddress, members, messageHash } = action
  const session = makeSecret(SESSION_PREFIX, services.randomBytes(32))
  const secretHash = hashSecret(session)
  const id = `ses_${toBase62(services.randomBytes(12), 17)}`
  const expiresAt = now + members.ttlSeconds * 1000
  const made = await atomically<AuditHead, CreateSessionReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    const grantId = consumed.value
    const mac = services.mac(sessionText({ id, secretHash, walletAddress, grantId, expiresAt }))
    await rows(
      tx,
      sql`INSERT INTO sessions (id, secret_hash, wallet_address, grant_id, created_at, expires_at, mac)
        VALUES (${id}, decode(${secretHash}, 'hex'), ${walletAddress}, ${grantId}::bigint,
          ${timestamptz(now)}, ${timestamptz(expiresAt)},
          decode(${mac}, 'hex'))`,
    )
    const auditHead = await appendAudit(tx, {
      event: 'create_session',
      walletAddress,
      actor: 'owner',
      at: now,
      action: { id: grantId, messageHash },
      details: { expiresAt },
      auditHead: members.auditHead,
    })
    return ok(auditHead)
  })
  if (!made.ok) return made
  services.log('info', 'session_created', { sessionId: id, walletAddress })
  await services.keepHead(walletAddress, made.value)
  return ok({
    status: 'success',
    session,
    walletAddress,
    expiresAt: new Date(expiresAt).toISOString(),
    auditHead: made.value,
  })
}
