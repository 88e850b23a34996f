import { type SQL, sql } from 'drizzle-orm'
import { appendAudit } from '../audit/append.ts'
import { atomically, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { ok, type Result, refuse } from '../result.ts'
import { isStacksAddress } from '../stacks/address.ts'
import { changeKeys, lockKeys, suspensionColumns } from './change.ts'
import type { KeyServices } from './services.ts'
import { resumed, suspended } from './suspension.ts'

/** What an operator acts on: a key, or a wallet with all its keys, those that it has not made yet among them. */
export type SuspensionTarget = { keyId: string } | { walletAddress: string }

type OperatorServices = Pick<KeyServices, 'db' | 'mac'> & {
  config: Pick<KeyServices['config'], 'STACKS_NETWORK'>
}
type OperateReason = 'keyNotFound' | 'invalidRequest'

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
  services: OperatorServices,
  target: SuspensionTarget,
  reason: string,
  now: number,
): Promise<Result<string[], OperateReason>> {
  return operate(services, 'suspend_api_key', target, reason, now)
}

/** Takes back what `suspendByOperator` did. What an owner suspended stays so. */
export function resumeByOperator(
  services: OperatorServices,
  target: SuspensionTarget,
  reason: string,
  now: number,
): Promise<Result<string[], OperateReason>> {
  return operate(services, 'resume_api_key', target, reason, now)
}

async function operate(
  services: OperatorServices,
  event: 'suspend_api_key' | 'resume_api_key',
  target: SuspensionTarget,
  reason: string,
  now: number,
): Promise<Result<string[], OperateReason>> {
  const isSuspending = event === 'suspend_api_key'
  const { STACKS_NETWORK: network } = services.config
  if ('walletAddress' in target && !isStacksAddress(target.walletAddress, network))
    return refuse('invalidRequest', { problem: `no wallet of ${network}` })
  return atomically<string[], OperateReason>(services.db, async (tx) => {
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
    const locked = await lockKeys(tx, services, walletAddress, isMeant)
    const changed: string[] = []
    for (const key of locked) {
      const before = key.rights
      const after = isSuspending ? suspended(before, 'operator', now) : resumed(before, 'operator')
      if (after === undefined || after.suspendedBy === before.suspendedBy) continue
      const keyId = before.id
      const entry = { event, walletAddress, keyId, actor: 'operator', at: now } as const
      await changeKeys(tx, services, [key], suspensionColumns(after), {
        ...entry,
        details: { reason },
      })
      changed.push(keyId)
    }
    if ('walletAddress' in target) {
      await rows(
        tx,
        isSuspending
          ? sql`INSERT INTO suspended_wallets (wallet_address, reason, suspended_at)
              VALUES (${walletAddress}, ${reason}, ${timestamptz(now)}) ON CONFLICT DO NOTHING`
          : sql`DELETE FROM suspended_wallets WHERE wallet_address = ${walletAddress}`,
      )
      await appendAudit(tx, {
        event: isSuspending ? 'suspend_wallet' : 'resume_wallet',
        walletAddress,
        actor: 'operator',
        at: now,
        details: { reason },
      })
    }
    return ok(changed)
  })
}

/** Finds keys by the preview that a log or an owner shows, by id or by wallet; all of them without any. */
export async function findKeys(
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
