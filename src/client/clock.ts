/** How a client tells the time and waits. */
export interface Clock {
  /** Milliseconds since 1970. */
  now(): number
  /** Waits; rejects with the signal's reason as soon as the signal aborts. */
  wait(ms: number, signal: AbortSignal): Promise<void>
}

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

/** The service's clock, as far as this client has been told of it. */
export interface ServiceClock extends Clock {
  readonly isKnown: boolean
  /** Takes the service's word for what time it is. False when it is not a time. */
  correct(serverTime: unknown): boolean
}

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
