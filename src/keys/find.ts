import { and, desc, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { apiKeys, keyCounters } from '../db/schema.ts'
import { preparedQuery } from '../db/statement.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Key, KeyStatus } from './key.ts'
import { inactiveReason } from './liveness.ts'
import type { KeyServices } from './services.ts'
import { type KeyTerms, presentTerms } from './terms.ts'

type ApiKeyRow = typeof apiKeys.$inferSelect
type CountersRow = typeof keyCounters.$inferSelect

/** Two objects for each key: some columns have the same names in both tables. */
const KEY_AND_COUNTERS = { key: getTableColumns(apiKeys), counters: getTableColumns(keyCounters) }

/** A wallet's keys, newest first, revoked ones included. */
export async function listKeys(
  services: KeyServices,
  walletAddress: string,
  now: number,
): Promise<Key[]> {
  const found = await keysOfWallet(services.db).execute({ walletAddress })
  return found.map(({ key, counters }) => presentKey(key, counters, services.config, now))
}

/** One key of a wallet. Another wallet's key is refused exactly as one that does not exist. */
export async function getKey(
  services: KeyServices,
  walletAddress: string,
  keyId: string,
  now: number,
): Promise<Result<Key, 'keyNotFound'>> {
  const [row] = await keyOfWallet(services.db).execute({ walletAddress, keyId })
  return row === undefined
    ? refuse('keyNotFound')
    : ok(presentKey(row.key, row.counters, services.config, now))
}

const keysOfWallet = preparedQuery((db) =>
  db
    .select(KEY_AND_COUNTERS)
    .from(apiKeys)
    .innerJoin(keyCounters, eq(keyCounters.keyId, apiKeys.id))
    .where(eq(apiKeys.walletAddress, sql.placeholder('walletAddress')))
    .orderBy(desc(apiKeys.createdAt), desc(apiKeys.grantId))
    .prepare('list_keys'),
)

const keyOfWallet = preparedQuery((db) =>
  db
    .select(KEY_AND_COUNTERS)
    .from(apiKeys)
    .innerJoin(keyCounters, eq(keyCounters.keyId, apiKeys.id))
    .where(
      and(
        eq(apiKeys.id, sql.placeholder('keyId')),
        eq(apiKeys.walletAddress, sql.placeholder('walletAddress')),
      ),
    )
    .prepare('find_key'),
)

function presentKey(
  row: ApiKeyRow,
  counters: CountersRow,
  config: KeyServices['config'],
  now: number,
): Key {
  const terms: KeyTerms = { ...row, expiresAt: row.expiresAt?.getTime() ?? null }
  const isInGrace = row.previousUntil !== null && row.previousUntil.getTime() > now
  return {
    id: row.id,
    keyId: row.id,
    name: row.name,
    keyPreview: row.keyPreview,
    walletAddress: row.walletAddress,
    permissions: row.permissions,
    rateLimit: row.rateLimit ?? config.RATE_LIMIT_PER_MINUTE,
    status: statusOf(row, now),
    ...presentTerms(terms),
    createdAt: row.createdAt.toISOString(),
    ...(counters.lastUsedAt && { lastUsedAt: counters.lastUsedAt.toISOString() }),
    ...(row.expiresAt && { expiresAt: row.expiresAt.toISOString() }),
    ...(isInGrace && row.previousUntil && { previousUntil: row.previousUntil.toISOString() }),
    ...(row.suspendedAt && { suspendedAt: row.suspendedAt.toISOString() }),
    ...(row.revokedAt && { revokedAt: row.revokedAt.toISOString() }),
    usageStats: {
      totalRequests: counters.totalRequests,
      successfulRequests: counters.successfulRequests,
      failedRequests: counters.totalRequests - counters.successfulRequests,
      creationCount: counters.creationCount,
      executionCount: counters.executionCount,
      cancellationCount: counters.cancellationCount,
    },
  }
}

function statusOf({ revokedAt, suspendedAt, expiresAt }: ApiKeyRow, now: number): KeyStatus {
  const ms = (time: Date | null) => time?.getTime() ?? null
  const times = {
    revokedAt: ms(revokedAt),
    suspendedAt: ms(suspendedAt),
    expiresAt: ms(expiresAt),
  }
  return inactiveReason(times, now) ?? 'active'
}

/** The wallet of the key that a condition on `api_keys` selects; undefined when it selects none. */
export async function walletOf(tx: Database, which: SQL): Promise<string | undefined> {
  const [key] = await rows<{ wallet: string }>(
    tx,
    sql`SELECT wallet_address AS wallet FROM api_keys WHERE ${which}`,
  )
  return key?.wallet
}

/** A key as an operator looks it up, of whatever wallet. Times are ISO 8601. */
export interface FoundKey {
  keyId: string
  walletAddress: string
  name: string
  keyPreview: string
  permissions: string[]
  suspendedBy: string | null
  suspendedAt: string | null
  revokedAt: string | null
  expiresAt: string | null
}

/** Looks up keys by preview, id or wallet, newest first: every member that is given must match. At most 1000. */
export async function lookUpKeys(
  { db }: Pick<KeyServices, 'db'>,
  {
    preview,
    keyId,
    walletAddress,
  }: {
    preview?: string | undefined
    keyId?: string | undefined
    walletAddress?: string | undefined
  },
): Promise<FoundKey[]> {
  return rows<FoundKey>(
    db,
    sql`SELECT id AS "keyId", wallet_address AS "walletAddress", name, key_preview AS "keyPreview", permissions,
        suspended_by AS "suspendedBy", ${isoTime('suspended_at')} AS "suspendedAt",
        ${isoTime('revoked_at')} AS "revokedAt", ${isoTime('expires_at')} AS "expiresAt"
      FROM api_keys WHERE key_preview = coalesce(${preview ?? null}::text, key_preview)
        AND id = coalesce(${keyId ?? null}::text, id)
        AND wallet_address = coalesce(${walletAddress ?? null}::text, wallet_address)
      ORDER BY api_keys.created_at DESC LIMIT 1000`,
  )
}

/** ISO 8601, whatever the session's settings. */
function isoTime(column: string): SQL {
  return sql.raw(`to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`)
}
