import type { KeyWindow } from '../keys/key.ts'
import type { Permission } from '../keys/scope.ts'
import type { KeyLimits } from '../keys/terms.ts'

/** A request that was signed for another service (RFC 9421). */
export interface ForeignRequest {
  /** In capitals. */
  method: string
  /** Absolute, as the client wrote it. Its host is one of the PUBLIC_HOSTS of the service that verifies. */
  url: string
  /** Those that the signature covers, and its own. */
  headers: Record<string, string>
}

/** What a backend asks about a key that was presented to it: by its secret, or by a signed request. */
export interface KeyQuestion {
  /** The secret, as the client sent it. */
  apiKey?: string | undefined
  request?: ForeignRequest | undefined
  /** The scope that the request needs. */
  scope: Permission
  /** How many requests it counts as, 1 to 1000: all of them, or none. By default 1. */
  cost?: number | undefined
  /** The address of the client. Without it a key that is bound to addresses is refused. */
  ip?: string | undefined
  /** What is asked for, for the service's log: up to 200 printable characters of ASCII. */
  resource?: string | undefined
}

/** A key that may do what was asked, once the request was counted. */
export interface ValidKey {
  valid: true
  code: 'OK'
  keyId: string
  walletAddress: string
  /** The wallet as an account of its chain (CAIP-10): `stacks:1:SP..`, or `stacks:2147483648:ST..` off mainnet. */
  principal: string
  name: string
  permissions: Permission[]
  limits: KeyLimits
  /** Requests a minute. */
  rateLimit: number
  windows: KeyWindow[]
  /** ISO 8601; null: never. */
  expiresAt: string | null
  /** What the backend's own response should say of the key's limits. */
  headers: Record<string, string>
}

/** A key that is refused: the members of the refusal's body, and how it is sent. */
export interface InvalidKey {
  valid: false
  /** The status of the refusal, as 401, 403 or 429. */
  httpStatus: number
  error: string
  /** As docs/errors.md lists them. */
  code: string
  details?: Record<string, unknown>
  /** ISO 8601. */
  timestamp: string
  requestId: string
  /** Absent for an unknown key. */
  keyId?: string
  /** The windows that the request was counted in. */
  windows?: KeyWindow[]
  headers: Record<string, string>
}

/** The decision about a key. */
export type KeyVerdict = ValidKey | InvalidKey
