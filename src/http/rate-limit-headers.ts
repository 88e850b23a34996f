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
  let state = ''
  for (const { name, remaining, resetAt } of windows) {
    if (state !== '') state += ', '
    state += `"${name}";r=${remaining};t=${Math.max(0, Math.ceil(resetAt - second))}`
  }
  return { tight: tightest(windows), policy: policyOf(windows), state }
}

/** Most keys have the same limits: the policy of the last response is that of most others. */
let last: { windows: readonly Window[]; policy: string } | undefined

function policyOf(windows: readonly Window[]): string {
  if (last === undefined || !haveSameLimits(last.windows, windows)) {
    const parts = windows.map(
      ({ name, limit, lengthSeconds }) => `"${name}";q=${limit};w=${lengthSeconds}`,
    )
    last = { windows, policy: parts.join(', ') }
  }
  return last.policy
}

function haveSameLimits(windows: readonly Window[], others: readonly Window[]): boolean {
  if (windows.length !== others.length) return false
  return windows.every(({ name, limit }, at) => {
    const other = others[at] as Window
    return other.name === name && other.limit === limit
  })
}
