import { type Audit, createAudit } from './audit.ts'
import { apiRoot } from './base-url.ts'
import { type Clock, followServiceClock, systemClock } from './clock.ts'
import { LatchkeyError } from './errors.ts'
import type { ServiceInfo } from './info.ts'
import { type CallOptions, createKeys, type Keys } from './keys.ts'
import { createOrders, type Orders } from './orders.ts'
import type { RateLimit } from './rate-limit.ts'
import { createSessions, type Sessions } from './sessions.ts'
import type { Signer } from './signer.ts'
import { createTransport, type Fetch } from './transport.ts'
import { createWallet } from './wallet.ts'

export interface ClientOptions {
  /** Where the service is, such as `https://dex.example`. Plain http is for loopback hosts. */
  baseUrl: string | URL
  /** `ck_live_...`; travels in the header X-API-Key, never in a URL. */
  apiKey?: string | undefined
  /** `cs_...`, from `sessions.open`: reads in the wallet's place, and signs nothing. */
  session?: string | undefined
  /** Manages keys, signs orders, and vouches for calls where there is no API key. */
  signer?: Signer | undefined
  /** The only router contract that intents are signed for; by default the one that the service names. */
  routerContract?: string
  /** How often a call is repeated after a 429, or a 503 that says when. 3 by default; 0 never. */
  maxRetries?: number
  /** The longest wait before a repetition; a call that would have to wait longer fails at once. 60 by default. */
  maxRetryWaitSeconds?: number
  /** For one answer, waits not included. 30 by default. */
  timeoutSeconds?: number
  /** Allows http:// to hosts that are not loopback. */
  allowInsecure?: boolean
  /** Aborts every call of the client. */
  signal?: AbortSignal
  fetch?: Fetch
  /** How the client tells the time and waits; for tests. */
  clock?: Clock
}

/** A service, as a bot, a page or a script sees it. */
export interface Client {
  readonly keys: Keys
  readonly orders: Orders
  readonly audit: Audit
  readonly sessions: Sessions
  readonly devnet: {
    /** Gives an address STX and input tokens to try the service with. `NOT_FOUND` where there is no faucet. */
    faucet(address: string, options?: CallOptions): Promise<void>
  }
  /** What the service last said about the caller's quota; undefined before the first answer. */
  readonly rateLimit: RateLimit | undefined
  /** Asks what the service is: network, router, limits, version. */
  info(options?: CallOptions): Promise<ServiceInfo>
  /** Asks what time the service has. Messages are dated by it from then on. */
  time(options?: CallOptions): Promise<Date>
}

/**
 * Creates a client of a service. It does nothing yet: the network, the router and the time are asked for when a signature
 * first needs them.
 *
 * A 429 was refused before it changed anything, and every call is repeated after it, once `Retry-After` has passed. A 503
 * that says when to come back is repeated where repeating is safe: reads, `orders.create`, `orders.execute`,
 * `orders.cancel` and `keys.delete`. Nothing is repeated after a lost connection. A signed message is sent again while it
 * is fresh, and signed anew after that. A message refused for a wrong clock is dated by the service's and signed once
 * more, unless a person would have to be asked again.
 *
 * Throws a `LatchkeyError` with the code `INVALID_ARGUMENT` for a base URL that would send secrets in the clear.
 *
 * @example
 * ```ts
 * import { createClient, privateKeySigner } from 'latchkey/client'
 *
 * const baseUrl = 'https://dex.example'
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * const owner = createClient({ baseUrl, signer })
 * const { apiKey } = await owner.keys.create({ name: 'My Trading Bot', permissions: ['execute'] })
 *
 * const bot = createClient({ baseUrl, apiKey }) // no wallet, nothing to sign with
 * const { network } = await bot.info()
 * console.log(network, bot.rateLimit?.remaining)
 * ```
 */
export function createClient({
  baseUrl,
  apiKey,
  session,
  signer,
  routerContract,
  maxRetries = 3,
  maxRetryWaitSeconds = 60,
  timeoutSeconds = 30,
  allowInsecure = false,
  signal,
  fetch = (url, init) => globalThis.fetch(url, init),
  clock: ownClock = systemClock,
}: ClientOptions): Client {
  // fetch would quote it in its own error.
  for (const [name, secret] of Object.entries({ apiKey, session }))
    if (secret !== undefined && !/^[\x21-\x7e]+$/.test(secret))
      throw new LatchkeyError(
        'INVALID_ARGUMENT',
        `${name} is empty, or has characters that no ${name === 'apiKey' ? 'key' : name} has`,
      )
  const clock = followServiceClock(ownClock)
  const transport = createTransport({
    root: apiRoot(baseUrl, allowInsecure),
    apiKey,
    session,
    maxRetries,
    maxRetryWaitSeconds,
    timeoutSeconds,
    fetch,
    signal,
    clock,
  })
  const wallet = createWallet({ transport, signer, routerContract, clock })
  return {
    keys: createKeys(transport, wallet),
    audit: createAudit(transport, wallet),
    sessions: createSessions(transport, wallet),
    orders: createOrders(transport, wallet, apiKey !== undefined, clock),
    devnet: {
      async faucet(address, { signal } = {}) {
        await transport.send({ method: 'POST', path: '/devnet/faucet', body: { address }, signal })
      },
    },
    get rateLimit() {
      return transport.rateLimit
    },
    info: ({ signal } = {}) => wallet.freshInfo(signal),
    time: ({ signal } = {}) => wallet.time(signal),
  }
}
