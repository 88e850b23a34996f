import { LatchkeyError, latchkeyError } from './errors.ts'
import { type RateLimit, readRateLimit } from './rate-limit.ts'

/** Options of every call. */
export interface CallOptions {
  /** Aborts the call and every wait in it. The call then rejects with an `AbortError`, whose cause is the signal's reason. */
  signal?: AbortSignal | undefined
  /** The longest time for one response, in place of the client's. */
  timeoutMs?: number | undefined
  /** The longest time for the whole call: attempts, waits between them, pages, and the wallet. */
  deadlineMs?: number | undefined
  /** How often a request is repeated, in place of the client's. */
  maxRetries?: number | undefined
  /** Sent with each request of the call, beside the client's. Those that the client itself sets are refused. */
  headers?: Readonly<Record<string, string>> | undefined
}

/** A result with the response that it came in. */
export interface WithResponse<T> {
  data: T
  /** The last response of the call. Its body has been read. */
  response: Response
  headers: Headers
  /** Identifies the request in the service's logs. */
  requestId: string | undefined
  /** The quota that the request was counted in. */
  rateLimit: RateLimit | undefined
}

/** The promise of a call. */
export interface CallPromise<T> extends Promise<T> {
  /**
   * Resolves with the result and the response that it came in; rejects as the call does. Of a call with several requests, with
   * the last response.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const client = createClient({ baseUrl: 'https://dex.example' })
   * const { data, requestId, rateLimit } = await client.info().withResponse()
   * console.log(data.network, requestId, rateLimit?.remaining)
   * ```
   */
  withResponse(): Promise<WithResponse<T>>
}

/** What the requests of one call share. */
export interface CallContext {
  readonly signal: AbortSignal
  readonly timeoutMs: number | undefined
  readonly maxRetries: number | undefined
  readonly headers: Readonly<Record<string, string>>
  /** When the call must have ended, by the client's own clock. */
  readonly endsAt: number
  /** The last response. */
  response: Response | undefined
  /** Whether a change was sent and no response says what became of it. */
  isUncertain: boolean
  /** Told what the call rejects with. */
  onFailure?: (error: unknown) => void
}

/** Opens the calls of a client. */
export interface Calls {
  /** Runs a call. What it rejects with is a {@link LatchkeyError}. */
  start<T>(
    options: CallOptions | undefined,
    work: (context: CallContext) => Promise<T>,
  ): CallPromise<T>
  /** As `start`, for a call that yields. Nothing happens before the first item is asked for. */
  iterate<T>(
    options: CallOptions | undefined,
    work: (context: CallContext) => AsyncGenerator<T, void, undefined>,
  ): AsyncGenerator<T, void, undefined>
}

/** What a client says of all its calls. */
export interface CallDefaults {
  signal: AbortSignal | undefined
  deadlineMs: number | undefined
  headers: Readonly<Record<string, string>>
  now(): number
}

/** Creates the calls of a client. Throws `INVALID_ARGUMENT` for headers or times that none can have. */
export function createCalls(defaults: CallDefaults): Calls {
  requireHeaders(defaults.headers)
  const clientHeaders = lowerCased(defaults.headers)
  requireTime('deadlineMs', defaults.deadlineMs)

  function open(options: CallOptions = {}) {
    const { deadlineMs = defaults.deadlineMs, timeoutMs, maxRetries, headers = {} } = options
    requireHeaders(headers)
    requireTime('deadlineMs', deadlineMs)
    requireTime('timeoutMs', timeoutMs)
    const deadline = deadlineMs === undefined ? undefined : AbortSignal.timeout(deadlineMs)
    const signals = [defaults.signal, options.signal, deadline].filter((one) => one !== undefined)
    const context: CallContext = {
      signal: AbortSignal.any(signals),
      timeoutMs,
      maxRetries,
      headers: { ...clientHeaders, ...lowerCased(headers) },
      endsAt: defaults.now() + (deadlineMs ?? Number.POSITIVE_INFINITY),
      response: undefined,
      isUncertain: false,
    }
    function failure(error: unknown): unknown {
      const { signal } = context
      const isAbort = signal.aborted && !(error instanceof LatchkeyError)
      const failed = !isAbort
        ? error
        : signal.reason === deadline?.reason
          ? deadlineError(deadlineMs ?? 0)
          : abortError(signal.reason)
      context.onFailure?.(failed)
      return failed
    }
    return { context, failure }
  }

  return {
    start(options, work) {
      const result = (async () => {
        const { context, failure } = open(options)
        try {
          context.signal.throwIfAborted()
          return { data: await work(context), response: context.response }
        } catch (error) {
          throw failure(error)
        }
      })()
      const promise = result.then(({ data }) => data)
      return Object.assign(promise, {
        async withResponse() {
          promise.catch(() => {}) // The caller handles the rejection of this promise instead.
          return withResponse(await result)
        },
      })
    },
    async *iterate(options, work) {
      const { context, failure } = open(options)
      try {
        context.signal.throwIfAborted()
        yield* work(context)
      } catch (error) {
        throw failure(error)
      }
    },
  }
}

function withResponse<T>({
  data,
  response,
}: {
  data: T
  response: Response | undefined
}): WithResponse<T> {
  if (response === undefined)
    throw latchkeyError('INVALID_ARGUMENT', 'This call needed no request, and has no response')
  const { headers } = response
  const requestId = headers.get('x-request-id') ?? undefined
  return { data, response, headers, requestId, rateLimit: readRateLimit(headers) }
}

function abortError(reason: unknown): LatchkeyError {
  return latchkeyError('ABORTED', 'The call was aborted', { cause: reason })
}

function deadlineError(deadlineMs: number): LatchkeyError {
  return latchkeyError('TIMEOUT', `The call did not end within ${deadlineMs} ms`, {
    details: { deadlineMs },
  })
}

/** What the client sets itself: a second value would be another credential, message or form. */
const OWN_HEADERS: readonly string[] = [
  'accept',
  'content-type',
  'x-api-key',
  'x-message',
  'x-signature',
  'x-wallet-address',
  'x-public-key',
  'last-event-id',
]

// A header may hold a secret: no error quotes its value, as that of fetch would.
function requireHeaders(headers: Readonly<Record<string, string>>): void {
  for (const [name, value] of Object.entries(headers)) {
    if (!/^[\w!#$%&'*+.^`|~-]+$/.test(name))
      throw latchkeyError('INVALID_ARGUMENT', 'The name of a header is no token')
    if (OWN_HEADERS.includes(name.toLowerCase()))
      throw latchkeyError('INVALID_ARGUMENT', `The client itself sets the header ${name}`)
    if (typeof value !== 'string' || !/^[\t\x20-\x7e]*$/.test(value))
      throw latchkeyError('INVALID_ARGUMENT', `The header ${name} is not printable ASCII`)
  }
}

/** Names in lower case: in an object, two spellings of one name would be sent as two values. */
function lowerCased(headers: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(
    Object.entries(headers).map(([name, value]) => [name.toLowerCase(), value]),
  )
}

const MAX_TIMEOUT_MS = 2 ** 31 - 1

function requireTime(name: string, ms: number | undefined): void {
  if (ms === undefined || (ms > 0 && ms <= MAX_TIMEOUT_MS)) return
  throw latchkeyError('INVALID_ARGUMENT', `${name} is a number of milliseconds above 0`)
}
