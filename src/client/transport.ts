import type { ErrorBody } from '../errors.ts'
import { parseBounded, ResponseTooLarge, readResponse } from '../wire/response.ts'
import type { ServiceClock } from './clock.ts'
import { isServiceCode, LatchkeyError } from './errors.ts'
import type { SignedMessage } from './message.ts'
import { type RateLimit, readRateLimit, readRetryAfterSeconds } from './rate-limit.ts'
import { type Redaction, redactionOf } from './safe-text.ts'

/** The part of the Fetch standard that the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** A request, which may be sent more than once. */
export interface Call {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Below /api/v1. Contains no secret. */
  path: string
  query?: Record<string, string | number | undefined>
  /** Whether the client's API key is sent. */
  apiKey?: boolean
  /** Whether the client's session is sent. */
  session?: boolean
  /** Sent as JSON. */
  body?: object
  proof?: Proof
  /** Whether the request may be repeated after a 503: it changes nothing, or is idempotent. */
  repeatable?: boolean
  /** Signatures in `body`, which no error may contain. */
  secrets?: string[]
  /** Whether the response may be one of thousands of entries. */
  isLong?: boolean
  signal?: AbortSignal | undefined
}

/** A source of signed messages for one call. */
export interface Proof {
  /** Signs a new message each time. */
  sign(signal?: AbortSignal): Promise<SignedMessage>
  /** The message that was signed last. Calls that share a proof, as the pages of a list do, send it while it is fresh. */
  last?: SignedMessage
  /** Whether a person confirms every signature. */
  interactive: boolean
  /** Writes the message into a body. By default as `message`, `signature`, `walletAddress` and `publicKey`. */
  write?: (signed: SignedMessage) => object
}

/** Options of {@link createTransport}. */
export interface TransportOptions {
  /** The root of the API, without a slash at its end. */
  root: string
  apiKey: string | undefined
  /** Replaces the wallet's signature in reads. */
  session: string | undefined
  maxRetries: number
  maxRetryWaitSeconds: number
  timeoutSeconds: number
  fetch: Fetch
  signal: AbortSignal | undefined
  clock: ServiceClock
}

/** Sends the requests of a client. */
export interface Transport {
  /** Sends a call, repeats it where that is safe, and resolves with the JSON object of the response. Rejects with a {@link LatchkeyError}. */
  send<T>(call: Call): Promise<T>
  /**
   * Requests a stream of events after the given id, once and without the API key; with the session where that is asked for.
   * Resolves whatever the status is.
   */
  listen(
    path: string,
    lastEventId: string | undefined,
    signal: AbortSignal,
    auth?: 'session',
  ): Promise<Response>
  readonly rateLimit: RateLimit | undefined
}

// After decompression. A page of the audit is the longest response: 1,000 events with their messages.
const MAX_BYTES = 4 * 2 ** 20
const MAX_LONG_BYTES = 32 * 2 ** 20
const MAX_REFUSAL_BYTES = 2 ** 20

// For a 429 without Retry-After and without the end of a window.
const DEFAULT_RETRY_SECONDS = 1

