import * as z from 'zod'
import { AuditHeadSchema, actionSchema } from '../actions/schemas.ts'
import { NOTICE_TYPES, OPERATOR_NOTICE_TYPES } from '../notices/notice.ts'
import { integerParameter } from '../wire/query.ts'
import {
  ALL_EVENTS,
  type Delivery,
  MAX_LABEL_LENGTH as MAX_LABEL,
  MAX_OVERLAP_SECONDS,
  MAX_URL_LENGTH,
  type Notice,
  type WebhookWithSecret,
} from './webhook.ts'

export const WebhookId = z.string().regex(/^wh_[0-9A-Za-z]{1,40}$/, 'must look like wh_123abc')
const NoticeId = z.string().regex(/^msg_[0-9A-Za-z]{1,60}$/, 'must look like msg_123abc')
const HEAD = { auditHead: AuditHeadSchema.optional() }

function eventsOf<const Types extends readonly string[]>(types: Types) {
  return z
    .array(z.enum([ALL_EVENTS, ...types]))
    .min(1)
    .max(types.length)
    .refine((events) => new Set(events).size === events.length, 'names a type twice')
    .refine(
      (events) => events.length === 1 || !events.some((event) => event === ALL_EVENTS),
      `is ${ALL_EVENTS} alone, or types`,
    )
}

const Url = z.string().min(1).max(MAX_URL_LENGTH)
const Label = z
  .string()
  .min(1)
  .max(MAX_LABEL)
  .regex(/^[^\p{C}]*$/u, 'must have no control characters')
const Events = eventsOf(NOTICE_TYPES)

/** What an operator gives for a webhook of its own. Types are checked as those of a wallet's. */
export const OperatorWebhook: z.ZodType<{
  url: string
  events: string[]
  label?: string | undefined
}> = z.strictObject({
  url: Url,
  events: eventsOf(OPERATOR_NOTICE_TYPES),
  label: Label.optional(),
})

const OF_WEBHOOK = { webhookId: 'wh_4Yc1xQ7mB2' }

export const CreateWebhook = actionSchema(
  'create_webhook',
  {
    url: Url.meta({ description: 'https:// and a host of the public internet.' }),
    events: Events.default([ALL_EVENTS]),
    label: Label.optional(),
    ...HEAD,
  },
  { url: 'https://bot.example/latchkey', events: ['key.leaked', 'order.failed'] },
)
export const ListWebhooks = actionSchema('list_webhooks', {})
export const UpdateWebhook = actionSchema(
  'update_webhook',
  {
    webhookId: WebhookId,
    url: Url.optional(),
    events: Events.optional(),
    label: Label.nullable().optional(),
    enabled: z.literal(true).optional().meta({ description: 'Sends again what was disabled.' }),
    ...HEAD,
  },
  { ...OF_WEBHOOK, enabled: true },
)
export const RotateWebhookSecret = actionSchema(
  'rotate_webhook_secret',
  {
    webhookId: WebhookId,
    overlapSeconds: z.int().min(0).max(MAX_OVERLAP_SECONDS).meta({
      description: 'How long deliveries are signed with the old secret as well.',
    }),
    ...HEAD,
  },
  { ...OF_WEBHOOK, overlapSeconds: 86_400 },
)
export const DeleteWebhook = actionSchema(
  'delete_webhook',
  { webhookId: WebhookId, ...HEAD },
  OF_WEBHOOK,
)
export const TestWebhook = actionSchema('test_webhook', { webhookId: WebhookId }, OF_WEBHOOK)
export const ReplayWebhook = actionSchema(
  'replay_webhook',
  {
    webhookId: WebhookId,
    noticeId: NoticeId.optional().meta({ description: 'Every dead delivery without.' }),
  },
  OF_WEBHOOK,
)
export const ListNotices = actionSchema('list_notices', {})

export type WebhookGrant = z.output<typeof CreateWebhook>
export type WebhookUpdate = z.output<typeof UpdateWebhook>

export const WebhookParams = z.object({ webhookId: WebhookId })

const time = z.iso.datetime()
/** One schema, because each name of the document costs its readers: only a creation and a rotation have a secret. */
export const WebhookSchema = z
  .object({
    webhookId: z.string(),
    url: z.string(),
    events: z.array(z.string()),
    label: z.string().nullable(),
    createdAt: time,
    previousSecretUntil: time.nullable(),
    status: z.enum(['active', 'failing', 'disabled']),
    disabledAt: time.nullable(),
    disabledReason: z.enum(['gone', 'failing', 'tampered']).nullable(),
    deliveredAt: time.nullable(),
    failingSince: time.nullable(),
    lastFailure: z.string().nullable(),
    waiting: z.int(),
    dead: z.int(),
    secret: z
      .string()
      .optional()
      .meta({ description: 'whsec_ and base64, once: of a creation or a rotation.' }),
    auditHead: AuditHeadSchema.optional(),
  })
  .meta({ id: 'Webhook' })
export const DeletedWebhookResponse = z.object({
  status: z.literal('success'),
  webhookId: z.string(),
  auditHead: AuditHeadSchema,
})
export const WebhooksResponse = z.object({
  status: z.literal('success'),
  webhooks: z.array(WebhookSchema),
})
export const QueuedResponse = z.object({
  status: z.literal('success'),
  queued: z.int().meta({ description: 'Deliveries that are made next.' }),
})

export const DeliveryQuery = z.object({
  state: z.enum(['waiting', 'delivered', 'dead']).default('dead'),
  limit: integerParameter({ minimum: 1, maximum: 100, byDefault: 100 }),
})
export const DeliverySchema = z
  .object({
    noticeId: z.string(),
    type: z.string(),
    state: z.enum(['waiting', 'delivered', 'dead']),
    attempts: z.int(),
    createdAt: time,
    dueAt: time.nullable(),
    deliveredAt: time.nullable(),
    responseStatus: z.int().nullable(),
    failure: z.string().nullable(),
  })
  .meta({ id: 'Delivery' })
export const DeliveriesResponse = z.object({
  status: z.literal('success'),
  deliveries: z.array(DeliverySchema),
})

export const NoticeQuery = z.object({
  before: z
    .string()
    .regex(/^[1-9][0-9]{0,14}$/)
    .optional()
    .meta({ description: 'nextCursor of the page before.' }),
  limit: integerParameter({ minimum: 1, maximum: 100, byDefault: 100 }),
})
export const NoticeSchema = z
  .object({
    noticeId: z.string().meta({ description: 'The webhook-id of its deliveries.' }),
    type: z.string(),
    timestamp: time,
    walletAddress: z.string(),
    keyId: z.string().optional(),
    orderUuid: z.string().optional(),
    data: z.record(z.string(), z.unknown()),
  })
  .meta({ id: 'Notice' })
export const NoticesResponse = z.object({
  status: z.literal('success'),
  notices: z.array(NoticeSchema),
  nextCursor: z.string().optional(),
})

type Same<A, B> = [A, B] extends [B, A] ? true : never
true satisfies Same<keyof z.output<typeof WebhookSchema>, keyof WebhookWithSecret>
true satisfies Same<keyof z.output<typeof DeliverySchema>, keyof Delivery>
true satisfies Same<keyof z.output<typeof NoticeSchema>, keyof Notice>
