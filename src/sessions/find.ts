import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { statement } from '../db/statement.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import type { KeyHash, PresentedSecret } from '../keys/secret.ts'
import type { KeyServices } from '../keys/services.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type SessionRow, sessionText } from './session.ts'

/** The columns of a `SessionRow`, with its MAC in hex. */
export const SESSION_ROW: SQL = sql`id, encode(secret_hash, 'hex') AS "secretHash", wallet_address AS "walletAddress",
  grant_id::float8 AS "grantId", ${milliseconds(sql`expires_at`)} AS "expiresAt",
  ${milliseconds(sql`ended_at`)} AS "endedAt", encode(mac, 'hex') AS mac`

/** Finds the live session of a secret. A session that expired, was ended or whose row was edited is refused. */
export async function findSession(
  services: Pick<KeyServices, 'db' | 'mac' | 'log'>,
  { hash, shard }: PresentedSecret,
  now: number,
): Promise<Result<{ id: string; walletAddress: string }, 'sessionInvalid'>> {
  const [found] =
    shard === undefined
      ? await sessionOfHash(services.db, { hash })
      : await sessionInShard(services.db, { hash, shard })
  if (found === undefined) return refuse('sessionInvalid')
  if (found.endedAt !== null || found.expiresAt <= now)
    return refuse('sessionInvalid', { reason: found.endedAt === null ? 'expired' : 'ended' })
  if (!services.mac.verify(sessionText(found), found.mac)) {
    services.log('error', 'session_tampered', { sessionId: found.id })
    return refuse('sessionInvalid', { reason: 'tampered' })
  }
  const { id, walletAddress } = found
  return ok({ id, walletAddress })
}

const OF_HASH = sql`SELECT ${SESSION_ROW} FROM sessions WHERE secret_hash = decode(${sql.placeholder('hash')}, 'hex')`
/** Visits all shards. Sessions live for an hour, and so are rare once a release has named shards for that long. */
const sessionOfHash = statement<SessionRow & { mac: string }, { hash: KeyHash }>(
  'find_old_session',
  () => OF_HASH,
)
const sessionInShard = statement<SessionRow & { mac: string }, { hash: KeyHash; shard: number }>(
  'find_session',
  () => sql`${OF_HASH} AND shard = ${sql.placeholder('shard')}::int`,
)

/** Ends a session before it expires. Idempotent: a session that was ended before keeps its time. */
export async function endSession(
  services: Pick<KeyServices, 'db'>,
  { id, walletAddress }: { id: string; walletAddress: string },
  now: number,
): Promise<void> {
  await rows(
    services.db,
    sql`UPDATE sessions SET ended_at = coalesce(ended_at, ${timestamptz(now)})
      WHERE id = ${id} AND shard = ${shardSql(walletAddress)}`,
  )
}

/** Ends every session of a wallet, in the caller's transaction. */
export async function endSessionsOf(
  tx: Database,
  walletAddress: string,
  now: number,
): Promise<void> {
  await rows(
    tx,
    sql`UPDATE sessions SET ended_at = ${timestamptz(now)}
      WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)} AND ended_at IS NULL AND expires_at > ${timestamptz(now)}`,
  )
}
