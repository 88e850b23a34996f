/** How a session's secret begins. */
export const SESSION_PREFIX = 'cs_'
export const MAX_SESSION_SECONDS = 3_600

/** The answer that creates a session: the only one, ever, that holds `session`. */
export interface CreatedSession {
  status: 'success'
  /** `cs_` + 43 base62 characters + a 6 character checksum. It reads, and changes nothing. */
  session: string
  walletAddress: string
  /** ISO 8601. */
  expiresAt: string
}

/** What gives a session its rights, as its `mac` covers it. */
export interface SessionRow {
  id: string
  secretHash: string
  walletAddress: string
  grantId: number
  expiresAt: number
  endedAt: number | null
}

/** The text that a session's `mac` is made of. That it has not ended is not part of it: ending takes nothing but a time. */
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
