import type { ErrorCode, REFUSALS, RefusalDetails, RefusalReason } from '../errors.ts'
import type { RateLimit } from './rate-limit.ts'
import { boundedDetails, oneLine } from './safe-text.ts'

/** What a failure is, and so its class. */
export type ErrorKind =
  | 'authentication'
  | 'permission'
  | 'notFound'
  | 'conflict'
  | 'rateLimit'
  | 'request'
  | 'unavailable'
  | 'execution'
  | 'connection'
  | 'timeout'
  | 'aborted'
  | 'signing'
  | 'response'

/** Failures on the client's side of the wire: what no service refused, and what to do about it. */
const CLIENT_ERRORS = {
  UNREACHABLE: {
    kind: 'connection',
    hint: 'Check the base URL, that the service runs and, in a page, that it allows the origin.',
  },
  TIMEOUT: {
    kind: 'timeout',
    hint: 'The service may have done what was asked: look before asking again.',
  },
  ABORTED: { kind: 'aborted', hint: 'The request may have been sent, and may have taken effect.' },
  BAD_RESPONSE: {
    kind: 'response',
    hint: 'Check that the base URL leads to a Latchkey service, and not to a page or a proxy.',
  },
  INVALID_ARGUMENT: { kind: 'request', hint: 'Nothing was sent.' },
  SIGNER_MISSING: {
    kind: 'signing',
    hint: 'Pass a signer (privateKeySigner, walletSigner) or an apiKey to createClient.',
  },
  SIGNING_FAILED: { kind: 'signing', hint: 'Nothing was sent.' },
  SIGNING_CANCELLED: {
    kind: 'signing',
    hint: 'Nothing was signed; ask again when the user wants to.',
  },
  SIGNED_TOO_LATE: {
    kind: 'signing',
    hint: 'Nothing was done. Ask again, and confirm in the wallet within the time that the details name.',
  },
  WRONG_ACCOUNT: {
    kind: 'signing',
    hint: 'Nothing was sent. Select the account in the wallet and sign again, or call reset() of the signer to use the one that is selected.',
  },
  MULTISIG_ADDRESS: {
    kind: 'signing',
    hint: 'Nothing was signed. Select an account with one key.',
  },
  WALLET_UNSUPPORTED: { kind: 'signing', hint: 'Nothing was sent.' },
  WALLET_FAULT: {
    kind: 'signing',
    hint: 'Nothing was sent. Update the wallet, or use another one.',
  },
  WRONG_NETWORK: { kind: 'signing', hint: 'Nothing was signed.' },
  WRONG_DOMAIN: {
    kind: 'signing',
    hint: 'Nothing was signed: a signature for another service could be used there. Check the base URL, or pass the domain that the service documents as the option domain.',
  },
  WRONG_ROUTER: {
    kind: 'signing',
    hint: 'Nothing was signed: a router can spend what an intent names. Pass the contract ids of the routers that you trust, not those that the service names, as the option routers.',
  },
  CLOCK_SKEW: {
    kind: 'signing',
    hint: 'Set the clock of this machine; if it is right, the service is wrong, and nothing should be signed for it.',
  },
  WEBHOOK_INVALID: {
    kind: 'authentication',
    hint: 'Respond with 400, and do nothing of what it says.',
  },
  KEY_NOT_CREATED: { kind: 'notFound', hint: 'Create it again.' },
  ORDER_NOT_SETTLED: { kind: 'execution', hint: 'The details say what became of it.' },
} as const satisfies Record<string, { kind: ErrorKind; hint: string }>

/** A failure on the client's side of the wire: what no service refused. */
export type ClientErrorCode = keyof typeof CLIENT_ERRORS

/** The code of a {@link LatchkeyError}. */
export type LatchkeyErrorCode = ErrorCode | ClientErrorCode

