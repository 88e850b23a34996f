import type { ErrorCode } from '../errors.ts'
import type { RateLimit } from './rate-limit.ts'
import { boundedDetails, oneLine } from './safe-text.ts'

/** A failure on the client's side of the wire: what no service refused. */
export type ClientErrorCode =
  | 'UNREACHABLE'
  | 'TIMEOUT'
  | 'BAD_RESPONSE'
  | 'INVALID_ARGUMENT'
  | 'SIGNER_MISSING'
  | 'SIGNING_FAILED'
  | 'SIGNING_CANCELLED'
  | 'SIGNED_TOO_LATE'
  | 'WRONG_ACCOUNT'
  | 'MULTISIG_ADDRESS'
  | 'WALLET_UNSUPPORTED'
  | 'WALLET_FAULT'
  | 'WRONG_NETWORK'
  | 'WRONG_DOMAIN'
  | 'WRONG_ROUTER'
  | 'CLOCK_SKEW'
  | 'ORDER_NOT_SETTLED'

/** One sentence for each code of the service: what to do about it. */
const HINTS: Record<ErrorCode, string> = {
  INVALID_REQUEST: 'The details name the member that is wrong.',
  ORDER_NOT_OPEN:
    'Only an open order can be executed or cancelled; read its status with orders.get.',
  ORDER_NOT_YET_VALID: "Try again once the order's validFrom has passed.",
  INVALID_API_KEY: 'Check that the whole key was copied, and that it belongs to this service.',
  API_KEY_INACTIVE:
    'The details say why: it was revoked, suspended, rotated away or edited, or it expired.',
  INVALID_SIGNATURE:
    "Check that the wallet's selected account and network are the ones that the message names.",
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
  KEY_NOT_FOUND: 'No key of this wallet has this id; keys.list shows them all.',
  ORDER_NOT_FOUND: 'Check the uuid (case matters) and the service.',
  TOKEN_NOT_FOUND: 'Check the contract id and the network.',
  NOT_FOUND: 'Check that the base URL leads to a Latchkey service.',
  METHOD_NOT_ALLOWED: 'Client and service may differ in version.',
  MESSAGE_REPLAYED: 'A signed message works once; sign a new one.',
  AUDIT_HEAD_UNKNOWN:
    'The audit was cut or replaced since this client last saw it: ask the operator, and compare an export with an older one.',
  KEY_NOT_LIVE: 'Nothing changes a key that has ended; the details say why. Create another one.',
  ROTATION_IN_GRACE:
    'Use the secret that the rotation before returned; if it is lost, rotate with force, or wait until previousUntil of the details.',
  DUPLICATE_KEY_NAME: 'Choose another name, or revoke the key that has it.',
  ORDER_CONFLICT: 'Another order has this uuid; choose a new one.',
  KEY_LIMIT_REACHED: 'Revoke a key that is no longer used.',
  KEY_HISTORY_FULL:
    "Rotate or update a live key in place of making another one; the service's operator can raise the limit.",
  SESSION_LIMIT_REACHED:
    'End a session, or wait until the first of them ends by itself: the details say when. keys.revokeAll ends them all.',
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

/** As `HINTS`, for what no service refused. */
const CLIENT_HINTS: Record<ClientErrorCode, string> = {
  UNREACHABLE:
    'Check the base URL, that the service runs and, in a page, that it allows the origin.',
  TIMEOUT: 'The service may have done what was asked: look before asking again.',
  BAD_RESPONSE:
    'Check that the base URL leads to a Latchkey service, and not to a page or a proxy.',
  INVALID_ARGUMENT: 'Nothing was sent.',
  SIGNER_MISSING: 'Pass a signer (privateKeySigner, walletSigner) or an apiKey to createClient.',
  SIGNING_FAILED: 'Nothing was sent.',
  SIGNING_CANCELLED: 'Nothing was signed; ask again when the user wants to.',
  SIGNED_TOO_LATE:
    'Nothing was done. Ask again, and confirm in the wallet within the time that the details name.',
  WRONG_ACCOUNT:
    'Nothing was sent. Select the account in the wallet and sign again, or call reset() of the signer to use the one that is selected.',
  MULTISIG_ADDRESS: 'Nothing was signed. Select an account with one key.',
  WALLET_UNSUPPORTED: 'Nothing was sent.',
  WALLET_FAULT: 'Nothing was sent. Update the wallet, or use another one.',
  WRONG_NETWORK: 'Nothing was signed.',
  WRONG_DOMAIN:
    'Nothing was signed: a signature for another service could be used there. Check the base URL, or pass the domain that the service documents as the option domain.',
  WRONG_ROUTER:
    'Nothing was signed: a router can spend what an intent names. Pass the contract ids of the routers that you trust, not those that the service names, as the option routers.',
  CLOCK_SKEW:
    'Set the clock of this machine; if it is right, the service is wrong, and nothing should be signed for it.',
  ORDER_NOT_SETTLED: 'The details say what became of it.',
}

const HINT_OF: Partial<Record<string, string>> = { ...HINTS, ...CLIENT_HINTS }

/** Whether a text may be the code of a service. The client's own are none: some of them say that nothing was sent. */
export function isServiceCode(code: string): code is ErrorCode {
  return /^[A-Z][A-Z0-9_]{0,63}$/.test(code) && !Object.hasOwn(CLIENT_HINTS, code)
}

const MAX_MESSAGE_LENGTH = 1_000

/** The optional members of a {@link LatchkeyError}. */
export interface LatchkeyErrorOptions {
  status?: number
  details?: Record<string, unknown>
  requestId?: string
  retryAfterSeconds?: number
  rateLimit?: RateLimit
}

/**
 * The error of every call that fails, except an abort, which rejects with the signal's reason. Nothing of it contains an API key,
 * a session or a signature that the client sent, in so far as a service repeats them as they were. Its texts are bounded,
 * and have neither control nor format characters: they can be logged as they are.
 *
 * @example
 * ```ts
 * import { createClient, LatchkeyError } from 'latchkey/client'
 *
 * const client = createClient({ baseUrl: 'https://dex.example' })
 * try {
 *   await client.orders.get('no-such-order')
 * } catch (error) {
 *   if (!(error instanceof LatchkeyError)) throw error
 *   console.log(error.code, error.status, error.message) // ORDER_NOT_FOUND 404 ...
 * }
 * ```
 */
export class LatchkeyError extends Error {
  override readonly name = 'LatchkeyError'
  /** Stable, for machines. A newer service may send a code that this type does not name. */
  readonly code: ErrorCode | ClientErrorCode
  /** What to do about it: one sentence, also the end of `message`. */
  readonly hint: string
  /** HTTP status; undefined when there was no response. */
  readonly status: number | undefined
  /** The facts of the refusal; its members depend on `code`. */
  readonly details: Record<string, unknown> | undefined
  /** Identifies the request in the service's logs. */
  readonly requestId: string | undefined
  /** From `Retry-After`, or the end of the window after a 429. */
  readonly retryAfterSeconds: number | undefined
  /** The caller's quota as of this response. */
  readonly rateLimit: RateLimit | undefined

  constructor(
    code: ErrorCode | ClientErrorCode,
    error: string,
    { status, details, requestId, retryAfterSeconds, rateLimit }: LatchkeyErrorOptions = {},
  ) {
    const hint = HINT_OF[code] ?? ''
    super(`${oneLine(error, MAX_MESSAGE_LENGTH)}. ${hint}`.trim())
    this.code = code
    this.hint = hint
    this.status = status
    this.details = details && boundedDetails(details)
    this.requestId = requestId
    this.retryAfterSeconds = retryAfterSeconds
    this.rateLimit = rateLimit
  }
}

/** Throws `INVALID_ARGUMENT` with what the service would refuse, in its words, before a wallet is asked to sign it. */
export function requireNoIssues(issues: readonly { path: string; message: string }[]): void {
  const [first] = issues
  if (first === undefined) return
  throw new LatchkeyError('INVALID_ARGUMENT', `${first.path} ${first.message}`, {
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
