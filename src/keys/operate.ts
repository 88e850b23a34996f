import { type SQL, sql } from 'drizzle-orm'
import { appendAudit, lockWallet } from '../audit/append.ts'
import { atomically, rows } from '../db/database.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { World } from '../world.ts'
import { changeKeys, lockKeys } from './change.ts'

/** What an operator acts on: a key, or a wallet with all its keys, those that it has not made yet among them. */
export type Target = { keyId: string } | { walletAddress: string }

type OperatorWorld = Pick<World, 'db' | 'mac'>

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

/** Refuses a key or a wallet everything, for a reason that its owner can read in the audit. */
export function suspendByOperator(
  world: OperatorWorld,
  target: Target,
  reason: string,
  now: number,
): Promise<Result<string[], 'keyNotFound'>> {
  const at = sql`${new Date(now).toISOString()}::timestamptz`
  const set = sql`suspended_at = coalesce(suspended_at, ${at}), suspended_by = 'operator'`
  return operate(world, 'suspend_api_key', target, set, reason, now)
}

/** Takes back what `suspendByOperator` did. What an owner suspended stays so. */
export function resumeByOperator(
  world: OperatorWorld,
  target: Target,
  reason: string,
  now: number,
): Promise<Result<string[], 'keyNotFound'>> {
  const set = sql`suspended_at = NULL, suspended_by = NULL`
  return operate(world, 'resume_api_key', target, set, reason, now)
}

async function operate(
  world: OperatorWorld,
  event: 'suspend_api_key' | 'resume_api_key',
  target: Target,
  set: SQL,
  reason: string,
  now: number,
): Promise<Result<string[], 'keyNotFound'>> {
  return atomically<string[], 'keyNotFound'>(world.db, async (tx) => {
    const walletAddress =
      'walletAddress' in target
        ? target.walletAddress
        : (
            await rows<{ wallet: string }>(
              tx,
              sql`SELECT wallet_address AS wallet FROM api_keys WHERE id = ${target.keyId}`,
            )
          )[0]?.wallet
    if (walletAddress === undefined) return refuse('keyNotFound')
    await lockWallet(tx, walletAddress)
    const isMeant = 'keyId' in target ? sql`id = ${target.keyId}` : sql`revoked_at IS NULL`
    const isTheirs =
      event === 'resume_api_key'
        ? sql`suspended_at IS NOT NULL AND suspended_by IS DISTINCT FROM 'owner'`
        : sql`suspended_by IS DISTINCT FROM 'operator'`
    const keys = await lockKeys(tx, world, walletAddress, sql`${isMeant} AND ${isTheirs}`)
    for (const key of keys)
      await changeKeys(tx, world, [key], set, {
        event,
        walletAddress,
        keyId: key.rights.id,
        actor: 'operator',
        at: now,
        details: { reason },
      })
    if ('walletAddress' in target) {
      const isSuspended = event === 'suspend_api_key'
      await rows(
        tx,
        isSuspended
          ? sql`INSERT INTO suspended_wallets (wallet_address, reason, suspended_at)
              VALUES (${walletAddress}, ${reason}, ${new Date(now).toISOString()}::timestamptz) ON CONFLICT DO NOTHING`
          : sql`DELETE FROM suspended_wallets WHERE wallet_address = ${walletAddress}`,
      )
      await appendAudit(tx, {
        event: isSuspended ? 'suspend_wallet' : 'resume_wallet',
        walletAddress,
        actor: 'operator',
        at: now,
        details: { reason },
      })
    }
    return ok(keys.map(({ rights }) => rights.id))
  })
}

/** Finds keys by the preview that a log or an owner shows, by id or by wallet; all of them without any. */
export async function findKeys(
  { db }: Pick<World, 'db'>,
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
        suspended_by AS "suspendedBy", suspended_at::text AS "suspendedAt", revoked_at::text AS "revokedAt",
        expires_at::text AS "expiresAt"
      FROM api_keys WHERE key_preview = coalesce(${preview ?? null}::text, key_preview)
        AND id = coalesce(${keyId ?? null}::text, id)
        AND wallet_address = coalesce(${walletAddress ?? null}::text, wallet_address)
      ORDER BY api_keys.created_at DESC LIMIT 1000`,
  )
}
