import { tightest, type Window } from '../gate/windows.ts'

/** What the rate-limit headers say. */
export interface RateLimitValues {
  /** The binding window, for X-RateLimit-*. */
  tight: Window
  /** RateLimit-Policy and RateLimit (draft-ietf-httpapi-ratelimit-headers), of all windows. */
  policy: string
  state: string
}

/** The values of the rate-limit headers, of at least one window. */
export function rateLimitValues(windows: readonly Window[], now: number): RateLimitValues {
  const second = now / 1000
  let policy = ''
  let state = ''
  for (const { name, limit, remaining, resetAt, lengthSeconds } of windows) {
    if (policy !== '') {
      policy += ', '
      state += ', '
    }
    policy += `"${name}";q=${limit};w=${lengthSeconds}`
    state += `"${name}";r=${remaining};t=${Math.max(0, Math.ceil(resetAt - second))}`
  }
  return { tight: tightest(windows), policy, state }
}
