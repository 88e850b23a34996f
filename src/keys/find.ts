import { and, desc, eq, getTableColumns, type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { apiKeys, keyCounters } from '../db/schema.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Key, KeyStatus } from './key.ts'
import { inactiveReason } from './liveness.ts'
import { isUnendedSql } from './liveness-sql.ts'
import type { KeyServices } from './services.ts'
import { type KeyTerms, presentTerms } from './terms.ts'

type ApiKeyRow = typeof apiKeys.$inferSelect
type CountersRow = typeof keyCounters.$inferSelect

/** Two objects for each key: some columns have the same names in both tables. */
const KEY_AND_COUNTERS = { key: getTableColumns(apiKeys), counters: getTableColumns(keyCounters) }

export interface KeyListFilter {
  /** Only keys that have not ended, or only those that have. */
  live?: boolean | undefined
  limit: number
  /** The id of the last key of the page before. */
  cursor?: string | undefined
}

/** A page of a wallet's keys, newest first. A cursor that is no key of the wallet is refused: an empty page would look like the end. */
export async function listKeys(
  services: Pick<KeyServices, 'db' | 'config'>,
  walletAddress: string,
  { live, limit, cursor }: KeyListFilter,
  now: number,
): Promise<Result<{ apiKeys: Key[]; nextCursor?: string }, 'invalidRequest'>> {
  const place = cursor === undefined ? undefined : await placeOf(services.db, cursor, walletAddress)
  if (cursor !== undefined && place === undefined)
    return refuse('invalidRequest', {
      problem: 'query does not fit the request',
      issues: [{ path: 'cursor', message: 'must be a nextCursor of this list' }],
    })
  const found = await services.db
    .select(KEY_AND_COUNTERS)
    .from(apiKeys)
    .innerJoin(keyCounters, areCountersOf(walletAddress))
    .where(
      and(
        isOfWallet(walletAddress),
        live === undefined ? undefined : isLiveSql(live, walletAddress, now),
        place === undefined ? undefined : isBehindSql(place),
      ),
    )
    .orderBy(desc(apiKeys.createdAt), desc(apiKeys.grantId))
    .limit(limit + 1)
  const page = found.slice(0, limit)
  const last = page.at(-1)?.key
  return ok({
    apiKeys: page.map(({ key, counters }) => presentKey(key, counters, services.config, now)),
    ...(found.length > page.length && last && { nextCursor: last.id }),
  })
}

/**
 * Whether a key of the wallet is live, or has ended. The live ones, which are few, are found by their index first: under a limit,
 * Postgres would look for them among all keys in the order of the list.
 */
function isLiveSql(live: boolean, walletAddress: string, now: number): SQL {
  const isUnended = isUnendedSql(timestamptz(now))
  return live
    ? sql`${apiKeys.id} = ANY (ARRAY(SELECT id FROM api_keys WHERE wallet_address = ${walletAddress}
        AND shard = ${shardSql(walletAddress)} AND ${isUnended}))`
    : sql`NOT (${isUnended})`
}

/** The live keys of a wallet, newest first: never more than MAX_ACTIVE_KEYS_PER_WALLET, as it is or once was. */
export async function liveKeysOf(
  { db, config }: Pick<KeyServices, 'db' | 'config'>,
  walletAddress: string,
  now: number,
): Promise<Key[]> {
  // LATERAL with a limit looks the counters of each key up. A join reads those of all keys where Postgres expects many live ones.
  const counters = db
    .select()
    .from(keyCounters)
    .where(areCountersOf(walletAddress))
    .limit(1)
    .as('counters')
  const found = await db
    .select({ key: getTableColumns(apiKeys), counters: counters._.selectedFields })
    .from(apiKeys)
    .innerJoinLateral(counters, sql`true`)
    .where(and(isOfWallet(walletAddress), isUnendedSql(timestamptz(now))))
    .orderBy(desc(apiKeys.createdAt), desc(apiKeys.grantId))
  return found.map(({ key, counters }) => presentKey(key, counters, config, now))
}

/** Whether a key is the wallet's. */
function isOfWallet(walletAddress: string): SQL {
  return sql`${apiKeys.walletAddress} = ${walletAddress} AND ${apiKeys.shard} = ${shardSql(walletAddress)}`
}

/** Joins the counters of keys of a wallet. */
function areCountersOf(walletAddress: string): SQL {
  return sql`${keyCounters.keyId} = ${apiKeys.id} AND ${keyCounters.shard} = ${shardSql(walletAddress)}`
}

/** A key's place in lists: its creation, which never changes. */
type Place = Pick<ApiKeyRow, 'createdAt' | 'grantId'>

async function placeOf(
  db: Database,
  keyId: string,
  walletAddress?: string,
): Promise<Place | undefined> {
  const [place] = await db
    .select({ createdAt: apiKeys.createdAt, grantId: apiKeys.grantId })
    .from(apiKeys)
    .where(
      and(
        eq(apiKeys.id, keyId),
        walletAddress === undefined ? undefined : isOfWallet(walletAddress),
      ),
    )
  return place
}

/** Whether a key is behind a place in lists, where the newest is first. */
function isBehindSql({ createdAt, grantId }: Place): SQL {
  return sql`(${apiKeys.createdAt}, ${apiKeys.grantId}) < (${timestamptz(createdAt.getTime())}, ${grantId}::bigint)`
}

/** One key of a wallet. Another wallet's key is refused exactly as one that does not exist. */
export async function getKey(
  services: KeyServices,
  walletAddress: string,
  keyId: string,
  now: number,
): Promise<Result<Key, 'keyNotFound'>> {
  const [row] = await services.db
    .select(KEY_AND_COUNTERS)
    .from(apiKeys)
    .innerJoin(keyCounters, areCountersOf(walletAddress))
    .where(and(eq(apiKeys.id, keyId), isOfWallet(walletAddress)))
  return row === undefined
    ? refuse('keyNotFound')
    : ok(presentKey(row.key, row.counters, services.config, now))
}

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
    ...(row.suspendedAt && {
      suspendedAt: row.suspendedAt.toISOString(),
      suspendedBy: row.suspendedBy ?? 'operator',
    }),
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

/**
 * The wallet of the key that a condition on `api_keys` selects; undefined when it selects none. Without its shard it is looked for
 * in all of them.
 */
export async function walletOf(
  tx: Database,
  which: SQL,
  shard?: number,
): Promise<string | undefined> {
  const inShard = shard === undefined ? sql`` : sql` AND shard = ${shard}::int`
  const [key] = await rows<{ wallet: string }>(
    tx,
    sql`SELECT wallet_address AS wallet FROM api_keys WHERE ${which}${inShard}`,
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

/** Keys of a page of an operator's list, at most. */
const LOOKED_UP = 1_000

/**
 * Looks up keys by preview, id or wallet, newest first: every member that is given must match. Resolves to a page of 1000; `after`
 * is the last key of the page before.
 */
export async function lookUpKeys(
  { db }: Pick<KeyServices, 'db'>,
  {
    preview,
    keyId,
    walletAddress,
    after,
  }: {
    preview?: string | undefined
    keyId?: string | undefined
    walletAddress?: string | undefined
    after?: string | undefined
  },
): Promise<Result<{ keys: FoundKey[]; next?: string }, 'keyNotFound'>> {
  const place = after === undefined ? undefined : await placeOf(db, after)
  if (after !== undefined && place === undefined) return refuse('keyNotFound')
  // Conditions are left out, and not made true: the plan of each statement then has an index.
  const conditions = and(
    preview === undefined ? undefined : eq(apiKeys.keyPreview, preview),
    keyId === undefined ? undefined : eq(apiKeys.id, keyId),
    walletAddress === undefined ? undefined : isOfWallet(walletAddress),
    place === undefined ? undefined : isBehindSql(place),
  )
  const found = await rows<FoundKey>(
    db,
    sql`SELECT id AS "keyId", wallet_address AS "walletAddress", name, key_preview AS "keyPreview", permissions,
        suspended_by AS "suspendedBy", ${isoTime('suspended_at')} AS "suspendedAt",
        ${isoTime('revoked_at')} AS "revokedAt", ${isoTime('expires_at')} AS "expiresAt"
      FROM api_keys WHERE ${conditions ?? sql`true`}
      ORDER BY api_keys.created_at DESC, grant_id DESC LIMIT ${LOOKED_UP + 1}::int`,
  )
  const keys = found.slice(0, LOOKED_UP)
  const last = keys.at(-1)
  return ok({ keys, ...(found.length > keys.length && last && { next: last.keyId }) })
}

/** ISO 8601, whatever the session's settings. */
function isoTime(column: string): SQL {
  return sql.raw(`to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`)
}
