import { tightest, type Window } from '../gate/windows.ts'

/** X-RateLimit-* of the binding window, and RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers) of all. */
export function rateLimitHeaders(windows: readonly Window[], now: number): Record<string, string> {
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
