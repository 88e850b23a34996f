import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import type { Json } from '../wire/json.ts'
import type {
  Delivery,
  DeliveryState,
  DisabledReason,
  Notice,
  Webhook,
  WebhookRights,
} from './webhook.ts'

/** A row of `webhooks` as `WEBHOOK_ROW` selects it. Times are milliseconds since 1970. */
export interface WebhookRow extends WebhookRights {
  label: string | null
  mac: string
  createdAt: number
  deliveredAt: number | null
  failingSince: number | null
  lastFailure: string | null
  disabledAt: number | null
  disabledReason: DisabledReason | null
}

/** The columns of a `WebhookRow`, of a table that has this name in the statement. */
export const WEBHOOK_ROW: SQL = sql`webhooks.id, webhooks.wallet_address AS "walletAddress", webhooks.url, webhooks.events,
  webhooks.label, encode(webhooks.secret_box, 'hex') AS "secretBox", encode(webhooks.previous_secret_box, 'hex') AS "previousSecretBox",
  ${milliseconds(sql`webhooks.previous_until`)} AS "previousUntil", encode(webhooks.mac, 'hex') AS mac,
  ${milliseconds(sql`webhooks.created_at`)} AS "createdAt", ${milliseconds(sql`webhooks.delivered_at`)} AS "deliveredAt",
  ${milliseconds(sql`webhooks.failing_since`)} AS "failingSince", webhooks.last_failure AS "lastFailure",
  ${milliseconds(sql`webhooks.disabled_at`)} AS "disabledAt", webhooks.disabled_reason AS "disabledReason"`

/** Deliveries are counted as far as this. */
const COUNTED = 1_000
const counted = (owner: string | null, which: SQL) => sql`(SELECT count(*)::int FROM (
    SELECT FROM deliveries WHERE webhook_id = webhooks.id${inShardOf(owner, 'deliveries')} AND ${which} LIMIT ${COUNTED}::int) AS listed)`

/** The condition, which begins with AND, that rows are of an owner's shard. Those of the operator are of every wallet. */
export function inShardOf(owner: string | null, table: string): SQL {
  return owner === null ? sql`` : sql` AND ${sql.raw(table)}.shard = ${shardSql(owner)}`
}

/** The webhooks of an owner: a wallet, or null for the operator. */
export function ownedBy(owner: string | null): SQL {
  return owner === null
    ? sql`webhooks.wallet_address IS NULL AND webhooks.shard = 0`
    : sql`webhooks.wallet_address = ${owner} AND webhooks.shard = ${shardSql(owner)}`
}

type CountedRow = WebhookRow & { waiting: number; dead: number }

/** Reads webhooks of an owner, oldest first. */
export async function listWebhooks(
  db: Database,
  owner: string | null,
  now: number,
  which: SQL = sql`true`,
): Promise<Webhook[]> {
  const found = await rows<CountedRow>(
    db,
    sql`SELECT ${WEBHOOK_ROW}, ${counted(owner, sql`due_at IS NOT NULL`)} AS waiting, ${counted(owner, sql`state = 'dead'`)} AS dead
      FROM webhooks WHERE ${ownedBy(owner)} AND ${which} ORDER BY webhooks.created_at, webhooks.id`,
  )
  return found.map((row) => present(row, now))
}

function present(row: CountedRow, now: number): Webhook {
  const { previousUntil, disabledAt, failingSince } = row
  const isFailing = failingSince !== null
  return {
    webhookId: row.id,
    url: row.url,
    events: row.events,
    label: row.label,
    createdAt: isoOf(row.createdAt),
    previousSecretUntil:
      previousUntil === null || previousUntil <= now ? null : isoOf(previousUntil),
    status: disabledAt !== null ? 'disabled' : isFailing ? 'failing' : 'active',
    disabledAt: isoOrNull(disabledAt),
    disabledReason: row.disabledReason,
    deliveredAt: isoOrNull(row.deliveredAt),
    failingSince: isoOrNull(failingSince),
    lastFailure: row.lastFailure,
    waiting: row.waiting,
    dead: row.dead,
  }
}

interface DeliveryRow {
  noticeId: string
  type: string
  state: DeliveryState
  attempts: number
  createdAt: number
  dueAt: number | null
  deliveredAt: number | null
  responseStatus: number | null
  failure: string | null
}

