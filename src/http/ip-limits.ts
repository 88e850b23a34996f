import { WINDOW_SECONDS, type Window } from '../gate/windows.ts'
import { clientNetwork, formatIpRange, parseIp } from '../wire/ip.ts'

/** Counted by address: requests without a key, and failed credentials. */
export type IpBucket = 'keyless' | 'failedKeys'

/** Limits by client address: they protect this process from one sender, and are not the exact limits of a key. */
export interface IpLimits {
  /** Counts one request and returns the window; `remaining` is -1 when it was one too many. */
  take(bucket: IpBucket, ip: string, now: number): Window
  /** Returns the window without counting; `remaining` is never below 0. */
  peek(bucket: IpBucket, ip: string, now: number): Window
}

/** Senders per minute with counts of their own, which bounds memory; further ones share one count. */
const MAX_SENDERS = 100_000
const EVERYONE_ELSE = 'everyone else'

/** Counts in memory, in fixed windows of a minute. */
export function countByIp(limitPerMinute: number): IpLimits {
  let minute = 0
  let counts = new Map<string, number>()

  const enter = (now: number) => {
    const current = Math.floor(now / 1000 / WINDOW_SECONDS.minute)
    if (current === minute) return
    minute = current
    counts = new Map()
  }
  const slotOf = (bucket: IpBucket, ip: string) => {
    const slot = `${bucket} ${limitKey(ip)}`
    return counts.has(slot) || counts.size < MAX_SENDERS ? slot : `${bucket} ${EVERYONE_ELSE}`
  }
  const windowOf = (used: number): Window => ({
    name: 'minute',
    limit: limitPerMinute,
    remaining: Math.max(-1, limitPerMinute - used),
    resetAt: (minute + 1) * WINDOW_SECONDS.minute,
    lengthSeconds: WINDOW_SECONDS.minute,
  })
  return {
    take(bucket, ip, now) {
      enter(now)
      const slot = slotOf(bucket, ip)
      const used = (counts.get(slot) ?? 0) + 1
      counts.set(slot, used)
      return windowOf(used)
    },
    peek(bucket, ip, now) {
      enter(now)
      // The usual case of a service whose callers have valid keys.
      if (counts.size === 0) return windowOf(0)
      const slot = slotOf(bucket, ip)
      return windowOf(Math.min(limitPerMinute, counts.get(slot) ?? 0))
    },
  }
}

/** The key of a client's count: its IPv4 address, or the /64 around its IPv6 address, which one client holds whole. */
export function limitKey(ip: string): string {
  if (!ip.includes(':')) return ip
  const parsed = parseIp(ip)
  return parsed === undefined ? ip : formatIpRange(clientNetwork(parsed))
}
