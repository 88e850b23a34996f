import { type SQL, sql } from 'drizzle-orm'
import { appendAudit } from '../audit/append.ts'
import type { AuditHead } from '../audit/event.ts'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { milliseconds } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { changeKeys, type LockedKey, lockKey } from '../keys/change.ts'
import { inactiveReason } from '../keys/liveness.ts'
import { suspensionColumns } from '../keys/suspend.ts'
import { suspended } from '../keys/suspension.ts'
import type { Heartbeat } from '../keys/terms.ts'
import { actsAtSql, SILENT_SINCE } from '../keys/watches.ts'
import { endOpenOrders } from '../orders/end.ts'
import { isOpenSql } from '../orders/lifecycle.ts'
import type { DueWatch } from './due-watch.ts'
import type { AlertServices } from './services.ts'
import { tell } from './tell.ts'

/** Orders that one transaction cancels, at most. More are due at once. */
const MAX_ORDERS = 500

/** A silence that is acted on. */
interface Silence {
  /** Milliseconds since 1970. */
  since: number
  /** Whether it was acted on before: then only orders that were stored since are left to be cancelled. */
  isKnown: boolean
}

/** What an act changed. */
interface Effect {
  head: AuditHead | undefined
  orders: number
}

/**
 * Does what the owner of a key signed for its silence, or nothing, where the key was used meanwhile. One transaction, under the locks of
 * the wallet, of the key's open orders, of the key and of its counters: the gate counts requests in these, so that a request is either
 * counted before and keeps the act from happening, or is decided after it.
 */
export async function actOnSilence(services: AlertServices, watch: DueWatch): Promise<void> {
  const { keyId, walletAddress, effect } = watch
  const now = services.now()
  const done = await services.db.transaction(async (tx) => {
    await lockWallet(tx, walletAddress)
    // Lock order everywhere: orders before keys, and before counters.
    if (effect === 'cancel') await lockOpenOrders(tx, services, watch)
    const key = await lockKey(tx, services, walletAddress, keyId)
    const heartbeat = key?.rights.heartbeat
    if (key === undefined || heartbeat === undefined || heartbeat?.then !== effect) return undefined
    if (!key.isIntact) {
      services.log('error', 'api_key_tampered', { keyId })
      return undefined
    }
    if (effect === 'suspend' && inactiveReason(key.rights, now) !== undefined) return undefined
    const silence = await takeSilence(tx, services, watch, heartbeat.seconds)
    if (silence === undefined) return undefined
    const act = effect === 'suspend' ? suspend : cancel
    return act(tx, services, key, heartbeat, silence, now)
  })
  if (done === undefined) return
  const { head, orders } = done
  services.log('warn', 'api_key_silent', { keyId, walletAddress, effect: String(effect), orders })
  if (head !== undefined) await services.keepHead(walletAddress, head)
}

function isOpenOrderOf({ databaseTime }: Pick<AlertServices, 'databaseTime'>, keyId: string): SQL {
  return sql`created_by = ${keyId} AND ${isOpenSql(databaseTime())}`
}

async function lockOpenOrders(
  tx: Database,
  services: AlertServices,
  { keyId, walletAddress }: DueWatch,
): Promise<void> {
  await rows(
    tx,
    sql`SELECT FROM orders WHERE ${isOpenOrderOf(services, keyId)} AND orders.shard = ${shardSql(walletAddress)}
      ORDER BY valid_to, uuid LIMIT ${MAX_ORDERS}::int FOR UPDATE`,
  )
}

/** The guard: takes a silence that has lasted long enough, and locks the counters, so that none is counted until the act is committed. */
async function takeSilence(
  tx: Database,
  { databaseTime }: AlertServices,
  { keyId, walletAddress }: DueWatch,
  seconds: number,
): Promise<Silence | undefined> {
  const at = databaseTime()
  const shard = shardSql(walletAddress)
  const [silence] = await rows<Silence>(
    tx,
    sql`WITH counted AS (
        SELECT watch.key_id, watch.silent_since AS known, ${SILENT_SINCE} AS since,
          ${actsAtSql(SILENT_SINCE, sql`${seconds}::int`)} AS acts_at
        FROM key_watches AS watch JOIN key_counters AS counters ON counters.key_id = watch.key_id AND counters.shard = ${shard}
        WHERE watch.key_id = ${keyId} AND watch.rule = 'heartbeat' AND watch.shard = ${shard}
        FOR NO KEY UPDATE OF watch, counters
      )
      UPDATE key_watches AS watch SET silent_since = since, due_at = ${at} + ${seconds}::int * interval '1 second'
      FROM counted WHERE watch.key_id = counted.key_id AND watch.rule = 'heartbeat' AND watch.shard = ${shard}
        AND acts_at <= ${at}
      RETURNING ${milliseconds(sql`since`)} AS since, known IS NOT DISTINCT FROM since AS "isKnown"`,
  )
  return silence
}

async function suspend(
  tx: Database,
  services: AlertServices,
  key: LockedKey,
  { seconds }: Heartbeat,
  { since }: Silence,
  now: number,
): Promise<Effect> {
  const { id: keyId, walletAddress } = key.rights
  const set = suspensionColumns(suspended(key.rights, 'heartbeat', now))
  const details = { reason: 'heartbeat', seconds, silentSince: since }
  const act = { walletAddress, keyId, at: now, details }
  const head = await changeKeys(tx, services, [key], set, {
    ...act,
    event: 'suspend_api_key',
    actor: 'service',
  })
  await tell(tx, services, { ...act, rule: 'heartbeat', action: 'suspend' })
  return { head, orders: 0 }
}

/** A silence that cancels nothing is told once, and is no event of the audit. */
async function cancel(
  tx: Database,
  services: AlertServices,
  { rights }: LockedKey,
  { seconds }: Heartbeat,
  { since, isKnown }: Silence,
  now: number,
): Promise<Effect> {
  const { id: keyId, walletAddress } = rights
  const shard = shardSql(walletAddress)
  const cancelled = await endOpenOrders(tx, services, 'cancelled', isOpenOrderOf(services, keyId), {
    shard,
    limit: MAX_ORDERS,
    whenLocked: 'wait',
    details: { reason: 'heartbeat' },
  })
  const orders = cancelled.length
  if (orders === MAX_ORDERS) await lookAgain(tx, services, keyId, shard)
  const details = { reason: 'heartbeat', seconds, silentSince: since, orders }
  const act = { walletAddress, keyId, at: now, details }
  if (!isKnown || orders > 0)
    await tell(tx, services, { ...act, rule: 'heartbeat', action: 'cancel' })
  if (orders === 0) return { head: undefined, orders }
  const head = await appendAudit(tx, { ...act, event: 'cancel_open_orders', actor: 'service' })
  return { head, orders }
}

async function lookAgain(
  tx: Database,
  { databaseTime }: AlertServices,
  keyId: string,
  shard: SQL,
): Promise<void> {
  await rows(
    tx,
    sql`UPDATE key_watches SET due_at = ${databaseTime()} WHERE key_id = ${keyId} AND rule = 'heartbeat' AND shard = ${shard}`,
  )
}
