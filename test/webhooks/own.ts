import type { WebhookWithSecret } from '../../src/webhooks/webhook.ts'
import { answered } from '../support/assertions.ts'
import type { Service } from '../support/service.ts'
import { json, type Wallet } from '../support/wallet.ts'

type Called = Pick<Service, 'call' | 'clock'>

/** Signs and sends a change of a webhook. */
export function changeWebhook(
  service: Called,
  wallet: Wallet,
  action: string,
  members: Record<string, unknown> = {},
): Promise<Response> {
  const { webhookId } = members
  // The same message works once.
  service.clock.now += 1
  const [method, path] = (
    {
      create_webhook: ['POST', '/webhooks'],
      update_webhook: ['PATCH', `/webhooks/${webhookId}`],
      rotate_webhook_secret: ['POST', `/webhooks/${webhookId}/rotate`],
      delete_webhook: ['DELETE', `/webhooks/${webhookId}`],
      test_webhook: ['POST', `/webhooks/${webhookId}/test`],
      replay_webhook: ['POST', `/webhooks/${webhookId}/replay`],
    } as Record<string, [string, string]>
  )[action] as [string, string]
  return service.call(path, { ...json(wallet.sign({ action, ...members })), method })
}

export async function createWebhook(
  service: Called,
  wallet: Wallet,
  members: Record<string, unknown>,
): Promise<WebhookWithSecret> {
  return answered(await changeWebhook(service, wallet, 'create_webhook', members), 201)
}

/** Makes every delivery that is due, by this process. */
export async function deliverAll({ world }: Pick<Service, 'world'>): Promise<void> {
  while (!(await world.deliverer?.pass(world))) await world.deliverer?.settle()
  await world.deliverer?.settle()
}
