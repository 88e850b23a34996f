import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { type ConsumeReason, consumeMessage } from '../actions/consume.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { TEST_NOTICE } from '../notices/notice.ts'
import { ok, type Result, refuse } from '../result.ts'
import { requirePorts } from './check.ts'
import { inShardOf, lockWebhook, ownedBy } from './find.ts'
import type { WebhookServices } from './services.ts'

type ResendReason = ConsumeReason | 'webhookNotFound' | 'webhookDisabled' | 'webhooksOff'

/** Replays of one message, at most; another message replays the rest. */
const MAX_REPLAYED = 1_000

/** Queues a delivery of its own for a webhook, which nothing caused but its owner. */
export function testWebhook(
  services: WebhookServices,
  action: SignedAction<{ webhookId: string }>,
  now: number,
): Promise<Result<number, ResendReason>> {
  const { walletAddress, members } = action
  const { webhookId } = members
  return resend(services, action, now, async (tx) => {
    await rows(
      tx,
      sql`WITH made AS (
          INSERT INTO notices (wallet_address, shard, type, data, at)
          VALUES (${walletAddress}, ${shardSql(walletAddress)}, ${TEST_NOTICE}, jsonb_build_object('webhookId', ${webhookId}::text),
            ${timestamptz(now)})
          RETURNING id, shard, at
        )
        INSERT INTO deliveries (notice_id, webhook_id, shard, created_at, due_at)
        SELECT id, ${webhookId}, shard, at, at FROM made`,
    )
    return 1
  })
}

/** Queues deliveries again that were given up: one, or all of them. A receiver tells by webhook-id what it had already. */
export function replayWebhook(
  services: WebhookServices,
  action: SignedAction<{ webhookId: string; noticeId?: string | undefined }>,
  now: number,
): Promise<Result<number, ResendReason>> {
  const { walletAddress, members } = action
  return resend(services, action, now, (tx) =>
    replay(tx, walletAddress, members.webhookId, members.noticeId, now),
  )
}

/** As `replayWebhook`, for the operator's own. */
export async function replayOperatorWebhook(
  db: Database,
  webhookId: string,
  now: number,
): Promise<number | undefined> {
  const own = await rows(
    db,
    sql`SELECT FROM webhooks WHERE ${ownedBy(null)} AND webhooks.id = ${webhookId}`,
  )
  if (own.length === 0) return undefined
  await rows(
    db,
    sql`UPDATE webhooks SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL
      WHERE ${ownedBy(null)} AND webhooks.id = ${webhookId} AND disabled_reason <> 'tampered'`,
  )
  return replay(db, null, webhookId, undefined, now)
}

async function replay(
  db: Database,
  owner: string | null,
  webhookId: string,
  noticeId: string | undefined,
  now: number,
): Promise<number> {
  const inShard = inShardOf(owner, 'deliveries')
  const queued = await rows(
    db,
    sql`UPDATE deliveries SET state = 'waiting', due_at = ${timestamptz(now)}, attempts = 0
      WHERE webhook_id = ${webhookId} AND state = 'dead'${inShard} AND notice_id IN (
        SELECT notice_id FROM deliveries WHERE webhook_id = ${webhookId} AND state = 'dead'${inShard}
          ${noticeId === undefined ? sql`` : sql`AND notice_id = ${noticeId}`}
        ORDER BY created_at LIMIT ${MAX_REPLAYED}::int)
      RETURNING 1`,
  )
  return queued.length
}

async function resend(
  services: WebhookServices,
  action: SignedAction<{ webhookId: string }>,
  now: number,
  queue: (tx: Database) => Promise<number>,
): Promise<Result<number, ResendReason>> {
  const ports = requirePorts(services)
  if (!ports.ok) return ports
  const { walletAddress, members } = action
  return atomically<number, ResendReason>(services.db, async (tx) => {
    const consumed = await consumeMessage(tx, action, now)
    if (!consumed.ok) return consumed
    const row = await lockWebhook(tx, walletAddress, members.webhookId)
    if (row === undefined) return refuse('webhookNotFound')
    if (row.disabledReason !== null)
      return refuse('webhookDisabled', { reason: row.disabledReason })
    return ok(await queue(tx))
  })
}
