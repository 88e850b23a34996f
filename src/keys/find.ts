import { and, desc, eq } from 'drizzle-orm'
import { apiKeys } from '../db/schema.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Key, KeyStatus } from './key.ts'
import { inactiveReason } from './liveness.ts'
import { presentLimits } from './rights.ts'
import type { KeyServices } from './services.ts'

type KeyRow = typeof apiKeys.$inferSelect

/** A wallet's keys, newest first, revoked ones included. */
export async function listKeys(
  services: KeyServices,
  walletAddress: string,
  now: number,
): Promise<Key[]> {
  const found = await services.db
    .select()
    .from(apiKeys)
    .where(eq(apiKeys.walletAddress, walletAddress))
    .orderBy(desc(apiKeys.createdAt), desc(apiKeys.grantId))
  return found.map((row) => presentKey(row, services.config, now))
}

/** One key of a wallet. Another wallet's key is not found, exactly as one that never was. */
export async function getKey(
  services: KeyServices,
  walletAddress: string,
  keyId: string,
  now: number,
): Promise<Result<Key, 'keyNotFound'>> {
  const [row] = await services.db
    .select()
    .from(apiKeys)
    .where(and(eq(apiKeys.id, keyId), eq(apiKeys.walletAddress, walletAddress)))
  return row === undefined ? refuse('keyNotFound') : ok(presentKey(row, services.config, now))
}

/** A key's row as its owner sees it. */
export function presentKey(row: KeyRow, config: KeyServices['config'], now: number): Key {
  return {
    id: row.id,
    keyId: row.id,
    name: row.name,
    keyPreview: row.keyPreview,
    walletAddress: row.walletAddress,
    permissions: row.permissions,
    rateLimit: row.rateLimitPerMinute ?? config.RATE_LIMIT_PER_MINUTE,
    status: statusOf(row, now),
    ...presentLimits(row),
    ...(row.label !== null && { label: row.label }),
    ...(row.justification !== null && { justification: row.justification }),
    createdAt: row.createdAt.toISOString(),
    ...(row.lastUsedAt && { lastUsedAt: row.lastUsedAt.toISOString() }),
    ...(row.expiresAt && { expiresAt: row.expiresAt.toISOString() }),
    ...(row.previousUntil &&
      row.previousUntil.getTime() > now && { previousUntil: row.previousUntil.toISOString() }),
    ...(row.suspendedAt && { suspendedAt: row.suspendedAt.toISOString() }),
    ...(row.revokedAt && { revokedAt: row.revokedAt.toISOString() }),
    usageStats: {
      totalRequests: row.totalRequests,
      successfulRequests: row.successfulRequests,
      failedRequests: row.totalRequests - row.successfulRequests,
      creationCount: row.creationCount,
      executionCount: row.executionCount,
      cancellationCount: row.cancellationCount,
    },
  }
}

function statusOf({ revokedAt, suspendedAt, expiresAt }: KeyRow, now: number): KeyStatus {
  const ms = (time: Date | null) => time?.getTime() ?? null
  const times = {
    revokedAt: ms(revokedAt),
    suspendedAt: ms(suspendedAt),
    expiresAt: ms(expiresAt),
  }
  return inactiveReason(times, now) ?? 'active'
}
