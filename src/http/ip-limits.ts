import { WINDOW_SECONDS, type Window } from '../gate/windows.ts'
import { memoize } from '../memoize.ts'
import { formatIpRange, networksAround, parseIp } from '../wire/ip.ts'

/** Counted by address: requests without a key, and failed credentials. */
export type IpBucket = 'keyless' | 'failedKeys'

/** Limits by client address: they protect this process from one sender, and are not the exact limits of a key. */
export interface IpLimits {
  /** Counts one request and returns the window; `remaining` is -1 when it was one too many. */
  take(bucket: IpBucket, ip: string, now: number): Window
  /** Returns the window without counting; `remaining` is never below 0. */
  peek(bucket: IpBucket, ip: string, now: number): Window
}

/** Senders per minute with counts of their own, which bounds memory; each wider kind of network may add as many. */
const MAX_SENDERS = 100_000
/** Counts that a network may have of its own narrower networks: a /24 or /48, then a /16 or /32, then a /20. */
const MAX_WITHIN = [1_024, 16_384, 65_536]

/** Counts in memory, in fixed windows of a minute. */
export function countByIp(limitPerMinute: number): IpLimits {
  let minute = 0
  let buckets = openBuckets()

  const countsOf = (bucket: IpBucket, now: number) => {
    const current = Math.floor(now / 1000 / WINDOW_SECONDS.minute)
    if (current !== minute) {
      minute = current
      buckets = openBuckets()
    }
    return buckets[bucket]
  }
  const windowOf = (used: number): Window => ({
    name: 'minute',
    limit: limitPerMinute,
    remaining: Math.max(-1, limitPerMinute - used),
    resetAt: (minute + 1) * WINDOW_SECONDS.minute,
    lengthSeconds: WINDOW_SECONDS.minute,
  })
  return {
    take: (bucket, ip, now) => windowOf(countsOf(bucket, now).add(ip)),
    peek: (bucket, ip, now) => windowOf(Math.min(limitPerMinute, countsOf(bucket, now).get(ip))),
  }
}

function openBuckets() {
  return { keyless: openCounts(), failedKeys: openCounts() }
}

/**
 * Counts by sender. A sender for which there is no room, in the table or in one of its networks, is counted as its /24 or
 * /48, or as the next wider network that has room: a flood from one network uses up the room of that network, and does
 * not make senders of other networks share a count.
 */
function openCounts() {
  const counts = new Map<string, number>()
  const within = new Map<string, number>()

  const hasRoom = (level: number, keys: readonly string[]) =>
    counts.size < MAX_SENDERS * (level + 1) &&
    keys.every((key, at) => at <= level || (within.get(key) ?? 0) < (MAX_WITHIN[at - 1] ?? 0))

  /** The narrowest network that has a count or room for one; the widest always has. */
  function levelOf(keys: readonly string[]): number {
    const level = keys.findIndex((key, at) => counts.has(key) || hasRoom(at, keys))
    return level === -1 ? keys.length - 1 : level
  }

  return {
    get(ip: string): number {
      // The usual case of a service whose callers have valid keys.
      if (counts.size === 0) return 0
      const keys = limitKeys(ip)
      return counts.get(keys[levelOf(keys)] ?? ip) ?? 0
    },
    add(ip: string): number {
      const keys = limitKeys(ip)
      const level = levelOf(keys)
      const key = keys[level] ?? ip
      const used = counts.get(key)
      if (used === undefined)
        for (const wider of keys.slice(level + 1)) within.set(wider, (within.get(wider) ?? 0) + 1)
      counts.set(key, (used ?? 0) + 1)
      return (used ?? 0) + 1
    },
  }
}

/** The key of a client's count: its IPv4 address, or the /64 around its IPv6 address, which one client holds whole. */
export function limitKey(ip: string): string {
  return limitKeys(ip)[0] ?? ip
}

const MAX_MEMOIZED = 10_000
/** The keys of a client and of the networks around it, narrowest first. A text that is no address is its own key. */
export const limitKeys = memoize(MAX_MEMOIZED, (ip: string): string[] => {
  const parsed = parseIp(ip)
  return parsed === undefined ? [ip] : networksAround(parsed).map(formatIpRange)
})
