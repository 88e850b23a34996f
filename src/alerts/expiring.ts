import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { lockKey } from '../keys/change.ts'
import { inactiveReason } from '../keys/liveness.ts'
import { EXPIRY_NOTICE_DAYS, nextNotice } from '../keys/watches.ts'
import { type DueWatch, dropWatch } from './due-watch.ts'
import type { AlertServices } from './services.ts'
import { tell } from './tell.ts'

const DAY_MS = 86_400_000

/**
 * Tells the owner of a key that it ends soon, once for each end and number of days. Where several moments have passed since a process
 * looked last, it tells of the latest one.
 */
export async function noticeEnd(services: AlertServices, watch: DueWatch): Promise<void> {
  const { keyId, walletAddress } = watch
  const now = services.now()
  await services.db.transaction(async (tx) => {
    await lockWallet(tx, walletAddress)
    const key = await lockKey(tx, services, walletAddress, keyId)
    const expiresAt = key?.rights.expiresAt ?? null
    const isWatched = key?.isIntact === true && key.rights.alerts?.expiring !== undefined
    if (key === undefined || expiresAt === null || !isWatched) return
    const end = inactiveReason({ ...key.rights, suspendedAt: null }, now)
    const next = nextNotice(expiresAt, now)
    if (end !== undefined) return dropWatch({ db: tx }, watch)
    const days = EXPIRY_NOTICE_DAYS.filter((one) => expiresAt - one * DAY_MS <= now).at(-1)
    if (days !== undefined) {
      const details = { expiresAt: new Date(expiresAt).toISOString(), days }
      const told = { walletAddress, keyId, rule: 'expiring' as const, at: now, details }
      if (await isFirst(tx, told)) await tell(tx, services, { ...told, action: 'notify' })
    }
    if (next === undefined) await dropWatch({ db: tx }, watch)
    else await lookAt(tx, watch, next)
  })
}

interface Notice {
  walletAddress: string
  keyId: string
  at: number
  details: { expiresAt: string; days: number }
}

/** The guard: a notice is stored once. */
async function isFirst(
  tx: Database,
  { walletAddress, keyId, at, details }: Notice,
): Promise<boolean> {
  const subject = `${details.expiresAt} ${details.days}`
  const stored = await rows(
    tx,
    sql`INSERT INTO key_findings (key_id, shard, wallet_address, rule, subject, at, details, acted_at)
      VALUES (${keyId}, ${shardSql(walletAddress)}, ${walletAddress}, 'expiring', ${subject}, ${timestamptz(at)},
        ${JSON.stringify(details)}::text::jsonb, ${timestamptz(at)})
      ON CONFLICT ON CONSTRAINT key_findings_pk DO NOTHING RETURNING key_id`,
  )
  return stored.length === 1
}

/** Unless the owner has set the watch again meanwhile. */
async function lookAt(
  tx: Database,
  { keyId, walletAddress, rule, dueAt }: DueWatch,
  next: number,
): Promise<void> {
  await rows(
    tx,
    sql`UPDATE key_watches SET due_at = ${timestamptz(next)} WHERE key_id = ${keyId} AND rule = ${rule}
      AND shard = ${shardSql(walletAddress)} AND due_at = ${timestamptz(dueAt)}`,
  )
}
