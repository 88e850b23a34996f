import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import { appendAudit } from '../audit/append.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { toBase62 } from '../crypto/bytes.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { shardSql, walletShard } from '../db/shard.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import { hashSecret, makeSecret, RANDOM_BYTES } from '../keys/secret.ts'
import type { KeyServices } from '../keys/services.ts'
import { ok, type Refused, type Result, refuse } from '../result.ts'
import { type CreatedSession, SESSION_PREFIX, sessionText } from './session.ts'

type CreateSessionReason = ConsumeReason | 'auditHeadUnknown' | 'sessionLimitReached'

/** Sessions of a wallet that have neither ended nor expired. */
export const MAX_SESSIONS_PER_WALLET = 100

/** Opens a session for the wallet that signed for it: a short-lived bearer that may read what is the wallet's. */
export async function createSession(
  services: Pick<KeyServices, 'db' | 'mac' | 'log' | 'keepHead' | 'randomBytes'>,
  action: SignedAction<{ ttlSeconds: number } & HeadMember>,
  now: number,
): Promise<Result<CreatedSession, CreateSessionReason>> {
  const { walletAddress, members, messageHash } = action
  const session = makeSecret(
    SESSION_PREFIX,
    walletShard(walletAddress),
    services.randomBytes(RANDOM_BYTES),
  )
  const secretHash = hashSecret(session)
  const id = `ses_${toBase62(services.randomBytes(12), 17)}`
  const expiresAt = now + members.ttlSeconds * 1000
  const made = await atomically<AuditHead, CreateSessionReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    const grantId = consumed.value
    const mac = services.mac(sessionText({ id, secretHash, walletAddress, grantId, expiresAt }))
    // The message's lock on the wallet makes the guard exact.
    const inserted = await rows(
      tx,
      sql`INSERT INTO sessions (id, secret_hash, wallet_address, shard, grant_id, created_at, expires_at, mac)
        SELECT ${id}, decode(${secretHash}, 'hex'), ${walletAddress}, ${shardSql(walletAddress)}, ${grantId}::bigint,
          ${timestamptz(now)}, ${timestamptz(expiresAt)}, decode(${mac}, 'hex')
        WHERE (SELECT count(*) ${liveSessions(walletAddress, now)}) < ${MAX_SESSIONS_PER_WALLET}::int
        RETURNING id`,
    )
    if (inserted.length === 0) return refuseAnother(tx, walletAddress, now)
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

function liveSessions(walletAddress: string, now: number): SQL {
  return sql`FROM sessions
    WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)} AND ended_at IS NULL AND expires_at > ${timestamptz(now)}`
}

/** Refuses one session more, and names the time at which the first of them ends by itself. */
async function refuseAnother(
  tx: Database,
  walletAddress: string,
  now: number,
): Promise<Refused<'sessionLimitReached'>> {
  const [first] = await rows<{ ends: number }>(
    tx,
    sql`SELECT ${milliseconds(sql`min(expires_at)`)} AS ends ${liveSessions(walletAddress, now)}`,
  )
  const until = new Date(first?.ends ?? now).toISOString()
  return refuse('sessionLimitReached', { limit: MAX_SESSIONS_PER_WALLET, until })
}
