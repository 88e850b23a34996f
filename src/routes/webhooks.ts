import type { SignedAction } from '../actions/action.ts'
import { type ActionSchema, SignedBody, SignedHeaders } from '../actions/schemas.ts'
import { readQuery } from '../http/body.ts'
import { type AppContext, stateOf, worldOfRequest } from '../http/context.ts'
import { limitByAddress } from '../http/credentials/address.ts'
import {
  authenticateReader,
  readSignedBody,
  readSignedBodyOrHeaders,
  SIGNATURE_REFUSALS,
  type Signable,
} from '../http/credentials/wallet.ts'
import type { Endpoint } from '../http/endpoint.ts'
import { unwrap } from '../http/problem.ts'
import { respond, respondCreated } from '../http/respond.ts'
import { refuse } from '../result.ts'
import { deleteWebhook, rotateWebhookSecret, updateWebhook } from '../webhooks/change.ts'
import { createWebhook } from '../webhooks/create.ts'
import { listDeliveries, listNotices, listWebhooks } from '../webhooks/find.ts'
import { replayWebhook, testWebhook } from '../webhooks/resend.ts'
import * as wire from '../webhooks/schemas.ts'

const CREATE = {
  schema: wire.CreateWebhook,
  example: { action: 'create_webhook', url: 'https://bot.example/latchkey', events: ['*'] },
}
const LIST = { schema: wire.ListWebhooks, example: { action: 'list_webhooks' } }
const NOTICES = { schema: wire.ListNotices, example: { action: 'list_notices' } }
const update = (webhookId: string) => ({
  schema: wire.UpdateWebhook,
  example: { action: 'update_webhook', webhookId, enabled: true },
})
const rotate = (webhookId: string) => ({
  schema: wire.RotateWebhookSecret,
  example: { action: 'rotate_webhook_secret', webhookId, overlapSeconds: 86_400 },
})
const remove = (webhookId: string) => ({
  schema: wire.DeleteWebhook,
  example: { action: 'delete_webhook', webhookId },
})
const test = (webhookId: string) => ({
  schema: wire.TestWebhook,
  example: { action: 'test_webhook', webhookId },
})
const replay = (webhookId: string) => ({
  schema: wire.ReplayWebhook,
  example: { action: 'replay_webhook', webhookId },
})

const changeRefusals = [
  ...SIGNATURE_REFUSALS,
  'messageReplayed',
  'walletSuspended',
  'bodyTooLarge',
] as const
const auditedRefusals = [...changeRefusals, 'auditHeadUnknown'] as const
const readRefusals = [...SIGNATURE_REFUSALS, 'sessionInvalid'] as const
const ofWebhook = { credentials: ['wallet'], params: wire.WebhookParams } as const

/** The webhook of the path, which the message has to name as well. */
function named(c: AppContext): string {
  return c.req.param('webhookId') ?? ''
}

function requireNamed<Schema extends ActionSchema, Members extends { webhookId: string }>(
  c: AppContext,
  action: SignedAction<Members>,
  { example }: Signable<Schema>,
): SignedAction<Members> {
  if (action.members.webhookId === named(c)) return action
  return unwrap(
    refuse('invalidRequest', {
      problem: 'message names another webhook than the path',
      expected: example,
    }),
  )
}

