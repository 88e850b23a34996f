/** One request with a key, as the statistics see it. */
export interface Use {
  keyId: string
  /** Milliseconds since 1970. */
  at: number
  /** `OK`, or the code of the refusal. */
  outcome: string
  ip: string
  userAgent: string | undefined
  /** How long an execution took; undefined for anything else. */
  executionMs?: number | undefined
}

/** A stretch of time and what became of the requests in it. */
export interface UsageBucket {
  /** ISO 8601: when the hour or the UTC day began. */
  start: string
  requests: number
  /** Requests by outcome: `OK`, or the code of the refusal. */
  outcomes: Record<string, number>
}

/** An address or a user agent that a key was used from. */
export interface Sighting {
  value: string
  requests: number
  firstSeenAt: string
  lastSeenAt: string
}

/** How a key was used. Statistics: a process that is killed loses the last seconds of them, and never a counter. */
export interface KeyUsage {
  status: 'success'
  keyId: string
  by: 'hour' | 'day'
  /** Oldest first; stretches without a request are left out. */
  usage: UsageBucket[]
  /** Of the executions in that time, in milliseconds. */
  averageExecutionMs?: number
  /** The last ones seen. */
  ips: Sighting[]
  userAgents: Sighting[]
}

export const USAGE_DAYS = 90

/** Refusals that an owner would want to read in the audit. */
export const WORTH_KNOWING: ReadonlySet<string> = new Set([
  'API_KEY_INACTIVE',
  'IP_NOT_ALLOWED',
  'KEY_LIMIT_EXCEEDED',
  'PERMISSION_DENIED',
])
