import { retryAfterSeconds } from '../../gate/windows.ts'
import { refuse } from '../../result.ts'
import type { AppContext } from '../context.ts'
import type { IpBucket } from '../ip-limits.ts'
import { unwrap } from '../problem.ts'

/** Counts a request that presents no key by its client address; the first one beyond the limit gets 429. */
export function limitByAddress(c: AppContext): undefined {
  count(c, 'keyless')
}

/** Counts an unknown or inactive credential against the client address. */
export function countFailedKey(c: AppContext): void {
  count(c, 'failedKeys')
}

/** Refuses an address that has presented too many unknown or inactive credentials this minute. */
export function refuseGuessing(c: AppContext): void {
  const failed = c.get('world').ipLimits.peek('failedKeys', c.get('clientIp'), c.get('now'))
  if (failed.remaining <= 0) count(c, 'failedKeys')
}

function count(c: AppContext, bucket: IpBucket): void {
  const window = c.get('world').ipLimits.take(bucket, c.get('clientIp'), c.get('now'))
  const windows = [{ ...window, remaining: Math.max(0, window.remaining) }]
  c.set('windows', windows)
  if (window.remaining < 0)
    unwrap(refuse('rateLimited', { retryAfterSeconds: retryAfterSeconds(windows, c.get('now')) }))
}