/** The facts of the client's own failures. */
interface ClientErrorDetails {
  TIMEOUT: { timeoutMs?: number; deadlineMs?: number }
  INVALID_ARGUMENT: {
    member?: string
    reason?: string
    issues?: readonly { path: string; message: string }[]
  }
  SIGNED_TOO_LATE: { seconds: number; maxAgeSeconds: number }
  SIGNING_FAILED: WalletDetails
  SIGNING_CANCELLED: WalletDetails
  WALLET_UNSUPPORTED: WalletDetails
  WALLET_FAULT: WalletDetails
  WRONG_ACCOUNT: WalletDetails
  MULTISIG_ADDRESS: WalletDetails
  WRONG_DOMAIN: { domain?: string; signedDomain: string | null }
  WRONG_ROUTER: { trusted: readonly string[]; offered: readonly string[] }
  CLOCK_SKEW: { skewSeconds: number }
  ORDER_NOT_SETTLED: { uuid: string; status: string; failureReason?: string; txid?: string }
}

/** What a wallet was asked, and what it said. */
type WalletDetails = {
  method?: string
  walletCode?: number | string
  address?: string
  signedBy?: string
}

/** What `details` of an error with this code holds, where it has any. */
export type ErrorDetails<Code extends LatchkeyErrorCode> = Code extends ErrorCode
  ? RefusalDetails[Code]
  : Code extends keyof ClientErrorDetails
    ? ClientErrorDetails[Code]
    : Readonly<Record<string, unknown>>

/** An error whose code is known, and with it the type of its details. */
export interface LatchkeyErrorOf<Code extends LatchkeyErrorCode> extends LatchkeyError {
  readonly code: Code
  readonly details: ErrorDetails<Code> | undefined
}

/** The codes that a service refuses with under a status. */
type CodesOf<Status extends number> = Extract<
  (typeof REFUSALS)[RefusalReason],
  { status: Status }
>['code']

/** The client's own codes of a kind. */
type ClientCodesOf<Kind extends ErrorKind> = {
  [Code in ClientErrorCode]: (typeof CLIENT_ERRORS)[Code]['kind'] extends Kind ? Code : never
}[ClientErrorCode]

