import type { AuditHead } from '../audit/event.ts'

/** The prefix of a session's secret. */
export const SESSION_PREFIX = 'cs_'
export const MAX_SESSION_SECONDS = 3_600

/** The response that opens a session: the only one that has `session`. */
export interface CreatedSession {
  status: 'success'
  /** `cs_` + 43 base62 characters, of which 4 name the shard of the wallet, + a 6 character checksum. It may read and change nothing. */
  session: string
  walletAddress: string
  /** ISO 8601. */
  expiresAt: string
  /** The event of the wallet's audit that the session appended. */
  auditHead: AuditHead
}

/** A session as its row says it is. Times are milliseconds since 1970, hashes are hex. */
export interface SessionRow {
  id: string
  secretHash: string
  walletAddress: string
  grantId: number
  expiresAt: number
  endedAt: number | null
}

/**
 * The text that a session's `mac` covers. `endedAt` is not part of it: an edit of the database could revive a session only
 * until it expires, and only to read what the same access to the database reads anyway.
 */
export function sessionText(row: Omit<SessionRow, 'endedAt'>): string {
  return JSON.stringify([
    'session 1',
    row.id,
    row.secretHash,
    row.walletAddress,
    row.grantId,
    row.expiresAt,
  ])
}
