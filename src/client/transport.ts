import type { ErrorBody } from '../errors.ts'
import { parseBounded, ResponseTooLarge, readResponse } from '../wire/response.ts'
import { untilAborted } from './abort.ts'
import type { CallContext } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { isServiceCode, LatchkeyError, latchkeyError } from './errors.ts'
import type { SignedMessage } from './message.ts'
import { type Observer, type RequestFacts, shownHeaders } from './observer.ts'
import { type RateLimit, readRateLimit, readRetryAfterSeconds } from './rate-limit.ts'
import type { RequestSigner } from './request-signer.ts'
import { type Redaction, redactionOf, safeCause } from './safe-text.ts'

/** The part of the Fetch standard that the client uses. */
export type Fetch = (url: string, init: RequestInit) => Promise<Response>

/** A request, which may be sent more than once. */
export interface Call<T = object> {
  method: 'GET' | 'POST' | 'PATCH' | 'DELETE'
  /** Below /api/v1. Contains no secret. */
  path: string
  query?: Record<string, string | number | undefined>
  /** Whether the client's API key is sent; or another one, as that of a key that is being made. */
  apiKey?: boolean | string
  /** Whether the client's session is sent. */
  session?: boolean
  /** Sent as JSON. */
  body?: object
  proof?: Proof
  /**
   * Whether the request may be sent again where no response says what became of it: it changes nothing, or a second time
   * changes nothing.
   */
  repeatable?: boolean
  /** Resolves with the result where a refusal of a repetition shows that an attempt before it took effect; else with undefined. */
  tookEffect?: (refusal: LatchkeyError) => Promise<T | undefined> | T | undefined
  /** Signatures in `body`, which no error may contain. */
  secrets?: string[]
  /** Whether the response may be one of thousands of entries. */
  isLong?: boolean
  /** Of the call that the request belongs to. Absent for what several calls share. */
  context?: CallContext | undefined
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
  /** Signs what the API key would authorize. */
  requestSigner?: RequestSigner | undefined
  /** Replaces the wallet's signature in reads. */
  session: string | undefined
  maxRetries: number
  maxRetryWaitMs: number
  timeoutMs: number
  fetch: Fetch
  clock: ServiceClock
  userAgent?: string | undefined
  observer?: Observer | undefined
}

/** What a request is counted by: the client's API key, or the address that it comes from. */
export type CountedBy = 'apiKey' | 'address'

/** Sends the requests of a client. */
export interface Transport {
  /** Sends a call, repeats it where that is safe, and resolves with the JSON object of the response. Rejects with a {@link LatchkeyError}. */
  send<T>(call: Call<T>): Promise<T>
  /**
   * Requests a stream of events after the given id, once; with the API key or the session only where that is asked for.
   * Resolves whatever the status is.
   */
  listen(
    path: string,
    lastEventId: string | undefined,
    context: { signal: AbortSignal; headers?: Readonly<Record<string, string>> },
    auth?: 'session' | 'apiKey',
  ): Promise<Response>
  /** Returns where the WebSocket of a path is opened, with a credential that is not part of the address. */
  socket(
    path: string,
    after: string | undefined,
    auth: 'session' | 'apiKey',
  ): { url: string; protocols: string[] }
  /** Reads why a stream was refused. */
  refusal(response: Response, signal: AbortSignal): Promise<LatchkeyError>
  /** Returns the quota of a credential, as of the last response that was counted by it. */
  rateLimit(credential: CountedBy): RateLimit | undefined
}

// After decompression. A page of the audit is the longest response: 1,000 events with their messages.
const MAX_BYTES = 4 * 2 ** 20
const MAX_LONG_BYTES = 32 * 2 ** 20
const MAX_REFUSAL_BYTES = 2 ** 20

// Without Retry-After the waits double. Half of each is random: clients that were refused together do not return together.
const FIRST_WAIT_MS = 500
const LONGEST_WAIT_MS = 8_000
// For a 429 without Retry-After and without the end of a window.
const REFUSED_WAIT_MS = 1_000

