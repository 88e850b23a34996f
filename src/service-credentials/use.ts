import { type SQL, sql } from 'drizzle-orm'
import type { Mac } from '../crypto/mac.ts'
import type { Database } from '../db/database.ts'
import { statement } from '../db/statement.ts'
import { milliseconds } from '../db/time.ts'
import { retryAfterSeconds, WINDOW_SECONDS, type Window } from '../gate/windows.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Log } from '../log.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type CallingService, type CredentialRow, credentialText } from './credential.ts'

type UseReason = 'serviceCredentialInvalid' | 'rateLimited' | 'unavailable'

/** The decision about a request with a service credential, and the window that it was counted in. */
export type CredentialDecision = { windows?: Window[]; at?: number } & Result<
  CallingService,
  UseReason
>

/** Authenticates a service by the hash of its secret, and counts the request against the credential's minute. */
export type UseCredential = (hash: KeyHash) => Promise<CredentialDecision>

interface CredentialUseOptions {
  db: Database
  mac: Mac
  log: Log
  /** A time in place of Postgres' own, in milliseconds since 1970. */
  fixedTime?: (() => number | undefined) | undefined
}

interface Waiting {
  resolve: (decision: CredentialDecision) => void
  reject: (error: unknown) => void
}

/** Requests with one credential that may wait for a statement. */
const MAX_WAITING = 10_000

/**
 * Opens the use of service credentials. Every request reads the credential's row, so that a revocation holds at once everywhere; those
 * that arrive while a statement of the same credential is under way share the next one.
 */
export function openCredentialUse({
  db,
  mac,
  log,
  fixedTime,
}: CredentialUseOptions): UseCredential {
  /** By credential, while a statement is under way for it: the requests that have come since it was sent. */
  const queues = new Map<KeyHash, Waiting[]>()

  async function run(hash: KeyHash): Promise<void> {
    for (;;) {
      const batch = queues.get(hash) ?? []
      if (batch.length === 0) break
      queues.set(hash, [])
      await decideBatch(hash, batch)
    }
    queues.delete(hash)
  }

  async function decideBatch(hash: KeyHash, batch: readonly Waiting[]): Promise<void> {
    try {
      const fixed = fixedTime?.()
      const at = fixed === undefined ? null : new Date(fixed).toISOString()
      const count = at === null ? countByPostgresTime : countByGivenTime
      const [used] = await count(db, { hash, requests: batch.length, at })
      const isGenuine = used !== undefined && mac.verify(credentialText(used), used.mac)
      if (used !== undefined && !isGenuine)
        log('error', 'service_credential_tampered', { credentialId: used.id })
      for (const [place, { resolve }] of batch.entries())
        resolve(
          isGenuine
            ? decideUse(used, used.count - batch.length + place + 1)
            : refuse('serviceCredentialInvalid'),
        )
    } catch (error) {
      for (const { reject } of batch) reject(error)
    }
  }

  return (hash) =>
    new Promise((resolve, reject) => {
      const waiting = queues.get(hash)
      if (waiting === undefined) {
        queues.set(hash, [{ resolve, reject }])
        void run(hash)
      } else if (waiting.length < MAX_WAITING) waiting.push({ resolve, reject })
      else resolve(refuse('unavailable', { reason: 'overload' }))
    })
}

/** The decision about the request with this number in its minute, from 1. */
function decideUse(used: UsedRow, number: number): CredentialDecision {
  const { id, name, scopes, rateLimit, minute, at } = used
  const windows: Window[] = [
    {
      name: 'minute',
      limit: rateLimit,
      remaining: Math.max(0, rateLimit - number),
      resetAt: (minute + 1) * WINDOW_SECONDS.minute,
      lengthSeconds: WINDOW_SECONDS.minute,
    },
  ]
  if (number <= rateLimit) return { ...ok({ credentialId: id, name, scopes }), windows, at }
  const seconds = retryAfterSeconds(windows, at)
  return { ...refuse('rateLimited', { retryAfterSeconds: seconds }), windows, at }
}

/** The columns of a `CredentialRow`, with its MAC in hex. By immutable functions alone: a statement that changes rows returns them. */
export const CREDENTIAL_ROW: SQL = sql`id, encode(secret_hash, 'hex') AS "secretHash", name, scopes,
  rate_limit_per_minute AS "rateLimit", ${milliseconds(sql`created_at`)} AS "createdAt",
  ${milliseconds(sql`revoked_at`)} AS "revokedAt", encode(mac, 'hex') AS mac`

interface UsedRow extends CredentialRow {
  mac: string
  /** Requests of its minute, those of this statement included. */
  count: number
  /** The number of that minute. */
  minute: number
  /** Milliseconds since 1970. */
  at: number
}

/**
 * Counts requests with a live credential. Those beyond its limit count as well: within a minute there is no request after them that could
 * pass. The next minute counts on, as in the gate: a statement that waited for the row may find that a later one began it.
 */
const counting = (at: SQL) => {
  const minute = sql`floor(extract(epoch FROM ${at} AT TIME ZONE 'UTC') / ${sql.raw(String(WINDOW_SECONDS.minute))})::int`
  return sql`UPDATE service_credentials SET
      minute_count = CASE WHEN minute_window IN (${minute}, ${minute} + 1) THEN minute_count ELSE 0 END + ${sql.placeholder('requests')}::int,
      minute_window = CASE WHEN minute_window = ${minute} + 1 THEN minute_window ELSE ${minute} END,
      total_requests = total_requests + ${sql.placeholder('requests')}::int, last_used_at = greatest(last_used_at, ${at})
    WHERE secret_hash = decode(${sql.placeholder('hash')}, 'hex') AND revoked_at IS NULL
    RETURNING ${CREDENTIAL_ROW}, minute_count AS count, minute_window AS minute, ${milliseconds(at)} AS at`
}

interface Use extends Record<string, unknown> {
  hash: KeyHash
  requests: number
  at: string | null
}

const countByPostgresTime = statement<UsedRow, Use>('use_service_credential', () =>
  counting(sql`statement_timestamp()`),
)
/** Where several servers keep the row, each of them would read a clock of its own. */
const countByGivenTime = statement<UsedRow, Use>('use_service_credential_at', () =>
  counting(sql`${sql.placeholder('at')}::timestamptz`),
)
