/** What decides whether a key is live. Times are milliseconds since 1970. */
export interface KeyTimes {
  revokedAt: number | null
  suspendedAt: number | null
  expiresAt: number | null
}

/** Why a key is refused at a time; undefined while it is active. src/keys/liveness-sql.ts is the same rule in SQL. */
export function inactiveReason(
  times: KeyTimes,
  at: number,
): 'revoked' | 'suspended' | 'expired' | undefined {
  if (times.revokedAt !== null) return 'revoked'
  if (times.suspendedAt !== null) return 'suspended'
  return isPast(times.expiresAt, at) ? 'expired' : undefined
}

/** Why a key can never be active again; undefined while it can, even if it is suspended. */
export function endReason(
  times: Omit<KeyTimes, 'suspendedAt'>,
  at: number,
): 'revoked' | 'expired' | undefined {
  if (times.revokedAt !== null) return 'revoked'
  return isPast(times.expiresAt, at) ? 'expired' : undefined
}

/** Whether a moment has come; never for one that is absent. A key and a rotated secret end at the moment itself. */
export function isPast(moment: number | null, at: number): boolean {
  return moment !== null && moment <= at
}