/** One sentence for each code of the service: what to do about it. */
const HINTS: Readonly<Record<ErrorCode, string>> = {
  INVALID_REQUEST: 'The details name the member that is wrong.',
  ORDER_NOT_OPEN:
    'Only an open order can be executed or cancelled; read its status with orders.get.',
  ORDER_NOT_YET_VALID: "Try again once the order's validFrom has passed.",
  INVALID_API_KEY: 'Check that the whole key was copied, and that it belongs to this service.',
  API_KEY_INACTIVE:
    'The details say why: it was revoked, suspended, rotated away or edited, or it expired.',
  INVALID_SIGNATURE:
    "Check that the wallet's selected account and network are the ones that the message names.",
  SIGNATURE_REQUIRED: 'Sign with secretRequestSigner.',
  SIGNATURE_INCOMPLETE: 'The details say why.',
  INVALID_REQUEST_SIGNATURE: 'The details say why.',
  EXPIRED_REQUEST_SIGNATURE:
    'Sign again, and send the message at once; check the clock of this machine.',
  CONTENT_DIGEST_MISMATCH: 'Sign it again.',
  REQUEST_REPLAYED: 'Sign it again.',
  EXPIRED_TIMESTAMP: 'Sign again, and send the message at once; check the clock of this machine.',
  UNAUTHORIZED_WALLET: 'Use the key or the wallet that owns the order.',
  KEY_LIMIT_EXCEEDED:
    'The details name the limit of the key; its owner can change it with keys.update.',
  ORDER_TAMPERED:
    'Create the same order again: an order of an earlier release is accepted then. Otherwise ask the operator.',
  SETTLEMENT_LIMIT_EXCEEDED:
    'Wait until settlements of this wallet have ended; the details name the bound.',
  WALLET_SUSPENDED: "The service's operator knows why.",
  PERMISSION_DENIED: 'Use a key that was created with the permission in the details.',
  IP_NOT_ALLOWED: 'The key is bound to other addresses; the details show the one that was seen.',
  INVALID_SESSION: 'The session ended or never was; create another one.',
  INVALID_SERVICE_CREDENTIAL: 'The operator issues service credentials.',
  SERVICE_SCOPE_DENIED: 'The operator says what a service may ask for.',
  KEY_NOT_FOUND: 'No key of this wallet has this id; keys.list shows them all.',
  ORDER_NOT_FOUND: 'Check the uuid (case matters) and the service.',
  ORDER_ARCHIVED: 'The order ended long ago: the operator has it in an archive.',
  TOKEN_NOT_FOUND: 'Check the contract id and the network.',
  NOT_FOUND: 'Check that the base URL leads to a Latchkey service.',
  METHOD_NOT_ALLOWED: 'Client and service may differ in version.',
  MESSAGE_REPLAYED:
    'A signed message works once, and what it says has been done; sign a new one for more.',
  AUDIT_HEAD_UNKNOWN:
    'The audit was cut or replaced since this client last saw it: ask the operator, and compare an export with an older one.',
  KEY_NOT_LIVE: 'Nothing changes a key that has ended; the details say why. Create another one.',
  ROTATION_IN_GRACE:
    'Use the secret that the rotation before returned; if it is lost, rotate with force, or wait until previousUntil of the details.',
  SECRET_IN_USE: 'Draw another secret.',
  DUPLICATE_KEY_NAME: 'Choose another name, or revoke the key that has it.',
  ORDER_CONFLICT: 'Another order has this uuid; choose a new one.',
  KEY_LIMIT_REACHED: 'Revoke a key that is no longer used.',
  KEY_HISTORY_FULL:
    "Rotate or update a live key in place of making another one; the service's operator can raise the limit.",
  SESSION_LIMIT_REACHED:
    'End a session, or wait until the first of them ends by itself: the details say when. keys.revokeAll ends them all.',
  WEBHOOK_NOT_FOUND: 'No webhook of this wallet has this id; webhooks.list shows them all.',
  WEBHOOK_URL_REFUSED:
    'Use https:// and a host of the public internet; the details say what is wrong.',
  WEBHOOK_LIMIT_REACHED: 'Delete a webhook that is no longer used.',
  WEBHOOK_DISABLED: 'Mend its receiver, and enable it with webhooks.update.',
  WEBHOOK_TAMPERED: 'Delete the webhook and create another one; tell the operator.',
  WEBHOOKS_OFF: 'Read webhooks.notices now and then; the operator knows why.',
  BODY_TOO_LARGE: 'Send less.',
  UNSUPPORTED_MEDIA_TYPE: 'Send JSON in UTF-8, and no Content-Encoding.',
  REQUEST_TIMEOUT: 'Send the request at once; the connection may be slow.',
  HEADERS_TOO_LARGE: 'Send fewer or shorter headers: cookies of another service, for example.',
  RATE_LIMIT_EXCEEDED: 'Wait for as long as retryAfterSeconds says.',
  TOO_MANY_STREAMS: 'Close streams that are not needed, or ask for the order now and then.',
  EVENTS_UNSUPPORTED: 'Ask for the order now and then; orders.waitFor does so by itself.',
  LEAK_REPORTS_OFF: 'Revoke the key with its own secret: keys.deleteSelf does.',
  EXECUTION_FAILED: 'The order could not be settled on chain; the details say why.',
  UNAVAILABLE: 'Nothing is lost; try again shortly.',
  INTERNAL: "Tell the service's operator the request id.",
}

/** Whether a text may be the code of a service. The client's own are none: some of them say that nothing was sent. */
export function isServiceCode(code: string): code is ErrorCode {
  return /^[A-Z][A-Z0-9_]{0,63}$/.test(code) && !Object.hasOwn(CLIENT_ERRORS, code)
}

const MAX_MESSAGE_LENGTH = 1_000

/** The optional members of a {@link LatchkeyError}. */
export interface LatchkeyErrorOptions {
  status?: number
  details?: Readonly<Record<string, unknown>>
  requestId?: string
  retryAfterSeconds?: number
  rateLimit?: RateLimit
  headers?: Headers
  cause?: unknown
}