/** Creates the transport of a client. */
export function createTransport(options: TransportOptions): Transport {
  const { root, apiKey, session, maxRetries, maxRetryWaitSeconds, timeoutSeconds, fetch, clock } =
    options
  let rateLimit: RateLimit | undefined
  // No response contains them: errors that are made of a response's members need no redaction of their own.
  const credentials = redactionOf([apiKey, session])

  /** The call, authorized by the session instead of a signature. */
  function bySession({ proof, ...call }: Call): Call {
    return { ...call, session: true }
  }

  async function send<T>(asked: Call): Promise<T> {
    const isRead = asked.method === 'GET' && asked.apiKey !== true
    const isOwners = asked.proof !== undefined || asked.path === '/orders'
    const call = session !== undefined && isRead && isOwners ? bySession(asked) : asked
    const signals = [options.signal, call.signal].filter((signal) => signal !== undefined)
    const signal = AbortSignal.any(signals)
    const { proof } = call
    let signed = proof?.last
    let refusal: LatchkeyError | undefined
    let retries = 0
    let resigned = false
    for (;;) {
      signal.throwIfAborted()
      if (proof !== undefined && (signed === undefined || isStale(signed))) {
        // A person is asked once for a call: what made it last so long is the error.
        if (refusal !== undefined && proof.interactive) throw refusal
        signed = await proof.sign(signal)
        proof.last = signed
        if (proof.interactive && isOver(signed)) throw signedTooLate(signed)
      }
      signal.throwIfAborted()
      const answer = await attempt(call, signed, signal)
      if (!(answer instanceof LatchkeyError)) return answer as T
      // By the clock that dated it: a message that came late is no sign that the clock is wrong.
      if (answer.code === 'EXPIRED_TIMESTAMP' && proof?.interactive && signed && isOver(signed))
        throw signedTooLate(signed)
      if (answer.code === 'EXPIRED_TIMESTAMP' && clock.correct(answer.details?.serverTime)) {
        if (proof === undefined || proof.interactive || resigned) throw answer
        resigned = true
        signed = undefined
        continue
      }
      refusal = answer
      const waitSeconds = retryWaitSeconds(answer, call.repeatable === true)
      if (waitSeconds === undefined || retries >= maxRetries) throw answer
      if (waitSeconds > maxRetryWaitSeconds) throw answer
      retries += 1
      await clock.wait(waitSeconds * 1000, signal)
    }
  }

  async function attempt(call: Call, signed: SignedMessage | undefined, signal: AbortSignal) {
    const secrets = redactionOf([apiKey, session, signed?.signature, ...(call.secrets ?? [])])
    const timeout = AbortSignal.timeout(timeoutSeconds * 1000)
    const init = writeRequest(call, signed, call.apiKey === true ? apiKey : undefined)
    if (call.session === true && session !== undefined)
      init.headers.Authorization = `Bearer ${session}`
    let response: Response
    let text: string
    const ended = AbortSignal.any([signal, timeout])
    try {
      response = await fetch(writeUrl(root, call), { ...init, signal: ended })
      text = await readResponse(response, maxBytesOf(call, response), ended)
    } catch (error) {
      signal.throwIfAborted()
      if (timeout.aborted)
        return new LatchkeyError('TIMEOUT', `No answer within ${timeoutSeconds} seconds`)
      if (error instanceof ResponseTooLarge) return new LatchkeyError('BAD_RESPONSE', error.message)
      const reason = secrets.text(causeOf(error))
      return new LatchkeyError('UNREACHABLE', `Cannot reach ${root}${reason}`)
    }
    rateLimit = readRateLimit(response.headers) ?? rateLimit
    return readAnswer(response, text, { secrets, credentials }, clock.now())
  }

  const isStale = (signed: SignedMessage) => clock.now() > signed.freshUntil
  const isOver = (signed: SignedMessage) => clock.now() > signed.goodUntil

  function signedTooLate({ timestamp, goodUntil }: SignedMessage): LatchkeyError {
    const [seconds, maxAgeSeconds] = [clock.now(), goodUntil].map((time) =>
      Math.round((time - timestamp) / 1_000),
    )
    return new LatchkeyError(
      'SIGNED_TOO_LATE',
      `The wallet signed after ${seconds} seconds, and a message is good for ${maxAgeSeconds}`,
      { details: { seconds, maxAgeSeconds } },
    )
  }

  return {
    send,
    listen(path, lastEventId, signal, auth) {
      const headers: Record<string, string> = { Accept: 'text/event-stream' }
      if (lastEventId !== undefined) headers['Last-Event-ID'] = lastEventId
      if (auth === 'session' && session !== undefined) headers.Authorization = `Bearer ${session}`
      const signals = [options.signal, signal].filter((signal) => signal !== undefined)
      return fetch(writeUrl(root, { method: 'GET', path }), {
        method: 'GET',
        headers,
        redirect: 'manual',
        signal: AbortSignal.any(signals),
      })
    },
    get rateLimit() {
      return rateLimit
    },
  }
}

