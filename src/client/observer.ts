import { type LatchkeyError, latchkeyError } from './errors.ts'
import type { RateLimit } from './rate-limit.ts'

/** A request, as hooks see it: without its body, and with the values of its headers only where they hold no secret. */
export interface RequestFacts {
  method: string
  url: string
  /** Below /api/v1, without the query. */
  path: string
  /** 1 for the first attempt of a call. */
  attempt: number
  headers: Readonly<Record<string, string>>
}

/** A response, as hooks see it. */
export interface ResponseFacts extends RequestFacts {
  status: number
  durationMs: number
  requestId: string | undefined
  rateLimit: RateLimit | undefined
}

/** A repetition that is about to be waited for. */
export interface RetryFacts extends RequestFacts {
  /** Why: what the attempt failed with. */
  error: LatchkeyError
  waitMs: number
}

/** What is called with each request. A hook that throws is logged and changes nothing. */
export interface Hooks {
  onRequest?(request: RequestFacts): void
  /** With every response, refusals too. */
  onResponse?(response: ResponseFacts): void
  onRetry?(retry: RetryFacts): void
}

/** `console`, or any other logger with these methods. */
export interface Logger {
  debug(message: string, facts?: object): void
  info(message: string, facts?: object): void
  warn(message: string, facts?: object): void
  error(message: string, facts?: object): void
}

/** The levels of a logger, from which on it is called. */
const LOGGER_LEVELS = ['debug', 'info', 'warn', 'error', 'off'] as const

/** From which level on the logger is called. */
export type LoggerLevel = (typeof LOGGER_LEVELS)[number]

/** Tells hooks and logger what happens. Never throws. */
export type Observer = Required<Hooks>

/** Headers whose values are neither secret nor the caller's. */
const SHOWN_HEADERS: readonly string[] = ['accept', 'content-type', 'user-agent', 'last-event-id']

/** Returns headers as they may be shown. */
export function shownHeaders(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [
      name,
      SHOWN_HEADERS.includes(name.toLowerCase()) ? value : '[redacted]',
    ]),
  )
}

/** Creates the observer of a client. Throws `INVALID_ARGUMENT` for a level that is none. */
export function createObserver(
  hooks: Hooks = {},
  logger: Logger | undefined,
  level: LoggerLevel = 'warn',
): Observer {
  if (!LOGGER_LEVELS.includes(level))
    throw latchkeyError('INVALID_ARGUMENT', `logLevel is one of ${LOGGER_LEVELS.join(', ')}`)

  function log(at: Exclude<LoggerLevel, 'off'>, message: string, facts: object): void {
    if (logger === undefined || LOGGER_LEVELS.indexOf(at) < LOGGER_LEVELS.indexOf(level)) return
    try {
      logger[at](message, facts)
    } catch {
      // A logger that fails must not lose the response of a change.
    }
  }

  function call<Facts extends object>(
    name: keyof Hooks,
    hook: ((facts: Facts) => void) | undefined,
    facts: Facts,
  ) {
    try {
      hook?.(Object.freeze(facts))
    } catch (error) {
      log('warn', `latchkey: the hook ${name} threw`, { error: String((error as Error)?.name) })
    }
  }

  return {
    onRequest(request) {
      log('debug', `latchkey: ${request.method} ${request.path}`, request)
      call('onRequest', (facts: RequestFacts) => hooks.onRequest?.(facts), request)
    },
    onResponse(response) {
      const { method, path, status, durationMs } = response
      log('debug', `latchkey: ${status} ${method} ${path} in ${durationMs} ms`, response)
      call('onResponse', (facts: ResponseFacts) => hooks.onResponse?.(facts), response)
    },
    onRetry(retry) {
      const { method, path, waitMs, error, attempt } = retry
      const again = `latchkey: ${method} ${path} is repeated in ${waitMs} ms after ${error.code}`
      log('info', again, { attempt, waitMs, error: error.toJSON() })
      call('onRetry', (facts: RetryFacts) => hooks.onRetry?.(facts), retry)
    },
  }
}