/**
 * The error of every call that fails. Its class says what kind of failure it is, and its code which one. Nothing of it, its
 * `cause` and its `headers` included, contains an API key, a session or a signature that the client sent, in so far as a
 * service repeats them as they were. Its texts are bounded, and have neither control nor format characters: it can be
 * logged as it is, and `JSON.stringify` writes it.
 *
 * @example
 * ```ts
 * import { createClient, LatchkeyError, NotFoundError } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * try {
 *   await client.orders.get('no-such-order')
 * } catch (error) {
 *   if (!(error instanceof LatchkeyError)) throw error
 *   console.log(error.code, error.status, error instanceof NotFoundError) // ORDER_NOT_FOUND 404 true
 *   if (error.is('ORDER_NOT_OPEN')) console.log(error.details?.status) // the details of each code have a type
 * }
 * ```
 */
export class LatchkeyError extends Error {
  override readonly name: string = 'LatchkeyError'
  /** Stable, for machines. A newer service may send a code that this type does not name. */
  readonly code: LatchkeyErrorCode
  /** What to do about it: one sentence, also the end of `message`. */
  readonly hint: string
  /** HTTP status; undefined when there was no response. */
  readonly status: number | undefined
  /** The facts of the failure; its members depend on `code`. */
  readonly details: Readonly<Record<string, unknown>> | undefined
  /** Identifies the request in the service's logs. */
  readonly requestId: string | undefined
  /** From `Retry-After`, or the end of the window after a 429. */
  readonly retryAfterSeconds: number | undefined
  /** The caller's quota as of this response. */
  readonly rateLimit: RateLimit | undefined
  /** The headers of the response; undefined when there was none. Not enumerable. */
  declare readonly headers: Headers | undefined

  constructor(code: LatchkeyErrorCode, error: string, options: LatchkeyErrorOptions = {}) {
    const { status, details, requestId, retryAfterSeconds, rateLimit, headers, cause } = options
    const hint = hintOf(code)
    const text = `${oneLine(error, MAX_MESSAGE_LENGTH)}. ${hint}`.trim()
    super(text, cause === undefined ? undefined : { cause })
    this.code = code
    this.hint = hint
    this.status = status
    this.details = details && boundedDetails(details)
    this.requestId = requestId
    this.retryAfterSeconds = retryAfterSeconds
    this.rateLimit = rateLimit
    Object.defineProperty(this, 'headers', { value: headers, enumerable: false })
  }

  /**
   * Returns whether the error has one of these codes, and narrows the type of its `details`.
   *
   * @example
   * ```ts
   * import { createClient, LatchkeyError } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * const error = await bot.orders.execute('no-such-order').catch((error) => error)
   * const limit = error instanceof LatchkeyError && error.is('KEY_LIMIT_EXCEEDED') && error.details?.limit
   * console.log(limit || 'within its limits')
   * ```
   */
  is<One extends LatchkeyErrorCode>(...codes: One[]): this is LatchkeyErrorOf<One> {
    return (codes as LatchkeyErrorCode[]).includes(this.code)
  }

  /** What JSON shows of the error: everything but its stack, its headers and its cause. */
  toJSON(): Record<string, unknown> {
    const { name, message, code, hint, status, details, requestId, retryAfterSeconds, rateLimit } =
      this
    const shown = { status, details, requestId, retryAfterSeconds, rateLimit }
    return { name, message, code, hint, ...shown }
  }
}

/**
 * No or no good credential: 401.
 *
 * @example
 * ```ts
 * import { AuthenticationError, createClient } from 'latchkey/client'
 *
 * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
 * const error: unknown = await bot.keys.me().catch((error) => error)
 * console.log(error instanceof AuthenticationError ? error.code : 'no such failure')
 * ```
 */
export class AuthenticationError extends LatchkeyError {
  override readonly name = 'AuthenticationError'
  declare readonly code: CodesOf<401>
}

/**
 * The credential is good and does not allow this: 403.
 *
 * @example
 * ```ts
 * import { createClient, PermissionError } from 'latchkey/client'
 *
 * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
 * const error: unknown = await bot.orders.cancel('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162').catch((error) => error)
 * console.log(error instanceof PermissionError ? error.code : 'no such failure')
 * ```
 */
