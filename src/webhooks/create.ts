import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import { appendAudit } from '../audit/append.ts'
import type { AuditHead } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { fromHex, toBase62, toHex } from '../crypto/bytes.ts'
import { webhookSecretLabel } from '../crypto/labels.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { walletShard } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { ownerEntry } from '../keys/change.ts'
import { WEBHOOK_SECRET_BYTES, webhookSecretText } from '../notices/signature.ts'
import { ok, type Result, refuse } from '../result.ts'
import { checkUrl } from './check.ts'
import { arrayText, listWebhooks, ownedBy } from './find.ts'
import type { WebhookGrant } from './schemas.ts'
import type { WebhookServices } from './services.ts'
import { type Webhook, type WebhookRights, type WebhookWithSecret, webhookText } from './webhook.ts'

export type UrlReason = 'webhooksOff' | 'webhookUrlRefused' | 'unavailable'
type CreateReason = UrlReason | ConsumeReason | 'auditHeadUnknown' | 'webhookLimitReached'

/** Where an owner wants to be told of what. */
interface Wanted {
  url: string
  events: string[]
  label?: string | undefined
}

/** Webhooks of the operator, at most. */
const MAX_OF_OPERATOR = 20

/** Makes a webhook for the wallet that signed for it. Its secret is in the response alone. */
export async function createWebhook(
  services: WebhookServices,
  action: SignedAction<WebhookGrant>,
  now: number,
): Promise<Result<WebhookWithSecret, CreateReason>> {
  const { walletAddress, members } = action
  const checked = await checkUrl(services, members.url)
  if (!checked.ok) return checked
  const made = await makeRow(services, walletAddress, members)
  const limit = services.config.MAX_WEBHOOKS_PER_WALLET
  const stored = await atomically<AuditHead, CreateReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    // The message's lock on the wallet makes the guard exact.
    if (!(await insert(tx, services, made, members, limit, now)))
      return refuse('webhookLimitReached', { limit })
    const { id: webhookId } = made.row
    const entry = ownerEntry(action, consumed.value, undefined, now, { webhookId })
    return ok(await appendAudit(tx, entry))
  })
  if (!stored.ok) return stored
  services.log('info', 'webhook_created', { webhookId: made.row.id, walletAddress })
  await services.keepHead(walletAddress, stored.value)
  const webhook = await findWebhook(services.db, walletAddress, made.row.id, now)
  return ok({ ...webhook, secret: made.secret, auditHead: stored.value })
}

/** Makes a webhook of the operator, which is told of every wallet. Two at once may exceed the limit by one. */
export async function createOperatorWebhook(
  services: WebhookServices,
  given: Wanted,
  now: number,
): Promise<Result<Webhook & { secret: string }, UrlReason | 'webhookLimitReached'>> {
  const checked = await checkUrl(services, given.url)
  if (!checked.ok) return checked
  const made = await makeRow(services, null, given)
  if (!(await insert(services.db, services, made, given, MAX_OF_OPERATOR, now)))
    return refuse('webhookLimitReached', { limit: MAX_OF_OPERATOR })
  services.log('info', 'webhook_created', { webhookId: made.row.id })
  return ok({
    ...(await findWebhook(services.db, null, made.row.id, now)),
    secret: made.secret,
  })
}

interface Made {
  row: WebhookRights
  secret: string
}

async function makeRow(
  services: WebhookServices,
  walletAddress: string | null,
  { url, events }: Wanted,
): Promise<Made> {
  const id = `wh_${toBase62(services.randomBytes(12), 17)}`
  const { secret, box } = await makeWebhookSecret(services, id)
  return {
    row: {
      ...{ id, walletAddress, url, events },
      ...{ secretBox: box, previousSecretBox: null, previousUntil: null },
    },
    secret,
  }
}

/** A new secret of a webhook, and its encrypted form in hex. */
export async function makeWebhookSecret(
  { randomBytes, encryption }: WebhookServices,
  webhookId: string,
): Promise<{ secret: string; box: string }> {
  const bytes = randomBytes(WEBHOOK_SECRET_BYTES)
  const box = toHex(await encryption.encrypt(bytes, webhookSecretLabel(webhookId)))
  return { secret: webhookSecretText(bytes), box }
}

async function insert(
  db: Database,
  { mac }: WebhookServices,
  { row }: Made,
  { label }: Wanted,
  limit: number,
  now: number,
): Promise<boolean> {
  const { id, walletAddress, url, events, secretBox } = row
  const shard = walletAddress === null ? 0 : walletShard(walletAddress)
  const inserted = await rows(
    db,
    sql`INSERT INTO webhooks (id, wallet_address, shard, url, events, label, secret_box, mac, created_at)
      SELECT ${id}, ${walletAddress}::text, ${shard}::int, ${url}, ${arrayText(events)}::text::text[], ${label ?? null}::text,
        ${fromHex(secretBox)}::bytea, decode(${mac(webhookText(row))}, 'hex'), ${timestamptz(now)}
      WHERE (SELECT count(*) FROM webhooks WHERE ${ownedBy(walletAddress)}) < ${limit}::int
      RETURNING id`,
  )
  return inserted.length > 0
}

/** A webhook that was just changed. */
export async function findWebhook(
  db: Database,
  owner: string | null,
  webhookId: string,
  now: number,
): Promise<Webhook> {
  const [webhook] = await listWebhooks(db, owner, now, sql`webhooks.id = ${webhookId}`)
  if (webhook === undefined) throw new Error('the webhook was deleted meanwhile')
  return webhook
}
