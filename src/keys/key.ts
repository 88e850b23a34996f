import type { AuditHead } from '../audit/event.ts'
import type { Permission } from './scope.ts'
import type { Suspended } from './suspension.ts'
import type { Heartbeat, KeyLimits, KeyNotes, KeyRules } from './terms.ts'

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

/** An API key as its owner sees it. The secret is not part of it: only the response that creates or rotates it has one. */
export interface Key extends KeyLimits, KeyRules, KeyNotes {
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
  /** ISO 8601, like every time below. */
  createdAt: string
  lastUsedAt?: string
  expiresAt?: string
  /** When the secret before the last rotation ends; absent once it has. */
  previousUntil?: string
  suspendedAt?: string
  /** Who suspended it: its owner, the operator, both, or one of the owner's rules, by its name. Its owner lifts all but the operator's. */
  suspendedBy?: Suspended
  revokedAt?: string
  usageStats: UsageStats
}

/** The response that creates a key: the only one that has `apiKey`. */
export interface CreatedKey extends KeyLimits, KeyRules, KeyNotes {
  status: 'success'
  /** `ck_live_` + 43 base62 characters, of which 4 name the shard of the wallet, + a 6 character checksum. */
  apiKey: string
  keyId: string
  name: string
  permissions: Permission[]
  /** Requests a minute. */
  rateLimit: number
  expiresAt?: string
  createdAt: string
  /** The event of the wallet's audit that the creation appended. */
  auditHead: AuditHead
}

/** The response that creates a key with `publicKey`: its holder has the private key, and there is no secret. */
export type CreatedSigningKey = Omit<CreatedKey, 'apiKey'>

/** The response that rotates a key: the only one that has its new secret. */
export interface RotatedKey {
  status: 'success'
  apiKey: string
  keyId: string
  /** ISO 8601: the secret before this one works until then. */
  previousUntil: string
  /** The event of the wallet's audit that the rotation appended. */
  auditHead: AuditHead
}

/** One of the three windows in which a key's requests are counted. */
export interface KeyWindow {
  name: 'minute' | 'hour' | 'day'
  limit: number
  remaining: number
  /** Unix seconds at which the next window begins. */
  resetAt: number
  lengthSeconds: number
}

/** A key as its bearer sees it: whose it is, what it may do, and what is left of its quota. */
export interface Me {
  status: 'success'
  owner: string
  /** CAIP-10, as `stacks:1:SP...`. */
  ownerCaip10: string
  keyId: string
  name: string
  permissions: Permission[]
  limits: KeyLimits
  /** What a silence of the key does, where its owner said so. */
  heartbeat?: Heartbeat
  /** What was spent today (UTC), by input token, of the tokens that have a daily limit. */
  spentToday: Record<string, string>
  /** Requests a minute. */
  rateLimit: number
  windows: KeyWindow[]
  /** ISO 8601: when the key ends, or the secret that was sent. */
  expiresAt?: string
  createdAt: string
}

/** The response to a heartbeat. */
export interface HeartbeatTaken {
  status: 'success'
  keyId: string
  /** What a silence does; null where the owner set nothing for it, and the heartbeat has no effect. */
  heartbeat: Heartbeat | null
  /** ISO 8601: a request that the gate counts before then keeps it from happening. Null with `heartbeat`. */
  deadline: string | null
}
