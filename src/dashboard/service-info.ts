import { apiRoot } from '../client/base-url.ts'
import { followServiceClock, systemClock } from '../client/clock.ts'
import type { ServiceInfo } from '../client/info.ts'
import { createTransport } from '../client/transport.ts'

/**
 * Requests what the service is, by the SDK's transport alone: the whole client contains the cryptography of signatures, which
 * a visitor without a wallet need not load.
 */
export async function requestInfo(): Promise<ServiceInfo> {
  const transport = createTransport({
    root: apiRoot(location.origin, false),
    apiKey: undefined,
    session: undefined,
    maxRetries: 0,
    maxRetryWaitMs: 0,
    timeoutMs: 30_000,
    fetch: (url, init) => globalThis.fetch(url, init),
    clock: followServiceClock(systemClock),
  })
  return transport.send<ServiceInfo>({ method: 'GET', path: '/info', repeatable: true })
}
