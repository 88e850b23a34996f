/** The caller's quota in the window that has the least left. */
export interface RateLimit {
  /** Requests that the window admits. */
  limit: number
  /** Requests that are left in it. */
  remaining: number
  /** When the window ends, by the service's clock. */
  resetAt: Date
  windowSeconds: number
}

/** RFC 9110, 5.6.7. `Date.parse` alone reads a date into nearly every text with a number, `-5` for example. */
const HTTP_DATE = /^[A-Z][a-z]{2}, \d{2} [A-Z][a-z]{2} \d{4} \d{2}:\d{2}:\d{2} GMT$/

/** Reads `X-RateLimit-*`; undefined unless all four headers are there. */
export function readRateLimit(headers: Headers): RateLimit | undefined {
  const limit = readCount(headers, 'x-ratelimit-limit')
  const remaining = readCount(headers, 'x-ratelimit-remaining')
  const resetSeconds = readCount(headers, 'x-ratelimit-reset')
  const windowSeconds = readCount(headers, 'x-ratelimit-window')
  if (limit === undefined || remaining === undefined) return undefined
  if (resetSeconds === undefined || windowSeconds === undefined) return undefined
  return { limit, remaining, resetAt: new Date(resetSeconds * 1000), windowSeconds }
}

/**
 * Returns the seconds to wait: from `Retry-After` (RFC 9110, 10.2.3: a number or a date), after a 429 also from the end of the
 * window.
 */
export function readRetryAfterSeconds(
  { status, headers }: Response,
  nowMs: number,
): number | undefined {
  const seconds = readCount(headers, 'retry-after')
  if (seconds !== undefined) return seconds
  const date = headers.get('retry-after') ?? ''
  const dateMs = HTTP_DATE.test(date) ? Date.parse(date) : Number.NaN
  if (!Number.isNaN(dateMs)) return secondsUntil(dateMs, nowMs)
  const resetSeconds = readCount(headers, 'x-ratelimit-reset')
  if (status !== 429 || resetSeconds === undefined) return undefined
  return secondsUntil(resetSeconds * 1000, nowMs)
}

function secondsUntil(thenMs: number, nowMs: number): number {
  return Math.max(0, Math.ceil((thenMs - nowMs) / 1000))
}

function readCount(headers: Headers, name: string): number | undefined {
  const text = headers.get(name)
  // Twelve digits of seconds are a date; thirteen may be beyond the last one.
  return text !== null && /^\d{1,12}$/.test(text) ? Number(text) : undefined
}
