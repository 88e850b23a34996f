import { WINDOW_SECONDS } from '../gate/windows.ts'
import { countByIp, type IpBucket, type IpLimits, limitKey } from '../http/ip-limits.ts'

/** The platform's rate-limit binding: one approximate counter per key and location that only allows or denies. */
export interface RateLimitBinding {
  limit(options: { key: string }): Promise<{ success: boolean }>
}

/** Opens the limits of one request; `outlive` keeps work running after the response. */
export type OpenIpLimits = (
  platform: Readonly<Record<IpBucket, RateLimitBinding | undefined>>,
  outlive: (work: Promise<unknown>) => void,
) => IpLimits

/**
 * Limits by address on Workers. The isolate counts its own requests, for the headers; the platform counts the requests of
 * all isolates of a location. No request waits for the platform: a denial blocks the address from the next request on.
 */
export function openIpLimits(limitPerMinute: number): OpenIpLimits {
  const seen = countByIp(limitPerMinute)
  let minute = 0
  let blocked = new Set<string>()

  const isBlocked = (slot: string, now: number) => {
    const current = Math.floor(now / 1000 / WINDOW_SECONDS.minute)
    if (current !== minute) {
      minute = current
      blocked = new Set()
    }
    return blocked.has(slot)
  }
  return (platform, outlive) => ({
    take(bucket, ip, now) {
      const window = seen.take(bucket, ip, now)
      const slot = `${bucket} ${limitKey(ip)}`
      if (isBlocked(slot, now)) return { ...window, remaining: -1 }
      const askPlatform = async () => {
        const answer = await platform[bucket]?.limit({ key: slot })
        if (answer?.success === false) blocked.add(slot)
      }
      if (window.remaining >= 0) outlive(askPlatform())
      return window
    },
    peek(bucket, ip, now) {
      const window = seen.peek(bucket, ip, now)
      return isBlocked(`${bucket} ${limitKey(ip)}`, now) ? { ...window, remaining: 0 } : window
    },
  })
}