export class PermissionError extends LatchkeyError {
  override readonly name = 'PermissionError'
  declare readonly code: CodesOf<403>
}

/**
 * There is no such key, order or path: 404; or there was such an order, which was archived: 410.
 *
 * @example
 * ```ts
 * import { createClient, NotFoundError } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.orders.get('no-such-order').catch((error) => error)
 * console.log(error instanceof NotFoundError ? error.code : 'no such failure')
 * ```
 */
export class NotFoundError extends LatchkeyError {
  override readonly name = 'NotFoundError'
  declare readonly code: CodesOf<404 | 410> | ClientCodesOf<'notFound'>
}

/**
 * Something else is in its place, or the message was used before: 409.
 *
 * @example
 * ```ts
 * import { ConflictError, createClient } from 'latchkey/client'
 *
 * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
 * const error: unknown = await bot.orders.execute('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162').catch((error) => error)
 * console.log(error instanceof ConflictError ? error.code : 'no such failure')
 * ```
 */
export class ConflictError extends LatchkeyError {
  override readonly name = 'ConflictError'
  declare readonly code: CodesOf<409>
}

/**
 * Too many requests, settlements or streams: 429.
 *
 * @example
 * ```ts
 * import { createClient, RateLimitError } from 'latchkey/client'
 *
 * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
 * const error: unknown = await bot.keys.me({ maxRetries: 0 }).catch((error) => error)
 * console.log(error instanceof RateLimitError ? error.retryAfterSeconds : 'no such failure')
 * ```
 */
export class RateLimitError extends LatchkeyError {
  override readonly name = 'RateLimitError'
  declare readonly code: CodesOf<429>
}

/**
 * What was asked is wrong: an argument, where nothing was sent, or any other status from 400 to 499.
 *
 * @example
 * ```ts
 * import { createClient, InvalidRequestError } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.orders.get('no uuid').catch((error) => error)
 * console.log(error instanceof InvalidRequestError ? error.code : 'no such failure')
 * ```
 */
export class InvalidRequestError extends LatchkeyError {
  override readonly name = 'InvalidRequestError'
  declare readonly code: CodesOf<400 | 405 | 413 | 415 | 431> | ClientCodesOf<'request'>
}

/**
 * The service cannot serve the request now: 408, or a status from 500 on.
 *
 * @example
 * ```ts
 * import { createClient, UnavailableError } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.info().catch((error) => error)
 * console.log(error instanceof UnavailableError ? error.code : 'no such failure')
 * ```
 */
export class UnavailableError extends LatchkeyError {
  override readonly name = 'UnavailableError'
  declare readonly code: CodesOf<408 | 500 | 501 | 503>
}

/**
 * The order could not be executed, or did not settle.
 *
 * @example
 * ```ts
 * import { createClient, ExecutionError } from 'latchkey/client'
 *
 * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
 * const error: unknown = await bot.orders.execute('7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162').catch((error) => error)
 * console.log(error instanceof ExecutionError ? error.details?.reason : 'no such failure')
 * ```
 */
export class ExecutionError extends LatchkeyError {
  override readonly name = 'ExecutionError'
  declare readonly code: CodesOf<502> | ClientCodesOf<'execution'>
}

/**
 * There was no response: `cause` says why.
 *
 * @example
 * ```ts
 * import { ConnectionError, createClient } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.info({ maxRetries: 0 }).catch((error) => error)
 * console.log(error instanceof ConnectionError ? error.code : 'no such failure')
 * ```
 */
export class ConnectionError extends LatchkeyError {
  override readonly name: string = 'ConnectionError'
  declare readonly code: ClientCodesOf<'connection' | 'timeout'>
}

/**
 * There was no response in time.
 *
 * @example
 * ```ts
 * import { createClient, TimeoutError } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.info({ deadlineMs: 20_000 }).catch((error) => error)
 * console.log(error instanceof TimeoutError ? error.details : 'no such failure')
 * ```
 */
export class TimeoutError extends ConnectionError {
  override readonly name = 'TimeoutError'
  declare readonly code: ClientCodesOf<'timeout'>
}

