import { retryAfterSeconds } from '../../gate/windows.ts'
import { refuse } from '../../result.ts'
import { type AppContext, stateOf } from '../context.ts'
import type { IpBucket } from '../ip-limits.ts'
import { unwrap } from '../problem.ts'

/** Counts a request that presents no key by its client address; the first one beyond the limit gets 429. */
export function limitByAddress(c: AppContext): undefined {
  count(c, 'keyless')
}

/**
 * Counts a credential that was refused against the client address; beyond the limit the request gets 429 instead of its
 * refusal. Called once the credential is known to be bad: 232 random bits cannot be guessed, and a limit that came first
 * would let one sender shut out the good keys of its address.
 */
export function countFailedKey(c: AppContext): void {
  count(c, 'failedKeys')
}

function count(c: AppContext, bucket: IpBucket): void {
  const window = stateOf(c).world.ipLimits.take(bucket, stateOf(c).clientIp, stateOf(c).now)
  const windows = [{ ...window, remaining: Math.max(0, window.remaining) }]
  stateOf(c).windows = windows
  if (window.remaining < 0)
    unwrap(refuse('rateLimited', { retryAfterSeconds: retryAfterSeconds(windows, stateOf(c).now) }))
}
