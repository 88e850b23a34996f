import { type LatchkeyError, latchkeyError } from './errors.ts'

/** A clock and its timers. */
export interface Clock {
  /** Returns milliseconds since 1970. */
  now(): number
  /** Resolves after `ms` milliseconds; rejects with the signal's reason as soon as the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>
}

/** The clock and the timers of the platform. */
export const systemClock: Clock = {
  now: () => Date.now(),
  async wait(ms, signal) {
    let leftMs = ms
    for (; leftMs > MAX_TIMER_MS; leftMs -= MAX_TIMER_MS) await waitOnce(MAX_TIMER_MS, signal)
    await waitOnce(leftMs, signal)
  },
}

// A timer for longer than 2^31 - 1 ms ends at once.
const MAX_TIMER_MS = 2 ** 31 - 1

function waitOnce(ms: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer)
      reject(signal.reason)
    }
    const timer = setTimeout(() => {
      signal.removeEventListener('abort', abort)
      resolve()
    }, ms)
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}

/** The service's clock: the client's own, and the difference that the service's time showed. */
export interface ServiceClock extends Clock {
  /** Whether the service's time is known. Until then this is the client's own clock. */
  readonly isKnown: boolean
  /** Sets the clock to the service's time: ISO 8601, or milliseconds since 1970. Returns false for anything else. */
  correct(serverTime: unknown): boolean
  /** As `now`, for what is signed. Throws `CLOCK_SKEW` where it is more than ten minutes from the client's own clock. */
  nowToSign(): number
  /** The client's own clock, whatever the service says. */
  readonly own: Clock
}

/** A message that is dated ahead is good once its date comes: a service could collect signatures for next year. */
const MAX_SKEW_MS = 600_000

/** Creates a clock that follows the service's once {@link ServiceClock.correct} was called. */
export function followServiceClock(clock: Clock): ServiceClock {
  let offsetMs: number | undefined
  const now = () => clock.now() + (offsetMs ?? 0)
  return {
    now,
    wait: clock.wait,
    own: clock,
    nowToSign() {
      if (Math.abs(offsetMs ?? 0) > MAX_SKEW_MS) throw clockSkew(offsetMs ?? 0)
      return now()
    },
    get isKnown() {
      return offsetMs !== undefined
    },
    correct(serverTime) {
      const serverMs = typeof serverTime === 'string' ? Date.parse(serverTime) : serverTime
      if (typeof serverMs !== 'number' || !Number.isSafeInteger(serverMs)) return false
      if (Number.isNaN(new Date(serverMs).getTime())) return false
      offsetMs = serverMs - clock.now()
      return true
    },
  }
}

function clockSkew(offsetMs: number): LatchkeyError {
  const minutes = Math.round(Math.abs(offsetMs) / 60_000)
  const side = offsetMs > 0 ? 'ahead of' : 'behind'
  return latchkeyError(
    'CLOCK_SKEW',
    `The service's clock is ${minutes} minutes ${side} this one, and nothing is signed for a time that differs by more than 10`,
    { details: { skewSeconds: Math.round(offsetMs / 1_000) } },
  )
}
