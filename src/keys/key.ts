import type { KeyLimits } from './limits.ts'
import type { Permission } from './scope.ts'

/** Whether a key is accepted. Only `active` is; `revoked` and `expired` are final. */
export type KeyStatus = 'active' | 'suspended' | 'revoked' | 'expired'

/** Counters of a key. `totalRequests` is always `successfulRequests` + `failedRequests`. */
export interface UsageStats {
  totalRequests: number
  successfulRequests: number
  failedRequests: number
  creationCount: number
  executionCount: number
  cancellationCount: number
}

/** An API key as its owner sees it. The secret is not part of it: it appears once, in the answer that creates it. */
export interface Key extends KeyLimits {
  /** `key_` and letters or digits. */
  id: string
  /** The same as `id`. */
  keyId: string
  name: string
  /** The first and last characters of the secret, enough to recognise it and too few to use it. */
  keyPreview: string
  walletAddress: string
  permissions: Permission[]
  /** Requests a minute. */
  rateLimit: number
  status: KeyStatus
  label?: string
  justification?: string
  /** ISO 8601, like every time below. */
  createdAt: string
  lastUsedAt?: string
  expiresAt?: string
  /** Until when the secret before the last rotation works. */
  previousUntil?: string
  suspendedAt?: string
  revokedAt?: string
  usageStats: UsageStats
}

/** The answer that creates a key: the only one, ever, that holds `apiKey`. */
export interface CreatedKey extends KeyLimits {
  status: 'success'
  /** `ck_live_` + 43 base62 characters + a 6 character checksum. */
  apiKey: string
  keyId: string
  name: string
  permissions: Permission[]
  /** Requests a minute. */
  rateLimit: number
  label?: string
  justification?: string
  expiresAt?: string
  createdAt: string
}

/** The answer that rotates a key: the only one, ever, that holds its new secret. */
export interface RotatedKey {
  status: 'success'
  apiKey: string
  keyId: string
  /** ISO 8601: until then the secret before this one works as well. */
  previousUntil: string
}

/** One of the three windows in which a key's requests are counted. */
export interface KeyWindow {
  name: 'minute' | 'hour' | 'day'
  limit: number
  remaining: number
  /** Unix seconds at which it starts anew. */
  resetAt: number
  lengthSeconds: number
}

/** A key as whoever holds it sees it: whose it is, what it may do, and what is left. */
export interface Me {
  status: 'success'
  owner: string
  /** CAIP-10, as `stacks:1:SP...`. */
  ownerCaip10: string
  keyId: string
  name: string
  permissions: Permission[]
  limits: KeyLimits
  /** By input token, of the tokens that have a daily amount. */
  spentToday: Record<string, string>
  /** Requests a minute. */
  rateLimit: number
  windows: KeyWindow[]
  /** ISO 8601: when the key ends, or the secret that was sent. */
  expiresAt?: string
  createdAt: string
}
