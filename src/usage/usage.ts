import type { KeyHash } from '../keys/secret.ts'

/** What a secret is called in statistics: too little of its hash to find a key by. */
export const SECRET_NAME_LENGTH = 16

/** One request with a key, as statistics count it. */
export interface Use {
  keyId: string
  /** Of the key's wallet. */
  shard: number
  /** Milliseconds since 1970. */
  at: number
  /** `OK`, or the code of the refusal. */
  outcome: string
  ip: string
  userAgent: string | undefined
  /** Which secret was presented, while its key has two; undefined otherwise. */
  secret?: KeyHash | undefined
  /** How long an execution took; undefined for anything else. */
  executionMs?: number | undefined
}

/** An hour or a UTC day, and the outcomes of the requests in it. */
export interface UsageBucket {
  /** ISO 8601. */
  start: string
  requests: number
  /** Requests by outcome: `OK`, or the code of the refusal. */
  outcomes: Record<string, number>
}

/** What of a request is remembered, apart from how often it came. */
export type SightingKind = 'ip' | 'userAgent' | 'secret'

/** An address or a user agent that a key was used from. */
export interface Sighting {
  value: string
  requests: number
  firstSeenAt: string
  lastSeenAt: string
}

/** What the usage of a key knows of its two secrets while the grace of a rotation lasts. What is absent was not seen. */
export interface RotationUse {
  /** ISO 8601, like the times below. */
  previousUntil: string
  newSecretUsedAt?: string
  previousSecretUsedAt?: string
}

/** How a key was used. These are statistics: a killed process loses the last seconds of them. The exact counters are `UsageStats`. */
export interface KeyUsage {
  status: 'success'
  keyId: string
  by: 'hour' | 'day'
  /** Oldest first. Hours and days without a request are left out. */
  usage: UsageBucket[]
  /** Mean duration of the executions in that time, in milliseconds. */
  averageExecutionMs?: number
  /** Last seen first, at most 10. */
  ips: Sighting[]
  userAgents: Sighting[]
  /** Absent where no grace of a rotation lasts. */
  rotation?: RotationUse
  /** What is reserved of the daily amounts of today (UTC), by input token. */
  spentToday: Record<string, string>
}

/** A UTC day of a key. */
export interface UsageDay {
  /** ISO 8601. */
  start: string
  requests: number
  /** Those of them that were refused. */
  refused: number
}

/** How one key of a wallet was used. */
export interface UsageOfKey {
  keyId: string
  /** Oldest first, without days that have no request. */
  days: UsageDay[]
  /** The address that it was used from last. */
  lastAddress?: string
}

/** How the keys of a wallet were used; statistics, as {@link KeyUsage}. */
export interface WalletUsage {
  status: 'success'
  /** Keys without a request in that time are left out. */
  keys: UsageOfKey[]
}

/** How long statistics are kept. */
export const USAGE_DAYS = 90

/** Codes of refusals that are appended to the owner's audit: they may be the first sign of a thief. */
export const AUDITED_REFUSALS: ReadonlySet<string> = new Set([
  'API_KEY_INACTIVE',
  'IP_NOT_ALLOWED',
  'KEY_LIMIT_EXCEEDED',
  'PERMISSION_DENIED',
])
