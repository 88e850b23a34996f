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
  wait: (ms, signal) =>
    new Promise((resolve, reject) => {
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
    }),
}

/** The service's clock: the client's own, and the difference that the service's time showed. */
export interface ServiceClock extends Clock {
  /** Whether the service's time is known. Until then this is the client's own clock. */
  readonly isKnown: boolean
  /** Sets the clock to the service's time: ISO 8601, or milliseconds since 1970. Returns false for anything else. */
  correct(serverTime: unknown): boolean
}

/** Creates a clock that follows the service's once {@link ServiceClock.correct} was called. */
export function followServiceClock(clock: Clock): ServiceClock {
  let offsetMs: number | undefined
  return {
    now: () => clock.now() + (offsetMs ?? 0),
    wait: clock.wait,
    get isKnown() {
      return offsetMs !== undefined
    },
    correct(serverTime) {
      const serverMs = typeof serverTime === 'string' ? Date.parse(serverTime) : serverTime
      if (typeof serverMs !== 'number' || !Number.isSafeInteger(serverMs)) return false
      offsetMs = serverMs - clock.now()
      return true
    },
  }
}
