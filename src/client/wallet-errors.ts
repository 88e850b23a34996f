import { type ClientErrorCode, LatchkeyError } from './errors.ts'

/** JSON-RPC 2.0 and its wallets: after these codes no dialog was open, so that another form of the request may follow. */
export const METHOD_NOT_FOUND = -32601
/** As {@link METHOD_NOT_FOUND}. */
export const INVALID_PARAMS = -32602
/** Of Xverse, for a page that it is not connected with. */
export const ACCESS_DENIED = -32002

/** What the codes of wallets mean. EIP-1193 (Leather), sats-connect (Xverse), @stacks/connect, WalletConnect. */
const CODES: Readonly<Record<number, ClientErrorCode>> = {
  4001: 'SIGNING_CANCELLED',
  5000: 'SIGNING_CANCELLED',
  [-32000]: 'SIGNING_CANCELLED',
  [-31001]: 'SIGNING_CANCELLED',
  [-32001]: 'WRONG_ACCOUNT',
  [METHOD_NOT_FOUND]: 'WALLET_UNSUPPORTED',
}
/** @stacks/connect, for an error that has no code: only its text says what it was. */
const UNKNOWN = -31000
const DECLINED = /\b(?:reject|den(?:y|ied)|declin|cancel)/i

/** The error of a request that a wallet refused: an `Error`, an object, the envelope around one, or a text. */
export function walletRefused(method: string, cause: unknown): LatchkeyError {
  const { message, code } = readRefusal(cause)
  const said = typeof message === 'string' ? message : ''
  const walletCode = typeof code === 'number' ? code : undefined
  const isDeclined = (walletCode ?? UNKNOWN) === UNKNOWN && DECLINED.test(said)
  const meaning = isDeclined ? 'SIGNING_CANCELLED' : CODES[walletCode ?? UNKNOWN]
  return new LatchkeyError(
    meaning ?? 'SIGNING_FAILED',
    `The wallet refused ${method}${said === '' ? '' : `: ${said}`}`,
    { details: { method, ...(walletCode !== undefined && { walletCode }) } },
  )
}

/** Bare providers of Leather and Xverse reject with an envelope, the older one of Xverse with a text. */
function readRefusal(cause: unknown): { message?: unknown; code?: unknown } {
  if (typeof cause === 'string') return { message: cause }
  if (!isObject(cause)) return {}
  return isObject(cause.error) ? cause.error : cause
}

/** The error of a wallet whose answer is of no use. */
export function walletFault(method: string, what: string): LatchkeyError {
  return new LatchkeyError('WALLET_FAULT', `The wallet answered ${method} with ${what}`, {
    details: { method },
  })
}

/** The code that the wallet itself gave. */
export function walletCodeOf(error: unknown): unknown {
  return error instanceof LatchkeyError ? error.details?.walletCode : undefined
}

/** Whether a value is an object, of which any member may be absent. */
export function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === 'object' && value !== null
}