/** Verdicts under a status that a fault would have: asking again does not change them. */
const VERDICTS: readonly string[] = ['EXECUTION_FAILED', 'EVENTS_UNSUPPORTED']

/** The connection was never made: the service did not see the request. */
const NOT_SENT =
  /^(ECONNREFUSED|ENOTFOUND|EAI_AGAIN|EHOSTUNREACH|ENETUNREACH|UND_ERR_CONNECT_TIMEOUT)$/

/** What became of an attempt that was not a success. */
interface Failure {
  error: LatchkeyError
  /** Whether the request may have taken effect. */
  isUncertain: boolean
  /** Whether another attempt may succeed. */
  isTransient: boolean
}

/** One request, as it is sent and as hooks see it. */
interface Attempt {
  init: RequestInit & { headers: Record<string, string> }
  facts: RequestFacts
  signed: SignedMessage | undefined
  signal: AbortSignal
}

/** Creates the transport of a client. */
export function createTransport(options: TransportOptions): Transport {
  const { root, apiKey, requestSigner, session, fetch, clock, observer, userAgent } = options
  const rateLimits: { [One in CountedBy]?: RateLimit } = {}
  // No response contains them: errors that are made of a response's members need no redaction of their own.
  const credentials = redactionOf([apiKey, session])

  /** The call, authorized by the session instead of a signature. */
  function bySession<T>({ proof, ...call }: Call<T>): Call<T> {
    return { ...call, session: true }
  }

  async function send<T>(asked: Call<T>): Promise<T> {
    const isRead = asked.method === 'GET' && !asked.apiKey
    const isOwners = asked.proof !== undefined || asked.path === '/orders'
    const call = session !== undefined && isRead && isOwners ? bySession(asked) : asked
    const { proof, context } = call
    const signal = context?.signal ?? new AbortController().signal
    const maxRetries = context?.maxRetries ?? options.maxRetries
    let signed = proof?.last
    let refusal: LatchkeyError | undefined
    // Whether an attempt was sent whose outcome is not known: a message that changes something is then not replaced by another.
    let isUncertain = false
    let resigned = false
    let retries = 0
    for (let attempt = 1; ; attempt++) {
      signal.throwIfAborted()
      if (proof !== undefined && (signed === undefined || isStale(signed))) {
        // A person is asked once for a call: what made it last so long is the error.
        if (refusal !== undefined && (proof.interactive || isUncertain)) throw refusal
        signed = await proof.sign(signal)
        proof.last = signed
        if (proof.interactive && isOver(signed)) throw signedTooLate(signed)
      }
      signal.throwIfAborted()
      if (context !== undefined && call.method !== 'GET') context.isUncertain = true
      const init = writeRequest(call, signed)
      const { method, path } = call
      const url = writeUrl(root, call)
      if (call.apiKey === true && requestSigner !== undefined)
        // Each attempt has a nonce of its own: the service takes a signed request once.
        Object.assign(
          init.headers,
          await requestSigner.headers({ method, url, ...bodyOf(init), now: clock.now() }),
        )
      const headers = shownHeaders(init.headers)
      const facts: RequestFacts = { method, path, url, attempt, headers }
      const answer = await sendOnce(call, { init, facts, signed, signal })
      if (context !== undefined && !isFailure(answer)) context.isUncertain = false
      if (!isFailure(answer)) return answer as T
      const { error } = answer
      isUncertain ||= answer.isUncertain && call.method !== 'GET'
      if (context !== undefined) context.isUncertain = isUncertain
      if (isUncertain && !answer.isUncertain) {
        const result = await call.tookEffect?.(error)
        if (result !== undefined) {
          if (context !== undefined) context.isUncertain = false
          return result
        }
      }
      // By the clock that dated it: a message that came late is no sign that the clock is wrong.
      if (error.code === 'EXPIRED_TIMESTAMP' && proof?.interactive && signed && isOver(signed))
        throw signedTooLate(signed)
      if (error.is('EXPIRED_TIMESTAMP') && clock.correct(error.details?.serverTime)) {
        if (proof === undefined || proof.interactive || resigned || isUncertain) throw error
        resigned = true
        signed = undefined
        continue
      }
      // Refused before anything was done: it is signed again by the time that the service says it is.
      if (error.is('EXPIRED_REQUEST_SIGNATURE') && clock.correct(error.details?.serverTime)) {
        if (resigned) throw error
        resigned = true
        continue
      }
      refusal = error
      const waitMs = retryWaitMs(answer, call.repeatable === true, retries)
      if (waitMs === undefined || retries >= maxRetries) throw error
      if (waitMs > options.maxRetryWaitMs) throw error
      if (clock.own.now() + waitMs > (context?.endsAt ?? Number.POSITIVE_INFINITY)) throw error
      retries += 1
      observer?.onRetry({ ...facts, error, waitMs })
      await clock.wait(waitMs, signal)
    }
  }

  async function sendOnce<T>(
    call: Call<T>,
    { init, facts, signed, signal }: Attempt,
  ): Promise<object | Failure> {
    const key = typeof call.apiKey === 'string' ? call.apiKey : undefined
    const given = Object.values(call.context?.headers ?? {})
    const secrets = redactionOf([
      ...[apiKey, session, key, signed?.signature],
      ...(call.secrets ?? []),
      ...given,
    ])
    const timeoutMs = call.context?.timeoutMs ?? options.timeoutMs
    const timeout = AbortSignal.timeout(timeoutMs)
    const beganAt = clock.own.now()
    observer?.onRequest({ ...facts })
    let response: Response
    let text: string
    const ended = AbortSignal.any([signal, timeout])
    try {
      // A fetch of the caller may not heed the signal.
      response = await untilAborted(fetch(facts.url, { ...init, signal: ended }), ended)
      text = await readResponse(response, maxBytesOf(call, response), ended)
    } catch (error) {
      signal.throwIfAborted()
      return noResponse(error, { timeout, timeoutMs, secrets })
    }
    const { headers, status } = response
    const durationMs = clock.own.now() - beganAt
    const rateLimit = readRateLimit(headers)
    const credential = credentialOf(call, headers)
    if (rateLimit !== undefined && credential !== undefined) rateLimits[credential] = rateLimit
    if (call.context !== undefined) call.context.response = response
    const requestId = requestIdOf(response, secrets)
    observer?.onResponse({ ...facts, status, durationMs, requestId, rateLimit })
    return readAnswer(response, text, { secrets, credentials }, clock.now())
  }

  function noResponse(
    error: unknown,
    {
      timeout,
      timeoutMs,
      secrets,
    }: { timeout: AbortSignal; timeoutMs: number; secrets: Redaction },
  ): Failure {
    const cause = safeCause(error, secrets)
    if (timeout.aborted) {
      const late = `No answer within ${timeoutMs / 1000} seconds`
      const details = { timeoutMs }
      return lost(latchkeyError('TIMEOUT', late, { details, cause }))
    }
    if (error instanceof ResponseTooLarge) {
      const tooLarge = latchkeyError('BAD_RESPONSE', error.message, { cause })
      return { error: tooLarge, isUncertain: true, isTransient: false }
    }
    const reason = secrets.text(causeOf(error))
    const unreachable = latchkeyError('UNREACHABLE', `Cannot reach ${root}${reason}`, { cause })
    return { ...lost(unreachable), isUncertain: !wasNotSent(error) }
  }

  /** The credential that a response was counted by: a key has three windows, an address has one. */
  function credentialOf<T>(call: Call<T>, headers: Headers): CountedBy | undefined {
    const isKeys = headers.get('ratelimit-policy')?.includes('"hour"') ?? call.apiKey === true
    if (!isKeys) return 'address'
    // A key that is being made or recovered is not the client's.
    return call.apiKey === true ? 'apiKey' : undefined
  }

  const isStale = (signed: SignedMessage) => clock.now() > signed.freshUntil
  const isOver = (signed: SignedMessage) => clock.now() > signed.goodUntil

  function signedTooLate({ timestamp, goodUntil }: SignedMessage): LatchkeyError {
    const [seconds, maxAgeSeconds] = [clock.now(), goodUntil].map((time) =>
      Math.round((time - timestamp) / 1_000),
    )
    return latchkeyError(
      'SIGNED_TOO_LATE',
      `The wallet signed after ${seconds} seconds, and a message is good for ${maxAgeSeconds}`,
      { details: { seconds, maxAgeSeconds } },
    )
  }

  function writeRequest<T>(call: Call<T>, signed: SignedMessage | undefined) {
    const key = call.apiKey === true ? apiKey : call.apiKey || undefined
    const headers: Record<string, string> = {
      ...(userAgent !== undefined && { 'user-agent': userAgent }),
      ...call.context?.headers,
      accept: 'application/json',
    }
    let body = call.body
    if (key !== undefined) headers['x-api-key'] = key
    if (call.session === true && session !== undefined) headers.authorization = `Bearer ${session}`
    if (signed !== undefined && call.method === 'GET') {
      headers['x-message'] = signed.message
      headers['x-signature'] = signed.signature
      headers['x-wallet-address'] = signed.walletAddress
      if (signed.publicKey !== undefined) headers['x-public-key'] = signed.publicKey
    } else if (signed !== undefined) {
      const { message, signature, walletAddress, publicKey } = signed
      const proof = { message, signature, walletAddress, ...(publicKey && { publicKey }) }
      body = { ...body, ...(call.proof?.write?.(signed) ?? proof) }
    }
    if (body !== undefined) headers['content-type'] = 'application/json'
    return {
      method: call.method,
      headers,
      // A followed redirect would send X-API-Key to the host that it names.
      redirect: 'manual' as const,
      ...(body !== undefined && { body: JSON.stringify(body) }),
    }
  }

  return {
    send,
    listen(path, lastEventId, { signal, headers: given }, auth) {
      const headers: Record<string, string> = {
        ...(userAgent !== undefined && { 'user-agent': userAgent }),
        ...given,
        accept: 'text/event-stream',
      }
      if (lastEventId !== undefined) headers['last-event-id'] = lastEventId
      if (auth === 'session' && session !== undefined) headers.authorization = `Bearer ${session}`
      if (auth === 'apiKey' && apiKey !== undefined) headers['x-api-key'] = apiKey
      const url = writeUrl(root, { method: 'GET', path })
      observer?.onRequest({ method: 'GET', path, url, attempt: 1, headers: shownHeaders(headers) })
      return fetch(url, { method: 'GET', headers, redirect: 'manual', signal })
    },
    socket(path, after, auth) {
      const secret = auth === 'apiKey' ? apiKey : session
      const url = writeUrl(root, { method: 'GET', path, query: { after } })
      return {
        url: url.replace(/^http/, 'ws'),
        protocols: ['latchkey.v1', `latchkey.bearer.${secret}`],
      }
    },
    async refusal(response, signal) {
      const text = await readResponse(response, MAX_REFUSAL_BYTES, signal)
      const answer = readAnswer(response, text, { secrets: credentials, credentials }, clock.now())
      return isFailure(answer)
        ? answer.error
        : latchkeyError('BAD_RESPONSE', 'The response is no stream of events')
    },
    rateLimit: (credential) => rateLimits[credential],
  }
}

