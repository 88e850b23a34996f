import type { Delivery, Notice, Webhook, WebhookWithSecret } from '../webhooks/webhook.ts'
import { sendChange } from './audit-heads.ts'
import type { CallOptions, CallPromise, Calls } from './call.ts'
import { latchkeyError } from './errors.ts'
import type { ActionMembers } from './message.ts'
import type { Call, Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

/** A webhook to be made. */
export interface NewWebhook {
  /** https:// and a host of the public internet; on a devnet also http:// to a loopback address. */
  url: string
  /** Types of notices; all of them by default. */
  events?: readonly string[]
  /** A note for its owner. */
  label?: string
}

/** What of a webhook changes; what is absent stays. */
export interface WebhookChange {
  url?: string
  events?: readonly string[]
  /** Null removes it. */
  label?: string | null
  /** Sends again what was disabled. */
  enabled?: true
}

/** Which deliveries are listed. */
export interface DeliveryFilter extends CallOptions {
  /** `dead`, those that were given up, by default. */
  state?: 'waiting' | 'delivered' | 'dead'
  /** 1 to 100, the default. */
  limit?: number
}

/**
 * Webhooks tell a server of what happens to the keys and orders of the wallet: {@link verifyWebhook} verifies what it receives. Changes
 * are signed by the wallet and kept in its audit; reads need a session or the wallet.
 *
 * @example
 * ```ts
 * import { createClient, privateKeySigner } from 'latchkey/client'
 *
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * const { webhooks } = createClient({ baseUrl: 'https://dex.example', signer })
 * const url = 'http://localhost:9000/latchkey' // https:// everywhere but on a devnet
 * const { webhookId, secret } = await webhooks.create({ url, events: ['key.leaked', 'order.failed'] })
 * console.log(secret.length) // shown this once: the receiver keeps it
 * await webhooks.test(webhookId)
 * await webhooks.update(webhookId, { events: ['*'], label: 'of the bot' })
 * const { secret: next } = await webhooks.rotateSecret(webhookId, 3600) // both sign for an hour
 * const [webhook] = await webhooks.list()
 * console.log(next.length, webhook?.status)
 * const dead = await webhooks.deliveries(webhookId) // given up after some 31 hours
 * const queued = await webhooks.replay(webhookId)
 * const told = await webhooks.notices() // what the wallet was told, also without any webhook
 * console.log(dead.length, queued, told.length)
 * await webhooks.delete(webhookId)
 * ```
 */
export interface Webhooks {
  /** Makes a webhook. `secret` in the result is shown this once. Not repeated after a lost connection: list and delete what was made. */
  create(webhook: NewWebhook, options?: CallOptions): CallPromise<WebhookWithSecret>
  /** Lists the wallet's webhooks, and how their deliveries fare. */
  list(options?: CallOptions): CallPromise<Webhook[]>
  /** Changes a webhook, or enables it again. */
  update(webhookId: string, change: WebhookChange, options?: CallOptions): CallPromise<Webhook>
  /** Makes a new secret; deliveries are signed with the old one as well for `overlapSeconds`, a day by default and a week at most. */
  rotateSecret(
    webhookId: string,
    overlapSeconds?: number,
    options?: CallOptions,
  ): CallPromise<WebhookWithSecret>
  /** Deletes a webhook, and what it still had to receive. */
  delete(webhookId: string, options?: CallOptions): CallPromise<void>
  /** Sends a `webhook.test` to a webhook, whatever types it gets. */
  test(webhookId: string, options?: CallOptions): CallPromise<void>
  /** Lists the newest deliveries of a webhook in a state. */
  deliveries(webhookId: string, filter?: DeliveryFilter): CallPromise<Delivery[]>
  /** Sends again what was given up: one notice, or up to 1,000. Resolves with how many. */
  replay(webhookId: string, noticeId?: string, options?: CallOptions): CallPromise<number>
  /** Lists what the wallet was told, newest first: at most the newest 100. */
  notices(options?: CallOptions & { limit?: number }): CallPromise<Notice[]>
}

interface Context {
  transport: Transport
  wallet: Wallet
  calls: Calls
}

const DAY_SECONDS = 86_400

/** Creates the `webhooks` of a client. */
export function createWebhooks({ transport, wallet, calls }: Context): Webhooks {
  const change = <T extends object>(
    options: CallOptions | undefined,
    method: Call['method'],
    path: string,
    members: ActionMembers,
  ) =>
    calls.start(options, (context) =>
      sendChange<T>(transport, wallet, { method, path, proof: wallet.prove(members), context }),
    )
  const read = <T extends object>(
    path: string,
    action: 'list_webhooks' | 'list_notices',
    query: Call['query'],
    context: Call['context'],
  ) =>
    transport.send<T>({
      method: 'GET',
      path,
      query: query ?? {},
      proof: wallet.prove({ action }),
      repeatable: true,
      context,
    })

  return {
    create: ({ url, events, label }, options) =>
      change<WebhookWithSecret>(options, 'POST', '/webhooks', {
        action: 'create_webhook',
        url,
        ...(events !== undefined && { events }),
        ...(label !== undefined && { label }),
      }),
    list: (options) =>
      calls.start(
        options,
        async (context) =>
          (await read<{ webhooks: Webhook[] }>('/webhooks', 'list_webhooks', {}, context)).webhooks,
      ),
    update: (webhookId, changes, options) =>
      change<Webhook>(options, 'PATCH', pathOf(webhookId), {
        action: 'update_webhook',
        webhookId,
        ...changes,
      }),
    rotateSecret: (webhookId, overlapSeconds = DAY_SECONDS, options) =>
      change<WebhookWithSecret>(options, 'POST', `${pathOf(webhookId)}/rotate`, {
        action: 'rotate_webhook_secret',
        webhookId,
        overlapSeconds,
      }),
    delete: (webhookId, options) =>
      calls.start(options, async (context) => {
        await sendChange(transport, wallet, {
          method: 'DELETE',
          path: pathOf(webhookId),
          proof: wallet.prove({ action: 'delete_webhook', webhookId }),
          context,
        })
      }),
    test: (webhookId, options) =>
      calls.start(options, async (context) => {
        await transport.send({
          method: 'POST',
          path: `${pathOf(webhookId)}/test`,
          proof: wallet.prove({ action: 'test_webhook', webhookId }),
          context,
        })
      }),
    deliveries: (webhookId, { state, limit, ...options } = {}) =>
      calls.start(options, async (context) => {
        const path = `${pathOf(webhookId)}/deliveries`
        const query = { state, limit }
        return (await read<{ deliveries: Delivery[] }>(path, 'list_webhooks', query, context))
          .deliveries
      }),
    replay: (webhookId, noticeId, options) =>
      calls.start(options, async (context) => {
        const { queued } = await transport.send<{ queued: number }>({
          method: 'POST',
          path: `${pathOf(webhookId)}/replay`,
          proof: wallet.prove({
            action: 'replay_webhook',
            webhookId,
            ...(noticeId !== undefined && { noticeId }),
          }),
          context,
        })
        return queued
      }),
    notices: ({ limit, ...options } = {}) =>
      calls.start(
        options,
        async (context) =>
          (await read<{ notices: Notice[] }>('/notices', 'list_notices', { limit }, context))
            .notices,
      ),
  }
}

function pathOf(webhookId: string): string {
  if (!/^wh_[0-9A-Za-z]{1,40}$/.test(webhookId))
    throw latchkeyError('INVALID_ARGUMENT', 'The id of a webhook looks like wh_123abc')
  return `/webhooks/${webhookId}`
}