function retryWaitSeconds(error: LatchkeyError, repeatable: boolean): number | undefined {
  if (error.status === 429) return error.retryAfterSeconds ?? DEFAULT_RETRY_SECONDS
  if (error.status === 503 && repeatable) return error.retryAfterSeconds
  return undefined
}

function writeUrl(root: string, call: Call): string {
  const url = new URL(root + call.path)
  for (const [name, value] of Object.entries(call.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value))
  return url.href
}

function writeRequest(call: Call, signed: SignedMessage | undefined, apiKey: string | undefined) {
  const headers: Record<string, string> = { Accept: 'application/json' }
  let body = call.body
  if (apiKey !== undefined) headers['X-API-Key'] = apiKey
  if (signed !== undefined && call.method === 'GET') {
    headers['X-Message'] = signed.message
    headers['X-Signature'] = signed.signature
    headers['X-Wallet-Address'] = signed.walletAddress
    if (signed.publicKey !== undefined) headers['X-Public-Key'] = signed.publicKey
  } else if (signed !== undefined) {
    const { message, signature, walletAddress, publicKey } = signed
    const proof = { message, signature, walletAddress, ...(publicKey && { publicKey }) }
    body = { ...body, ...(call.proof?.write?.(signed) ?? proof) }
  }
  if (body !== undefined) headers['Content-Type'] = 'application/json'
  return {
    method: call.method,
    headers,
    // A followed redirect would send X-API-Key to the host that it names.
    redirect: 'manual' as const,
    ...(body !== undefined && { body: JSON.stringify(body) }),
  }
}

function maxBytesOf({ isLong }: Call, { ok }: Response): number {
  if (!ok) return MAX_REFUSAL_BYTES
  return isLong === true ? MAX_LONG_BYTES : MAX_BYTES
}

function readAnswer(
  response: Response,
  text: string,
  { secrets, credentials }: { secrets: Redaction; credentials: Redaction },
  nowMs: number,
): object | LatchkeyError {
  const { status, headers } = response
  const body = (response.ok ? credentials : secrets).value(parseObject(text)) as object | undefined
  if (response.ok && body !== undefined) return body
  const requestId = requestIdOf(response, secrets)
  const rateLimit = readRateLimit(headers)
  const retryAfterSeconds = readRetryAfterSeconds(response, nowMs)
  const facts = {
    status,
    ...(requestId !== undefined && { requestId }),
    ...(rateLimit !== undefined && { rateLimit }),
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  }
  if (response.type === 'opaqueredirect' || (status >= 300 && status < 400))
    return new LatchkeyError('BAD_RESPONSE', 'The service answered with a redirect', facts)
  if (!isErrorBody(body))
    return new LatchkeyError('BAD_RESPONSE', `The answer (${status}) is not the service's`, facts)
  const details = typeof body.details === 'object' && body.details !== null && body.details
  return new LatchkeyError(body.code, body.error, { ...facts, ...(details && { details }) })
}

/** Anything else than a short word is no id, and would be written to logs. */
function requestIdOf({ headers }: Response, secrets: Redaction): string | undefined {
  const requestId = secrets.text(headers.get('x-request-id') ?? '')
  return /^[\x21-\x7e]{1,128}$/.test(requestId) ? requestId : undefined
}

function isErrorBody(body: Partial<ErrorBody> | undefined): body is ErrorBody {
  return (
    typeof body?.error === 'string' && typeof body.code === 'string' && isServiceCode(body.code)
  )
}

function parseObject(text: string): object | undefined {
  try {
    const value = parseBounded(text)
    return typeof value === 'object' && value !== null ? value : undefined
  } catch {
    return undefined
  }
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const cause = error.cause instanceof Error ? error.cause : error
  return `: ${cause.message || cause.name}`
}
