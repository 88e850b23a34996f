const [SECOND, MINUTE, HOUR] = [1_000, 60_000, 3_600_000]

/** Waits after the first failure, the second, and so on: 31 hours in all. After the last one a delivery is given up. */
const RETRY_DELAYS_MS = [
  5 * SECOND,
  30 * SECOND,
  2 * MINUTE,
  15 * MINUTE,
  HOUR,
  3 * HOUR,
  6 * HOUR,
  8 * HOUR,
  12 * HOUR + 30 * MINUTE,
]

/** How often a delivery is attempted, at most. */
export const MAX_ATTEMPTS = RETRY_DELAYS_MS.length + 1
/** The longest that a receiver's Retry-After is waited for. */
const MAX_RETRY_AFTER_MS = 6 * HOUR
/** Up to a fifth more, so that deliveries that failed together are not repeated together. */
const JITTER = 0.2
/** A webhook without a success for so long is disabled. */
export const FAILING_MS = 3 * 24 * HOUR

/**
 * How long to wait after a failed attempt, the first one being 1; undefined where it was the last one. `random` is from 0 to 1;
 * `retryAfter` is the header, in seconds or as a date.
 */
export function retryDelayMs(
  attempt: number,
  random: number,
  retryAfter: string | undefined,
  now: number,
): number | undefined {
  const delay = RETRY_DELAYS_MS[attempt - 1]
  if (delay === undefined) return undefined
  const asked = Math.min(retryAfterMs(retryAfter, now), MAX_RETRY_AFTER_MS)
  return Math.round(Math.max(delay, asked) * (1 + JITTER * random))
}

function retryAfterMs(header: string | undefined, now: number): number {
  if (header === undefined) return 0
  const ms = /^\d{1,10}$/.test(header) ? Number(header) * SECOND : Date.parse(header) - now
  return Number.isFinite(ms) && ms > 0 ? ms : 0
}
