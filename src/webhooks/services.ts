import type { Encryption } from '../crypto/encryption.ts'
import type { DatabaseClock } from '../db/time.ts'
import type { Config } from '../env.ts'
import type { KeyServices } from '../keys/services.ts'
import type { Target } from './target.ts'

/** Looks a host up; an address is its own. Resolves to no address for a name that does not exist, and rejects where it cannot know. */
export type ResolveHost = (host: string) => Promise<string[]>

/** The response of an attempt, as far as it is read. */
export interface Reply {
  status: number
  retryAfter: string | undefined
}

/**
 * Sends one request to exactly one address, whatever the target's name resolves to meanwhile; follows no redirect. Rejects with a
 * `DeliveryError` where no response came in time.
 */
export type SendDelivery = (
  target: Target,
  address: string,
  request: { headers: Record<string, string>; body: string; timeoutMs: number },
) => Promise<Reply>

/** Why there is no response, in words that may be shown to the owner of a webhook. */
export class DeliveryError extends Error {
  override readonly name = 'DeliveryError'
}

/** How webhooks are reached. Only where a process can connect to an address that it has checked. */
export interface WebhookPorts {
  resolve: ResolveHost
  send: SendDelivery
}

/** What the verbs on webhooks need of the process. */
export interface WebhookServices
  extends Pick<KeyServices, 'db' | 'mac' | 'log' | 'keepHead' | 'randomBytes' | 'distribution'> {
  config: Pick<
    Config,
    'STACKS_NETWORK' | 'WEBHOOKS' | 'MAX_WEBHOOKS_PER_WALLET' | 'WEBHOOK_TIMEOUT_MS'
  >
  encryption: Encryption
  databaseTime: DatabaseClock
  /** Undefined where the platform cannot: webhooks are refused there. */
  webhookPorts?: WebhookPorts | undefined
  now(): number
}
