import { sql } from 'drizzle-orm'
import type { AuditHead } from '../audit/event.ts'
import { type Database, isOutage, messageOf, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { milliseconds } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { changeKeys, type LockedKey, lockKey } from '../keys/change.ts'
import { inactiveReason } from '../keys/liveness.ts'
import { suspensionColumns } from '../keys/suspend.ts'
import { isSuspendingRule, type SuspendingRule, suspended } from '../keys/suspension.ts'
import type { AlertAction, Alerts } from '../keys/terms.ts'
import type { Json } from '../wire/json.ts'
import type { AlertServices } from './services.ts'
import { tell } from './tell.ts'

/** Findings that one pass acts on. */
const MAX_FINDINGS = 200

interface Finding {
  keyId: string
  walletAddress: string
  rule: keyof Alerts
  subject: string
  /** Milliseconds since 1970. */
  at: number
  details: { [name: string]: Json }
}

/**
 * Acts on what was found and not acted on yet: tells the owner, and suspends the key where the owner signed that. Any number of processes
 * may do so at once. Resolves to whether nothing is left.
 */
export async function actOnFindings(services: AlertServices): Promise<boolean> {
  const found = await rows<Finding>(
    services.db,
    sql`SELECT key_id AS "keyId", wallet_address AS "walletAddress", rule, subject, details, ${milliseconds(sql`at`)} AS at
      FROM key_findings WHERE acted_at IS NULL ORDER BY at LIMIT ${MAX_FINDINGS}::int`,
  )
  for (const finding of found) await actOnOne(services, finding)
  return found.length < MAX_FINDINGS
}

async function actOnOne(services: AlertServices, finding: Finding): Promise<void> {
  const { keyId, walletAddress, rule } = finding
  try {
    const head = await services.db.transaction((tx) => act(tx, services, finding))
    if (head === undefined) return
    services.log('warn', 'api_key_suspended', { keyId, walletAddress, rule })
    await services.keepHead(walletAddress, head)
  } catch (error) {
    if (isOutage(error)) throw error
    services.log('error', 'watch_failed', { keyId, rule, fault: messageOf(error) })
  }
}

/** Once for each finding: its row is locked, and marked with what was done. Resolves to the audit's new head, where the key was suspended. */
async function act(
  tx: Database,
  services: AlertServices,
  finding: Finding,
): Promise<AuditHead | undefined> {
  const { keyId, walletAddress, rule, details } = finding
  if (!(await takeFinding(tx, services, finding))) return undefined
  await lockWallet(tx, walletAddress)
  const key = await lockKey(tx, services, walletAddress, keyId)
  if (key === undefined) return undefined
  if (!key.isIntact) {
    services.log('error', 'api_key_tampered', { keyId })
    return undefined
  }
  const signed = key.rights.alerts?.[rule]?.action
  // The owner may have lifted the alert since.
  if (signed === undefined) return undefined
  const now = services.now()
  const isActive = inactiveReason(key.rights, now) === undefined
  const suspends = signed === 'suspend' && isActive && isSuspendingRule(rule)
  const head = suspends ? await suspend(tx, services, key, rule, finding, now) : undefined
  const action: AlertAction = suspends ? 'suspend' : 'notify'
  await tell(tx, services, { walletAddress, keyId, rule, action, at: finding.at, details })
  return head
}

/** The guard: of two processes one gets the finding. The other one waits for it, and then finds it done, or gets it after all. */
async function takeFinding(
  tx: Database,
  { databaseTime }: AlertServices,
  { keyId, walletAddress, rule, subject }: Finding,
): Promise<boolean> {
  const taken = await rows(
    tx,
    // By its key: IS NULL would have Postgres read the partial index of all that is open, which is short when the plan is made.
    sql`UPDATE key_findings SET acted_at = ${databaseTime()}
      WHERE key_id = ${keyId} AND rule = ${rule} AND subject = ${subject} AND shard = ${shardSql(walletAddress)}
        AND coalesce(acted_at, 'infinity') = 'infinity'
      RETURNING key_id`,
  )
  return taken.length === 1
}

function suspend(
  tx: Database,
  services: AlertServices,
  key: LockedKey,
  rule: SuspendingRule,
  { details }: Finding,
  now: number,
): Promise<AuditHead> {
  const { id: keyId, walletAddress } = key.rights
  const set = suspensionColumns(suspended(key.rights, rule, now))
  return changeKeys(tx, services, [key], set, {
    event: 'suspend_api_key',
    walletAddress,
    keyId,
    actor: 'service',
    at: now,
    details: { ...details, reason: rule },
  })
}