function bodyOf({ body }: RequestInit): { body?: string } {
  return typeof body === 'string' ? { body } : {}
}

/** An attempt without a response: the request may have arrived. */
function lost(error: LatchkeyError): Failure {
  return { error, isUncertain: true, isTransient: true }
}

function isFailure(answer: object | Failure): answer is Failure {
  return 'error' in answer && answer.error instanceof LatchkeyError
}

/**
 * Returns how long to wait before the next attempt; undefined where there must be none. A 429, and a request that was never sent,
 * changed nothing: every call may follow. Anything else may have taken effect, and only what is repeatable follows.
 */
function retryWaitMs(failure: Failure, repeatable: boolean, retries: number): number | undefined {
  const { error, isTransient, isUncertain } = failure
  if (!isTransient || (isUncertain && !repeatable)) return undefined
  if (error.retryAfterSeconds !== undefined) return error.retryAfterSeconds * 1000
  if (error.status === 429) return REFUSED_WAIT_MS
  const longest = Math.min(FIRST_WAIT_MS * 2 ** retries, LONGEST_WAIT_MS)
  return Math.round(longest * (1 - Math.random() / 2))
}

function writeUrl<T>(root: string, call: Pick<Call<T>, 'method' | 'path' | 'query'>): string {
  const url = new URL(root + call.path)
  for (const [name, value] of Object.entries(call.query ?? {}))
    if (value !== undefined) url.searchParams.set(name, String(value))
  return url.href
}