/**
 * A signal aborted the call: `cause` is its reason. Its name is that of the platform's own error.
 *
 * @example
 * ```ts
 * import { AbortError, createClient } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.info({ signal: AbortSignal.abort('enough') }).catch((error) => error)
 * console.log(error instanceof AbortError ? error.cause : 'no such failure')
 * ```
 */
export class AbortError extends LatchkeyError {
  override readonly name = 'AbortError'
  declare readonly code: ClientCodesOf<'aborted'>
}

/**
 * Nothing was signed: by the wallet, or because the service is not the one that is signed for.
 *
 * @example
 * ```ts
 * import { createClient, SigningError } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.keys.list().catch((error) => error)
 * console.log(error instanceof SigningError ? error.code : 'no such failure')
 * ```
 */
export class SigningError extends LatchkeyError {
  override readonly name = 'SigningError'
  declare readonly code: ClientCodesOf<'signing'>
}

/**
 * The response is not a Latchkey service's.
 *
 * @example
 * ```ts
 * import { BadResponseError, createClient } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * const error: unknown = await client.info().catch((error) => error)
 * console.log(error instanceof BadResponseError ? error.status : 'no such failure')
 * ```
 */
export class BadResponseError extends LatchkeyError {
  override readonly name = 'BadResponseError'
  declare readonly code: ClientCodesOf<'response'>
}

const CLASSES = {
  authentication: AuthenticationError,
  permission: PermissionError,
  notFound: NotFoundError,
  conflict: ConflictError,
  rateLimit: RateLimitError,
  request: InvalidRequestError,
  unavailable: UnavailableError,
  execution: ExecutionError,
  connection: ConnectionError,
  timeout: TimeoutError,
  aborted: AbortError,
  signing: SigningError,
  response: BadResponseError,
} as const satisfies Record<ErrorKind, unknown>

const KIND_OF_STATUS: Readonly<Record<number, ErrorKind>> = {
  401: 'authentication',
  403: 'permission',
  404: 'notFound',
  410: 'notFound',
  408: 'unavailable',
  409: 'conflict',
  429: 'rateLimit',
}

/** Creates the error of a code, in the class of its kind. A code that this client does not know has the kind of its status. */
export function latchkeyError(
  code: LatchkeyErrorCode,
  error: string,
  options: LatchkeyErrorOptions = {},
): LatchkeyError {
  const kind = isClientCode(code) ? CLIENT_ERRORS[code].kind : kindOfRefusal(code, options.status)
  const Class = CLASSES[kind] as unknown as typeof LatchkeyError
  return new Class(code, error, options)
}

function kindOfRefusal(code: ErrorCode, status = 500): ErrorKind {
  if (code === 'EXECUTION_FAILED') return 'execution'
  return KIND_OF_STATUS[status] ?? (status < 500 ? 'request' : 'unavailable')
}

function isClientCode(code: LatchkeyErrorCode): code is ClientErrorCode {
  return Object.hasOwn(CLIENT_ERRORS, code)
}

function hintOf(code: LatchkeyErrorCode): string {
  return isClientCode(code) ? CLIENT_ERRORS[code].hint : (HINTS[code] ?? '')
}

/** Throws `INVALID_ARGUMENT` with what the service would refuse, in its words, before a wallet is asked to sign it. */
export function requireNoIssues(issues: readonly { path: string; message: string }[]): void {
  const [first] = issues
  if (first === undefined) return
  throw latchkeyError('INVALID_ARGUMENT', `${first.path} ${first.message}`, {
    details: { issues: issues.map(({ path, message }) => ({ path, message })) },
  })
}

/** Throws `INVALID_ARGUMENT` unless a number is a whole one within bounds. An absent one is not checked. */
export function requireWhole(
  path: string,
  value: number | undefined,
  min: number,
  max: number,
): void {
  if (value === undefined || (Number.isSafeInteger(value) && value >= min && value <= max)) return
  requireNoIssues([{ path, message: `must be a whole number from ${min} to ${max}` }])
}
