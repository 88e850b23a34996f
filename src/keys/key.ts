import type { Scope } from './scope.ts'

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
export interface Key {
  /** `key_` and letters or digits. */
  id: string
  /** The same as `id`. */
  keyId: string
  name: string
  /** The first and last characters of the secret, enough to recognise it and too few to use it. */
  keyPreview: string
  walletAddress: string
  permissions: Scope[]
  /** Requests a minute. */
  rateLimit: number
  status: KeyStatus
  /** ISO 8601, like every time below. */
  createdAt: string
  lastUsedAt?: string
  expiresAt?: string
  revokedAt?: string
  usageStats: UsageStats
}

/** The answer that creates a key: the only one, ever, that holds `apiKey`. */
export interface CreatedKey {
  status: 'success'
  /** `ck_live_` + 43 base62 characters + a 6 character checksum. */
  apiKey: string
  keyId: string
  name: string
  permissions: Scope[]
  /** Requests a minute. */
  rateLimit: number
  expiresAt?: string
  createdAt: string
}
