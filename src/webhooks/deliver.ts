import { sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { webhookSecretLabel } from '../crypto/labels.ts'
import { type Database, rows } from '../db/database.ts'
import { later, milliseconds, searchTime } from '../db/time.ts'
import { signDelivery } from '../notices/signature.ts'
import { VERSION } from '../version.ts'
import type { Json } from '../wire/json.ts'
import { WEBHOOK_ROW, type WebhookRow } from './find.ts'
import { FAILING_MS, retryDelayMs } from './schedule.ts'
import { DeliveryError, type Reply, type WebhookPorts, type WebhookServices } from './services.ts'
import { allowedAddresses, readTarget } from './target.ts'
import { type DisabledReason, webhookText } from './webhook.ts'

/*
 * Deliveries: claimed under a lease by one guarded statement, sent, and marked. A process that dies in between leaves a lease that ends, and
 * the delivery is sent again with the same webhook-id: at least once, by any number of processes.
 */

/** Requests of this process that are under way, at most. */
const MAX_IN_FLIGHT = 64
/** To one webhook: a slow receiver has these, and no more. */
const MAX_IN_FLIGHT_PER_WEBHOOK = 4
/** A lease outlives the attempt, whose time is bounded, and the statement that marks it. */
const LEASE_TIMEOUTS = 3

/** How attempts ended. */
export type DeliveryOutcome = 'delivered' | 'failed' | 'dead' | 'dropped'

/** What a process knows of its deliveries without a statement. */
export interface DeliveryCounts {
  outcomes: Readonly<Record<DeliveryOutcome, number>>
  inFlight: number
  /** Of the oldest delivery that is not made, as of the last pass; 0 where there is none. */
  oldestWaitingMs: number
}

/** The deliveries of one process. */
export interface Deliverer {
  /** Starts what is due and fits; resolves to whether nothing more is due that could be started now. */
  pass(services: WebhookServices): Promise<boolean>
  /** Resolves once what is under way has ended, and what took its place. */
  settle(): Promise<void>
  /** As `settle`; nothing takes its place. */
  close(): Promise<void>
  counts(): DeliveryCounts
}

/** A delivery that this process has the lease of. */
interface Claimed {
  noticeId: string
  webhookId: string
  attempt: number
  /** Null for a notice that is gone. */
  notice: NoticeJson | null
  webhook: (WebhookRow & { id: string }) | null
}

interface NoticeJson {
  type: string
  wallet: string
  keyId: string | null
  orderUuid: string | null
  data: { [member: string]: Json }
  at: number
}

/** Opens the deliveries of a process. */
export function openDeliverer(): Deliverer {
  const inFlight = new Set<Promise<void>>()
  const perWebhook = new Map<string, number>()
  const outcomes: Record<DeliveryOutcome, number> = { delivered: 0, failed: 0, dead: 0, dropped: 0 }
  let oldestWaitingMs = 0
  let refilling: Promise<void> | undefined
  let isClosed = false

  function start(services: WebhookServices, ports: WebhookPorts, claimed: Claimed): void {
    const { webhookId } = claimed
    perWebhook.set(webhookId, (perWebhook.get(webhookId) ?? 0) + 1)
    const attempt = deliver(services, ports, claimed)
      .then((outcome) => {
        outcomes[outcome] += 1
      })
      // The lease ends by itself, and the delivery is made again.
      .catch((error: unknown) => {
        const fault = error instanceof Error ? error.name : ''
        services.log('error', 'delivery_not_marked', { webhookId, fault })
      })
      .finally(() => end(services, ports, attempt, webhookId))
    inFlight.add(attempt)
  }

  function end(
    services: WebhookServices,
    ports: WebhookPorts,
    attempt: Promise<void>,
    webhookId: string,
  ): void {
    const count = perWebhook.get(webhookId) ?? 1
    const isFull = count >= MAX_IN_FLIGHT_PER_WEBHOOK || inFlight.size >= MAX_IN_FLIGHT
    inFlight.delete(attempt)
    if (count === 1) perWebhook.delete(webhookId)
    else perWebhook.set(webhookId, count - 1)
    // What had no place may be due: it does not wait for the next pass.
    if (isFull && !isClosed) refill(services, ports)
  }

  function refill(services: WebhookServices, ports: WebhookPorts): void {
    refilling ??= fill(services, ports)
      .then(
        () => {},
        () => {}, // The next pass reports an outage.
      )
      .finally(() => {
        refilling = undefined
      })
  }

  /** Claims what is due and fits; resolves to how much that was. */
  async function fill(services: WebhookServices, ports: WebhookPorts): Promise<number> {
    const free = MAX_IN_FLIGHT - inFlight.size
    if (free === 0) return 0
    const busy = [...perWebhook].filter(([, count]) => count >= MAX_IN_FLIGHT_PER_WEBHOOK)
    const claimed = await claim(
      services,
      busy.map(([id]) => id),
      free,
    )
    for (const one of claimed) start(services, ports, one)
    return claimed.length
  }

  async function settle(): Promise<void> {
    while (inFlight.size > 0 || refilling !== undefined) await Promise.all([...inFlight, refilling])
  }

  return {
    async pass(services) {
      const ports = services.webhookPorts
      if (ports === undefined || services.config.WEBHOOKS === 'off') return true
      if (services.distribution !== undefined) return true
      oldestWaitingMs = await readOldest(services)
      return oldestWaitingMs === 0 || (await fill(services, ports)) === 0
    },
    settle,
    close() {
      isClosed = true
      return settle()
    },
    counts: () => ({ outcomes: { ...outcomes }, inFlight: inFlight.size, oldestWaitingMs }),
  }
}

/** The age of the oldest delivery that is not made; 0 where there is none. */
async function readOldest({ db, databaseTime }: WebhookServices): Promise<number> {
  const [oldest] = await rows<{ age: number }>(
    db,
    sql`SELECT greatest(1, ${milliseconds(databaseTime())} - ${milliseconds(sql`created_at`)})::float8 AS age
      FROM deliveries WHERE due_at IS NOT NULL ORDER BY created_at LIMIT 1`,
  )
  return oldest?.age ?? 0
}

/**
 * Takes due deliveries under a lease: a few of each webhook, so that the backlog of one is not in front of the others, and those of
 * webhooks that fail last. The first part finds the webhooks that have any, by one probe of an index each.
 */
async function claim(
  services: WebhookServices,
  busy: readonly string[],
  most: number,
): Promise<Claimed[]> {
  const { db, databaseTime, config } = services
  const at = databaseTime()
  return rows<Claimed>(
    db,
    sql`WITH RECURSIVE waiting (webhook_id) AS (
        (SELECT webhook_id FROM deliveries WHERE due_at IS NOT NULL ORDER BY webhook_id LIMIT 1)
        UNION ALL
        SELECT (SELECT further.webhook_id FROM deliveries AS further
          WHERE further.due_at IS NOT NULL AND further.webhook_id > waiting.webhook_id ORDER BY further.webhook_id LIMIT 1)
        FROM waiting WHERE waiting.webhook_id IS NOT NULL
      ), due AS (
        SELECT one.notice_id, one.webhook_id FROM waiting LEFT JOIN webhooks ON webhooks.id = waiting.webhook_id
        CROSS JOIN LATERAL (
          SELECT notice_id, webhook_id, due_at FROM deliveries
          WHERE webhook_id = waiting.webhook_id AND due_at <= ${searchTime(services)}
          ORDER BY due_at LIMIT ${MAX_IN_FLIGHT_PER_WEBHOOK}::int FOR UPDATE SKIP LOCKED
        ) AS one
        WHERE waiting.webhook_id <> ALL (${`{${busy.join(',')}}`}::text::text[])
        ORDER BY webhooks.failing_since IS NOT NULL, one.due_at LIMIT ${most}::int
      ), claimed AS (
        UPDATE deliveries SET attempts = attempts + 1, due_at = ${later(at, config.WEBHOOK_TIMEOUT_MS * LEASE_TIMEOUTS)}
        FROM due WHERE deliveries.notice_id = due.notice_id AND deliveries.webhook_id = due.webhook_id
        RETURNING deliveries.notice_id, deliveries.webhook_id, deliveries.attempts
      )
      SELECT claimed.notice_id AS "noticeId", claimed.webhook_id AS "webhookId", claimed.attempts AS attempt,
        (SELECT jsonb_build_object('type', type, 'wallet', wallet_address, 'keyId', key_id, 'orderUuid', order_uuid, 'data', data,
          'at', ${milliseconds(sql`at`)}) FROM notices WHERE notices.id = claimed.notice_id) AS notice,
        (SELECT to_jsonb(row) FROM (SELECT ${WEBHOOK_ROW} FROM webhooks WHERE webhooks.id = claimed.webhook_id) AS row) AS webhook
      FROM claimed`,
  )
}

/** Makes one attempt, and marks how it ended. */
async function deliver(
  services: WebhookServices,
  ports: WebhookPorts,
  claimed: Claimed,
): Promise<DeliveryOutcome> {
  const { webhook, notice } = claimed
  if (webhook === null || notice === null) {
    await drop(services.db, claimed)
    return 'dropped'
  }
  // Not one that was edited: its address is none that its owner signed for.
  if (!services.mac.verify(webhookText(webhook), webhook.mac)) {
    services.log('error', 'webhook_tampered', { webhookId: webhook.id })
    await disable(services, webhook.id, 'tampered')
    return 'dead'
  }
  if (webhook.disabledAt !== null) {
    await disable(services, webhook.id, webhook.disabledReason ?? 'failing')
    return 'dead'
  }
  const attempt = await send(services, ports, { claimed, webhook, notice })
  if (attempt.status !== undefined && attempt.status >= 200 && attempt.status < 300) {
    await markDelivered(services, claimed, attempt.status)
    return 'delivered'
  }
  return markFailed(services, claimed, attempt)
}

interface Attempt extends Partial<Reply> {
  /** Why there is no response. */
  failure?: string
}

async function send(
  { config, now, encryption }: WebhookServices,
  ports: WebhookPorts,
  { claimed, webhook, notice }: { claimed: Claimed; webhook: WebhookRow; notice: NoticeJson },
): Promise<Attempt> {
  const target = readTarget(webhook.url, config.STACKS_NETWORK)
  if (!target.ok) return { failure: target.reason }
  const addresses = await ports.resolve(target.value.host).catch(() => undefined)
  if (addresses === undefined) return { failure: 'the name could not be looked up' }
  const allowed = allowedAddresses(target.value, addresses)
  if (!allowed.ok) return { failure: allowed.reason }
  // Another address with each attempt: one of several may be out of reach.
  const address = allowed.value[(claimed.attempt - 1) % allowed.value.length] as string
  const label = webhookSecretLabel(webhook.id)
  const isOverlapping = (webhook.previousUntil ?? 0) > now()
  const boxes = [webhook.secretBox, ...(isOverlapping ? [webhook.previousSecretBox ?? ''] : [])]
  const secrets = await Promise.all(boxes.map((box) => encryption.decrypt(fromHex(box), label)))
  const signed = {
    id: claimed.noticeId,
    timestamp: String(Math.floor(now() / 1_000)),
    payload: payloadText(notice),
  }
  const headers = {
    'content-type': 'application/json',
    'user-agent': `latchkey/${VERSION}`,
    'webhook-id': signed.id,
    'webhook-timestamp': signed.timestamp,
    'webhook-signature': signDelivery(secrets, signed),
  }
  try {
    const request = { headers, body: signed.payload, timeoutMs: config.WEBHOOK_TIMEOUT_MS }
    return await ports.send(target.value, address, request)
  } catch (error) {
    return { failure: error instanceof DeliveryError ? error.message : 'no response' }
  }
}

/** The body of a delivery: the same text with each attempt. */
function payloadText({ type, wallet, keyId, orderUuid, data, at }: NoticeJson): string {
  return JSON.stringify({
    type,
    timestamp: new Date(at).toISOString(),
    data: {
      ...data,
      walletAddress: wallet,
      ...(keyId !== null && { keyId }),
      ...(orderUuid !== null && { orderUuid }),
    },
  })
}

async function drop(db: Database, { noticeId, webhookId }: Claimed): Promise<void> {
  await rows(
    db,
    sql`DELETE FROM deliveries WHERE notice_id = ${noticeId} AND webhook_id = ${webhookId}`,
  )
}

/** How often the time of the last success is written, at most: each delivery would rewrite the row of its webhook. */
const SUCCESS_NOTED_MS = 60_000

/** Marks a delivery as made, whatever else was found out about it meanwhile: the receiver has it. */
async function markDelivered(
  { db, databaseTime }: WebhookServices,
  { noticeId, webhookId }: Claimed,
  status: number,
): Promise<void> {
  const at = databaseTime()
  await rows(
    db,
    sql`UPDATE deliveries SET state = 'delivered', due_at = NULL, delivered_at = ${at}, status = ${status}::int, failure = NULL
      WHERE notice_id = ${noticeId} AND webhook_id = ${webhookId}`,
  )
  // A statement of its own: one with both could deadlock with a deletion, which locks the webhook first.
  await rows(
    db,
    sql`UPDATE webhooks SET delivered_at = ${at}, failing_since = NULL, last_failure = NULL
      WHERE id = ${webhookId} AND (failing_since IS NOT NULL OR delivered_at IS NULL
        OR delivered_at < ${later(at, -SUCCESS_NOTED_MS)})`,
  )
}

const GONE = 410

/** Marks a failed attempt, unless another process has the lease by now. A receiver that is gone, or fails for days, gets nothing more. */
async function markFailed(
  services: WebhookServices,
  { noticeId, webhookId, attempt }: Claimed,
  { status, retryAfter, failure }: Attempt,
): Promise<DeliveryOutcome> {
  const { db, databaseTime, randomBytes, now } = services
  const at = databaseTime()
  const random = (randomBytes(1)[0] ?? 0) / 256
  const delay = status === GONE ? undefined : retryDelayMs(attempt, random, retryAfter, now())
  const why = failure ?? (status === undefined ? 'no response' : `status ${status}`)
  const marked = await rows(
    db,
    sql`UPDATE deliveries SET state = ${delay === undefined ? 'dead' : 'waiting'}, status = ${status ?? null}::int, failure = ${why},
        due_at = ${delay === undefined ? sql`NULL` : later(at, delay)}
      WHERE notice_id = ${noticeId} AND webhook_id = ${webhookId} AND attempts = ${attempt}::int AND state = 'waiting' RETURNING 1`,
  )
  if (marked.length === 0) return 'failed'
  const [webhook] = await rows<{ failedForDays: boolean }>(
    db,
    sql`UPDATE webhooks SET failing_since = coalesce(failing_since, ${at}), last_failure = ${why} WHERE id = ${webhookId}
      RETURNING failing_since <= ${later(at, -FAILING_MS)} AS "failedForDays"`,
  )
  if (status === GONE) await disable(services, webhookId, 'gone')
  else if (webhook?.failedForDays === true) await disable(services, webhookId, 'failing')
  return delay === undefined ? 'dead' : 'failed'
}

/** Sends nothing more to a webhook. What it still had to receive can be replayed once its owner has enabled it again. */
async function disable(
  { db, databaseTime, log }: WebhookServices,
  webhookId: string,
  reason: DisabledReason,
): Promise<void> {
  const disabled = await rows<{ walletAddress: string | null }>(
    db,
    sql`UPDATE webhooks SET disabled_at = ${databaseTime()}, disabled_reason = ${reason}
      WHERE id = ${webhookId} AND disabled_at IS NULL RETURNING wallet_address AS "walletAddress"`,
  )
  for (const { walletAddress } of disabled)
    log('warn', 'webhook_disabled', {
      webhookId,
      reason,
      ...(walletAddress !== null && { walletAddress }),
    })
  await rows(
    db,
    sql`UPDATE deliveries SET state = 'dead', due_at = NULL, failure = coalesce(failure, ${`webhook disabled: ${reason}`})
      WHERE webhook_id = ${webhookId} AND due_at IS NOT NULL`,
  )
}
