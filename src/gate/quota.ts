/** One fixed window, aligned to UTC, as the caller sees it. */
export interface Window {
  name: 'minute' | 'hour' | 'day'
  limit: number
  remaining: number
  /** Unix seconds at which it starts anew. */
  resetAt: number
  lengthSeconds: number
}

export const WINDOW_SECONDS = { minute: 60, hour: 3_600, day: 86_400 } as const

/** The window that binds first: least remaining, on a tie the shortest. */
export function tightest(windows: readonly Window[]): Window | undefined {
  return windows.reduce<Window | undefined>(
    (tight, next) => (tight === undefined || next.remaining < tight.remaining ? next : tight),
    undefined,
  )
}

/** Seconds until every window has room again; at least 1. */
export function retryAfterSeconds(windows: readonly Window[], now: number): number {
  const full = windows.filter((window) => window.remaining <= 0)
  const opens = Math.max(0, ...full.map((window) => window.resetAt))
  return Math.max(1, Math.ceil(opens - now / 1000))
}

/** X-RateLimit-* of the binding window, and the IETF pair (draft-ietf-httpapi-ratelimit-headers) of all. */
export function quotaHeaders(windows: readonly Window[], now: number): Record<string, string> {
  const tight = tightest(windows)
  if (tight === undefined) return {}
  let policy = ''
  let state = ''
  for (const { name, limit, remaining, resetAt, lengthSeconds } of windows) {
    const comma = policy === '' ? '' : ', '
    policy += `${comma}"${name}";q=${limit};w=${lengthSeconds}`
    state += `${comma}"${name}";r=${remaining};t=${Math.max(0, Math.ceil(resetAt - now / 1000))}`
  }
  return {
    'X-RateLimit-Limit': String(tight.limit),
    'X-RateLimit-Remaining': String(tight.remaining),
    'X-RateLimit-Reset': String(tight.resetAt),
    'X-RateLimit-Window': String(tight.lengthSeconds),
    'RateLimit-Policy': policy,
    RateLimit: state,
  }
}