/** Reads deliveries of a webhook in one state, newest first; undefined where the owner has no such webhook. */
export async function listDeliveries(
  db: Database,
  owner: string | null,
  webhookId: string,
  { state, limit }: { state: DeliveryState; limit: number },
): Promise<Delivery[] | undefined> {
  const own = await rows(
    db,
    sql`SELECT FROM webhooks WHERE ${ownedBy(owner)} AND webhooks.id = ${webhookId}`,
  )
  if (own.length === 0) return undefined
  const found = await rows<DeliveryRow>(
    db,
    sql`SELECT notice_id AS "noticeId", type, state, attempts, ${milliseconds(sql`created_at`)} AS "createdAt",
        ${milliseconds(sql`due_at`)} AS "dueAt", ${milliseconds(sql`delivered_at`)} AS "deliveredAt",
        status AS "responseStatus", failure
      FROM deliveries JOIN notices ON notices.id = notice_id${inShardOf(owner, 'notices')}
      WHERE webhook_id = ${webhookId}${inShardOf(owner, 'deliveries')} AND state = ${state} ORDER BY created_at DESC, notice_id LIMIT ${limit}::int`,
  )
  return found.map((row) => ({
    ...row,
    createdAt: isoOf(row.createdAt),
    dueAt: isoOrNull(row.dueAt),
    deliveredAt: isoOrNull(row.deliveredAt),
  }))
}

interface NoticeRow {
  sequence: number
  noticeId: string
  type: string
  keyId: string | null
  orderUuid: string | null
  data: { [member: string]: Json }
  at: number
}

/** Reads a wallet's feed, newest first, before a sequence. */
export async function listNotices(
  db: Database,
  walletAddress: string,
  { before, limit }: { before?: string | undefined; limit: number },
): Promise<{ notices: Notice[]; next: string | undefined }> {
  const found = await rows<NoticeRow>(
    db,
    sql`SELECT sequence::float8 AS sequence, id AS "noticeId", type, key_id AS "keyId", order_uuid AS "orderUuid", data,
        ${milliseconds(sql`at`)} AS at
      FROM notices WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)}
        AND type <> 'audit.head' AND sequence < ${before ?? Number.MAX_SAFE_INTEGER}::bigint
      ORDER BY sequence DESC LIMIT ${limit}::int`,
  )
  const last = found.at(-1)
  return {
    notices: found.map(({ noticeId, type, keyId, orderUuid, data, at }) => ({
      noticeId,
      type,
      timestamp: isoOf(at),
      walletAddress,
      ...(keyId !== null && { keyId }),
      ...(orderUuid !== null && { orderUuid }),
      data,
    })),
    next: last === undefined || found.length < limit ? undefined : String(last.sequence),
  }
}

function isoOf(ms: number): string {
  return new Date(ms).toISOString()
}

function isoOrNull(ms: number | null): string | null {
  return ms === null ? null : isoOf(ms)
}

/** The rows that an owner's statement locks, so that no other change of a webhook comes between. */
export async function lockWebhook(
  tx: Database,
  owner: string | null,
  webhookId: string,
): Promise<WebhookRow | undefined> {
  const [row] = await rows<WebhookRow>(
    tx,
    sql`SELECT ${WEBHOOK_ROW} FROM webhooks WHERE ${ownedBy(owner)} AND webhooks.id = ${webhookId} FOR UPDATE`,
  )
  return row
}

/** Assigns what a change of a webhook sets, with its MAC. */
export function assignRights(row: WebhookRights, mac: string): SQL {
  return sql`url = ${row.url}, events = ${arrayText(row.events)}::text::text[], secret_box = decode(${row.secretBox}, 'hex'),
    previous_secret_box = decode(${row.previousSecretBox}::text, 'hex'),
    previous_until = ${row.previousUntil === null ? sql`NULL` : timestamptz(row.previousUntil)}, mac = decode(${mac}, 'hex')`
}

/** An array literal of types of notices, which have neither quotes nor commas. */
export function arrayText(events: readonly string[]): string {
  return `{${events.map((event) => `"${event}"`).join(',')}}`
}