function maxBytesOf<T>({ isLong }: Call<T>, { ok }: Response): number {
  if (!ok) return MAX_REFUSAL_BYTES
  return isLong === true ? MAX_LONG_BYTES : MAX_BYTES
}

function readAnswer(
  response: Response,
  text: string,
  { secrets, credentials }: { secrets: Redaction; credentials: Redaction },
  nowMs: number,
): object | Failure {
  const { status, headers } = response
  const { value, isCut } = parseObject(text)
  const body = (response.ok ? credentials : secrets).value(value) as object | undefined
  if (response.ok && body !== undefined) return body
  const requestId = requestIdOf(response, secrets)
  const rateLimit = readRateLimit(headers)
  const retryAfterSeconds = readRetryAfterSeconds(response, nowMs)
  const facts = {
    status,
    headers: redactedHeaders(headers, secrets),
    ...(requestId !== undefined && { requestId }),
    ...(rateLimit !== undefined && { rateLimit }),
    ...(retryAfterSeconds !== undefined && { retryAfterSeconds }),
  }
  // A refusal says that nothing was done. A fault, of the service or of a proxy before it, says nothing.
  const isFault = status === 408 || status >= 500
  const fails = (error: LatchkeyError): Failure => ({
    error,
    isUncertain: !VERDICTS.includes(error.code) && (isFault || response.ok),
    isTransient:
      !VERDICTS.includes(error.code) && (isFault || (response.ok && isCut) || status === 429),
  })
  if (response.type === 'opaqueredirect' || (status >= 300 && status < 400))
    return fails(latchkeyError('BAD_RESPONSE', 'The service answered with a redirect', facts))
  if (!isErrorBody(body)) {
    const foreign = `The answer (${status}) is not the service's`
    return fails(latchkeyError('BAD_RESPONSE', foreign, facts))
  }
  const details = typeof body.details === 'object' && body.details !== null && body.details
  return fails(latchkeyError(body.code, body.error, { ...facts, ...(details && { details }) }))
}

function redactedHeaders(headers: Headers, secrets: Redaction): Headers {
  const shown = new Headers()
  for (const [name, value] of headers)
    if (name !== 'set-cookie') shown.set(name, secrets.text(value))
  return shown
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

/** The object of a JSON text, or whether it looks like one that was cut short: without a length, such a body ends like a whole one. */
function parseObject(text: string): { value: object | undefined; isCut: boolean } {
  try {
    const value = parseBounded(text)
    const isObject = typeof value === 'object' && value !== null
    return { value: isObject ? value : undefined, isCut: false }
  } catch (error) {
    return { value: undefined, isCut: error instanceof SyntaxError && text.startsWith('{') }
  }
}

function causeOf(error: unknown): string {
  if (!(error instanceof Error)) return ''
  const cause = error.cause instanceof Error ? error.cause : error
  return `: ${cause.message || cause.name}`
}

function wasNotSent(error: unknown): boolean {
  for (let at = error, depth = 0; at instanceof Error && depth < 4; at = at.cause, depth++)
    if ('code' in at && typeof at.code === 'string' && NOT_SENT.test(at.code)) return true
  return false
}
