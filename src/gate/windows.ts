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

/** The binding window: least remaining, on a tie the shortest. */
export function tightest(windows: readonly Window[]): Window {
  let tight = windows[0] as Window
  for (const next of windows) if (next.remaining < tight.remaining) tight = next
  return tight
}

/** Seconds until every window has room again for what a request costs; at least 1. */
export function retryAfterSeconds(windows: readonly Window[], now: number, cost = 1): number {
  const full = windows.filter((window) => window.remaining < cost)
  const opens = Math.max(0, ...full.map((window) => window.resetAt))
  return Math.max(1, Math.ceil(opens - now / 1000))
}
