import { WINDOW_SECONDS } from '../gate/windows.ts'
import { countByIp, type IpBucket, type IpLimits, limitKey } from '../http/ip-limits.ts'

/** The platform's rate-limit binding: one counter a key and location, approximate by design, which only says yes or no. */
export interface RateLimitBinding {
  limit(options: { key: string }): Promise<{ success: boolean }>
}

/** Opens the limits of one request; `outlive` keeps what is still under way when the answer is gone. */
export type OpenIpLimits = (
  platform: Readonly<Record<IpBucket, RateLimitBinding>>,
  outlive: (work: Promise<unknown>) => void,
) => IpLimits

/**
 * Limits by address on Workers. This isolate counts what it sees, which is what the headers tell; what all isolates of a
 * location see, the platform counts. Nobody waits for the platform: its no shuts the address from the next request on.
 */
export function openIpLimits(limitPerMinute: number): OpenIpLimits {
  const seen = countByIp(limitPerMinute)
  let minute = 0
  let shut = new Set<string>()

  const isShut = (slot: string, now: number) => {
    const current = Math.floor(now / 1000 / WINDOW_SECONDS.minute)
    if (current !== minute) {
      minute = current
      shut = new Set()
    }
    return shut.has(slot)
  }
  return (platform, outlive) => ({
    take(bucket, ip, now) {
      const window = seen.take(bucket, ip, now)
      const slot = `${bucket} ${limitKey(ip)}`
      if (isShut(slot, now)) return { ...window, remaining: -1 }
      const ask = async () => {
        const { success } = await platform[bucket].limit({ key: slot })
        if (!success) shut.add(slot)
      }
      if (window.remaining >= 0) outlive(ask())
      return window
    },
    peek(bucket, ip, now) {
      const window = seen.peek(bucket, ip, now)
      return isShut(`${bucket} ${limitKey(ip)}`, now) ? { ...window, remaining: 0 } : window
    },
  })
}
