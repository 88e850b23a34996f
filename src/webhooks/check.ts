import { ok, type Refused, type Result, refuse } from '../result.ts'
import type { WebhookPorts, WebhookServices } from './services.ts'
import { allowedAddresses, readTarget, type TargetProblem } from './target.ts'

/** How webhooks are reached here, or why they are not. */
export function requirePorts({
  config,
  webhookPorts,
  distribution,
}: WebhookServices): Result<WebhookPorts, 'webhooksOff'> {
  if (config.WEBHOOKS === 'off') return refuse('webhooksOff', { reason: 'setting' })
  // The triggers that record notices are none of distributed tables.
  if (distribution !== undefined) return refuse('webhooksOff', { reason: 'distributed' })
  if (webhookPorts === undefined) return refuse('webhooksOff', { reason: 'platform' })
  return ok(webhookPorts)
}

/**
 * Checks where a webhook is to lead, before it is stored; each delivery checks it again. An outage of the resolver is no refusal: it is
 * `unavailable`.
 */
export async function checkUrl(
  services: WebhookServices,
  url: string,
): Promise<Result<null, 'webhooksOff' | 'webhookUrlRefused' | 'unavailable'>> {
  const ports = requirePorts(services)
  if (!ports.ok) return ports
  const target = readTarget(url, services.config.STACKS_NETWORK)
  if (!target.ok) return refuseUrl(target)
  const addresses = await ports.value.resolve(target.value.host).catch(() => undefined)
  if (addresses === undefined) return refuse('unavailable', { reason: 'resolver' })
  const allowed = allowedAddresses(target.value, addresses)
  return allowed.ok ? ok(null) : refuseUrl(allowed)
}

function refuseUrl({ reason }: Refused<TargetProblem>): Refused<'webhookUrlRefused'> {
  return refuse('webhookUrlRefused', { reason })
}