export const webhookEndpoints: readonly Endpoint[] = [
  {
    method: 'post',
    path: '/webhooks',
    operationId: 'createWebhook',
    summary: 'Be told of what happens to keys and orders',
    description:
      'Notices are sent to the address as Standard Webhooks. Only this response contains the secret.',
    credentials: ['wallet'],
    body: { schema: SignedBody },
    messages: [wire.CreateWebhook],
    responses: {
      201: { description: 'The webhook and its secret', schema: wire.WebhookSchema },
    },
    refusals: [...auditedRefusals, 'webhookUrlRefused', 'webhookLimitReached', 'webhooksOff'],
    async handle(c) {
      limitByAddress(c)
      const action = await readSignedBody(c, CREATE)
      const created = unwrap(await createWebhook(worldOfRequest(c), action, stateOf(c).now))
      return respondCreated(c, created, `/webhooks/${created.webhookId}/deliveries`)
    },
  },
  {
    method: 'get',
    path: '/webhooks',
    operationId: 'listWebhooks',
    summary: "The wallet's webhooks, and how their deliveries fare",
    credentials: ['wallet', 'session'],
    headers: SignedHeaders.partial(),
    messages: [wire.ListWebhooks],
    responses: { 200: { description: 'The webhooks', schema: wire.WebhooksResponse } },
    refusals: readRefusals,
    async handle(c) {
      const walletAddress = await authenticateReader(c, LIST)
      const webhooks = await listWebhooks(stateOf(c).world.db, walletAddress, stateOf(c).now)
      return respond(c, { status: 'success', webhooks })
    },
  },
  {
    method: 'patch',
    path: '/webhooks/{webhookId}',
    operationId: 'updateWebhook',
    summary: 'Change where a webhook leads or what it gets, or enable it again',
    ...ofWebhook,
    body: { schema: SignedBody },
    messages: [wire.UpdateWebhook],
    responses: { 200: { description: 'The webhook', schema: wire.WebhookSchema } },
    refusals: [
      ...auditedRefusals,
      'webhookNotFound',
      'webhookTampered',
      'webhookUrlRefused',
      'webhooksOff',
    ],
    async handle(c) {
      limitByAddress(c)
      const signable = update(named(c))
      const action = requireNamed(c, await readSignedBody(c, signable), signable)
      return respond(c, unwrap(await updateWebhook(worldOfRequest(c), action, stateOf(c).now)))
    },
  },
  {
    method: 'post',
    path: '/webhooks/{webhookId}/rotate',
    operationId: 'rotateWebhookSecret',
    summary: "Replace a webhook's secret; both sign for overlapSeconds",
    ...ofWebhook,
    body: { schema: SignedBody },
    messages: [wire.RotateWebhookSecret],
    responses: {
      200: { description: 'The webhook and its secret', schema: wire.WebhookSchema },
    },
    refusals: [...auditedRefusals, 'webhookNotFound', 'webhookTampered', 'webhooksOff'],
    async handle(c) {
      limitByAddress(c)
      const signable = rotate(named(c))
      const action = requireNamed(c, await readSignedBody(c, signable), signable)
      return respond(
        c,
        unwrap(await rotateWebhookSecret(worldOfRequest(c), action, stateOf(c).now)),
      )
    },
  },
  {
    method: 'delete',
    path: '/webhooks/{webhookId}',
    operationId: 'deleteWebhook',
    summary: 'Delete a webhook, and what it still had to receive',
    ...ofWebhook,
    headers: SignedHeaders.partial(),
    body: { schema: SignedBody, optional: true },
    messages: [wire.DeleteWebhook],
    responses: { 200: { description: 'It is deleted', schema: wire.DeletedWebhookResponse } },
    refusals: [...auditedRefusals, 'webhookNotFound'],
    async handle(c) {
      limitByAddress(c)
      const signable = remove(named(c))
      const action = requireNamed(c, await readSignedBodyOrHeaders(c, signable), signable)
      const auditHead = unwrap(await deleteWebhook(worldOfRequest(c), action, stateOf(c).now))
      return respond(c, { status: 'success', webhookId: action.members.webhookId, auditHead })
    },
  },
  {
    method: 'post',
    path: '/webhooks/{webhookId}/test',
    operationId: 'testWebhook',
    summary: 'Send a webhook.test to a webhook',
    ...ofWebhook,
    body: { schema: SignedBody },
    messages: [wire.TestWebhook],
    responses: { 200: { description: 'It is sent next', schema: wire.QueuedResponse } },
    refusals: [...changeRefusals, 'webhookNotFound', 'webhookDisabled', 'webhooksOff'],
    async handle(c) {
      limitByAddress(c)
      const signable = test(named(c))
      const action = requireNamed(c, await readSignedBody(c, signable), signable)
      const queued = unwrap(await testWebhook(worldOfRequest(c), action, stateOf(c).now))
      return respond(c, { status: 'success', queued })
    },
  },
  {
    method: 'get',
    path: '/webhooks/{webhookId}/deliveries',
    operationId: 'listDeliveries',
    summary: "A webhook's newest deliveries in a state; dead ones were given up",
    credentials: ['wallet', 'session'],
    params: wire.WebhookParams,
    query: wire.DeliveryQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.ListWebhooks],
    responses: { 200: { description: 'The deliveries', schema: wire.DeliveriesResponse } },
    refusals: [...readRefusals, 'webhookNotFound'],
    async handle(c) {
      const walletAddress = await authenticateReader(c, LIST)
      const query = unwrap(readQuery(c, wire.DeliveryQuery))
      const deliveries = await listDeliveries(stateOf(c).world.db, walletAddress, named(c), query)
      if (deliveries === undefined) return unwrap(refuse('webhookNotFound'))
      return respond(c, { status: 'success', deliveries })
    },
  },
  {
    method: 'post',
    path: '/webhooks/{webhookId}/replay',
    operationId: 'replayWebhook',
    summary: 'Send again what was given up: one delivery, or up to 1,000',
    ...ofWebhook,
    body: { schema: SignedBody },
    messages: [wire.ReplayWebhook],
    responses: { 200: { description: 'They are sent next', schema: wire.QueuedResponse } },
    refusals: [...changeRefusals, 'webhookNotFound', 'webhookDisabled', 'webhooksOff'],
    async handle(c) {
      limitByAddress(c)
      const signable = replay(named(c))
      const action = requireNamed(c, await readSignedBody(c, signable), signable)
      const queued = unwrap(await replayWebhook(worldOfRequest(c), action, stateOf(c).now))
      return respond(c, { status: 'success', queued })
    },
  },
  {
    method: 'get',
    path: '/notices',
    operationId: 'listNotices',
    summary: 'What the wallet was told, newest first',
    description:
      'Findings, leaks and exposed intents, and those changes that a webhook waited for. Kept for NOTICE_RETENTION_DAYS.',
    credentials: ['wallet', 'session'],
    query: wire.NoticeQuery,
    headers: SignedHeaders.partial(),
    messages: [wire.ListNotices],
    responses: { 200: { description: 'A page of notices', schema: wire.NoticesResponse } },
    refusals: readRefusals,
    async handle(c) {
      const walletAddress = await authenticateReader(c, NOTICES)
      const query = unwrap(readQuery(c, wire.NoticeQuery))
      const { notices, next } = await listNotices(stateOf(c).world.db, walletAddress, query)
      return respond(c, {
        status: 'success',
        notices,
        ...(next !== undefined && { nextCursor: next }),
      })
    },
  },
]
