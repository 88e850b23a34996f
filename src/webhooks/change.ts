import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import { appendAudit } from '../audit/append.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { ownerEntry } from '../keys/change.ts'
import { ok, type Result, refuse } from '../result.ts'
import { checkUrl, requirePorts } from './check.ts'
import { findWebhook, makeWebhookSecret, type UrlReason } from './create.ts'
import { assignRights, inShardOf, lockWebhook, ownedBy, type WebhookRow } from './find.ts'
import type { WebhookUpdate } from './schemas.ts'
import type { WebhookServices } from './services.ts'
import { type Webhook, type WebhookWithSecret, webhookText } from './webhook.ts'

type ChangeReason = ConsumeReason | 'auditHeadUnknown' | 'webhookNotFound' | 'webhookTampered'

type OfWebhook = { webhookId: string } & HeadMember

/** Changes where a webhook leads and what it wants; `enabled` sends again what was disabled. */
export async function updateWebhook(
  services: WebhookServices,
  action: SignedAction<WebhookUpdate>,
  now: number,
): Promise<Result<Webhook & { auditHead: AuditHead }, ChangeReason | UrlReason>> {
  const { url, events, label, enabled } = action.members
  if (url !== undefined) {
    const checked = await checkUrl(services, url)
    if (!checked.ok) return checked
  }
  const changed = await changeWebhook(services, action, now, (row) => {
    const rights = { ...row, url: url ?? row.url, events: events ?? row.events }
    const enabling = sql`, disabled_at = NULL, disabled_reason = NULL, failing_since = NULL, last_failure = NULL`
    return sql`${assignRights(rights, services.mac(webhookText(rights)))}
      ${label === undefined ? sql`` : sql`, label = ${label}::text`}${enabled === true ? enabling : sql``}`
  })
  if (!changed.ok) return changed
  return ok({ ...(await found(services, action, now)), auditHead: changed.value })
}

/** Makes a new secret. The old one signs beside it for `overlapSeconds`, so that a receiver can take the new one meanwhile. */
export async function rotateWebhookSecret(
  services: WebhookServices,
  action: SignedAction<OfWebhook & { overlapSeconds: number }>,
  now: number,
): Promise<Result<WebhookWithSecret, ChangeReason | 'webhooksOff'>> {
  const ports = requirePorts(services)
  if (!ports.ok) return ports
  const { webhookId, overlapSeconds } = action.members
  const { secret, box } = await makeWebhookSecret(services, webhookId)
  const changed = await changeWebhook(services, action, now, (row) => {
    const overlap =
      overlapSeconds === 0
        ? { previousSecretBox: null, previousUntil: null }
        : { previousSecretBox: row.secretBox, previousUntil: now + overlapSeconds * 1_000 }
    const rights = { ...row, secretBox: box, ...overlap }
    return assignRights(rights, services.mac(webhookText(rights)))
  })
  if (!changed.ok) return changed
  return ok({ ...(await found(services, action, now)), secret, auditHead: changed.value })
}

/** Deletes a webhook with what it still had to receive. One whose row was edited is deleted as well. */
export async function deleteWebhook(
  services: WebhookServices,
  action: SignedAction<OfWebhook>,
  now: number,
): Promise<Result<AuditHead, ConsumeReason | 'auditHeadUnknown' | 'webhookNotFound'>> {
  const { walletAddress, members } = action
  const deleted = await atomically<
    AuditHead,
    ConsumeReason | 'auditHeadUnknown' | 'webhookNotFound'
  >(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    if (!(await remove(tx, walletAddress, members.webhookId))) return refuse('webhookNotFound')
    return ok(await appendChange(tx, action, consumed.value, now))
  })
  if (!deleted.ok) return deleted
  services.log('info', 'webhook_deleted', { webhookId: members.webhookId, walletAddress })
  await services.keepHead(walletAddress, deleted.value)
  return deleted
}

/** Deletes a webhook of the operator. Resolves to whether there was one. */
export async function deleteOperatorWebhook(db: Database, webhookId: string): Promise<boolean> {
  return db.transaction((tx) => remove(tx, null, webhookId))
}

async function remove(tx: Database, owner: string | null, webhookId: string): Promise<boolean> {
  const deleted = await rows(
    tx,
    sql`DELETE FROM webhooks WHERE ${ownedBy(owner)} AND webhooks.id = ${webhookId} RETURNING id`,
  )
  if (deleted.length === 0) return false
  // A change that was under way may insert one more: src/webhooks/deliver.ts drops those of no webhook.
  await rows(
    tx,
    sql`DELETE FROM deliveries WHERE webhook_id = ${webhookId}${inShardOf(owner, 'deliveries')} AND due_at IS NOT NULL`,
  )
  return true
}

/** One signed change of one webhook as a transaction. A row that was edited is never authenticated again. */
async function changeWebhook(
  services: WebhookServices,
  action: SignedAction<OfWebhook>,
  now: number,
  set: (row: WebhookRow) => SQL,
): Promise<Result<AuditHead, ChangeReason>> {
  const { walletAddress, members } = action
  const changed = await atomically<AuditHead, ChangeReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    const row = await lockWebhook(tx, walletAddress, members.webhookId)
    if (row === undefined) return refuse('webhookNotFound')
    if (!services.mac.verify(webhookText(row), row.mac)) {
      services.log('error', 'webhook_tampered', { webhookId: row.id })
      return refuse('webhookTampered')
    }
    await rows(
      tx,
      sql`UPDATE webhooks SET ${set(row)} WHERE ${ownedBy(walletAddress)} AND webhooks.id = ${row.id}`,
    )
    return ok(await appendChange(tx, action, consumed.value, now))
  })
  if (!changed.ok) return changed
  const { webhookId } = members
  services.log('info', 'webhook_changed', { webhookId, walletAddress, action: action.action })
  await services.keepHead(walletAddress, changed.value)
  return changed
}

function appendChange(
  tx: Database,
  action: SignedAction<OfWebhook>,
  actionId: number,
  now: number,
): Promise<AuditHead> {
  const { webhookId } = action.members
  return appendAudit(tx, ownerEntry(action, actionId, undefined, now, { webhookId }))
}

function found(
  { db }: WebhookServices,
  { walletAddress, members }: SignedAction<OfWebhook>,
  now: number,
): Promise<Webhook> {
  return findWebhook(db, walletAddress, members.webhookId, now)
}
