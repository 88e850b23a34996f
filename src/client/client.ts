import type { Network } from '../stacks/network.ts'
import { type Audit, createAudit } from './audit.ts'
import { type AuditHeadStore, createAuditHeads } from './audit-heads.ts'
import { apiRoot } from './base-url.ts'
import { type Clock, followServiceClock, systemClock } from './clock.ts'
import { LatchkeyError } from './errors.ts'
import type { ServiceInfo, TokenInfo } from './info.ts'
import { createKeys } from './key-calls.ts'
import type { CallOptions, Keys } from './keys.ts'
import { createOrders, type Orders } from './orders.ts'
import { readPins } from './pins.ts'
import type { RateLimit } from './rate-limit.ts'
import { createSessions, type Sessions } from './sessions.ts'
import type { Signer } from './signer.ts'
import { createTransport, type Fetch } from './transport.ts'
import { createWallet } from './wallet.ts'

/** Options of {@link createClient}. */
export interface ClientOptions {
  /** Base URL of the service, such as `https://dex.example`. http:// is accepted for loopback hosts only. */
  baseUrl: string | URL
  /** An API key, `ck_live_...`. Sent in the header X-API-Key, never in a URL. */
  apiKey?: string | undefined
  /** The secret of a session, `cs_...`, from `sessions.open`. It authorizes reads and no change. */
  session?: string | undefined
  /** Signs for the wallet: manages keys, signs orders, and authenticates calls where there is no API key. */
  signer?: Signer | undefined
  /**
   * Keeps the newest event of the wallet's audit that the client knows, so that later clients name it in what they sign. By
   * default the client remembers it as long as it lives.
   */
  auditHeads?: AuditHeadStore
  /**
   * The `domain` of signed messages: the service's SIGNED_DOMAIN. By default the host of `baseUrl`. Where the service wants
   * another one, nothing is signed.
   */
  domain?: string | undefined
  /** The only network that is signed for. By default the signer's; a browser wallet signs for the one of the service. */
  network?: Network | undefined
  /**
   * The only routers that intents are signed for, as contract ids; `committed:` before an id says that the router enforces
   * the terms of an order. Take them from a source that you trust, not from `info()`. By default those of a devnet, where
   * the service is one on this machine, and none elsewhere.
   */
  routers?: readonly string[] | undefined
  /** How often a call is repeated after a 429, or after a 503 with `Retry-After`. 3 by default; 0 is never. */
  maxRetries?: number
  /** The longest wait before a repetition. A call that would have to wait longer rejects at once. 60 by default. */
  maxRetryWaitSeconds?: number
  /** The longest time for one response, waits between attempts not included. 30 by default. */
  timeoutSeconds?: number
  /** Allows http:// to hosts that are not loopback: keys and signatures then travel unencrypted. */
  allowInsecure?: boolean
  /** Aborts every call of the client. */
  signal?: AbortSignal
  /** Replaces the platform's fetch. */
  fetch?: Fetch
  /** Replaces the system's clock and timers; for tests. */
  clock?: Clock
}

/** A client of one service. */
export interface Client {
  readonly keys: Keys
  readonly orders: Orders
  readonly audit: Audit
  readonly sessions: Sessions
  readonly devnet: {
    /**
     * Gives an address STX and input tokens to try the service with. Rejects with `NOT_FOUND` on any other network.
     *
     * @example
     * ```ts
     * import { createClient, privateKeySigner } from 'latchkey/client'
     *
     * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
     * const client = createClient({ baseUrl: 'https://dex.example', signer })
     * await client.devnet.faucet(signer.address)
     * console.log((await client.info()).devnet?.inputToken) // what it has now
     * ```
     */
    faucet(address: string, options?: CallOptions): Promise<void>
  }
  /** The caller's quota as of the last response that had one; undefined before. */
  readonly rateLimit: RateLimit | undefined
  /**
   * Requests what the service is: network, router, limits, version.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const { network, limits } = await createClient({ baseUrl: 'https://dex.example' }).info()
   * console.log(network, limits.key.perMinute)
   * ```
   */
  info(options?: CallOptions): Promise<ServiceInfo>
  /**
   * Requests the service's time. Messages are dated by it from then on, unless it is more than ten minutes from the client's
   * own clock: then nothing is signed.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const now = await createClient({ baseUrl: 'https://dex.example' }).time()
   * console.log(now.toISOString())
   * ```
   */
  time(options?: CallOptions): Promise<Date>
  /**
   * Requests how a token's amounts are written. Rejects with `TOKEN_NOT_FOUND` for what is no SIP-010 token of the network.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const client = createClient({ baseUrl: 'https://dex.example' })
   * const { symbol, decimals } = await client.token('.stx')
   * console.log(symbol, decimals) // STX 6
   * ```
   */
  token(contractId: string, options?: CallOptions): Promise<TokenInfo>
}

/**
 * Creates a client of a service. Nothing is sent yet: network, router and time are requested when a signature first needs
 * them.
 *
 * Repetition: a 429 was refused before it changed anything, so that every call is repeated after it, once `Retry-After` has
 * passed. A 503 with `Retry-After` is repeated where repeating is safe: reads, `orders.create`, `orders.execute`,
 * `orders.cancel` and `keys.delete`. Nothing is repeated after a lost connection.
 *
 * Signed messages: a message is sent again while it is fresh, and signed anew after that. A message that the service
 * refuses for a wrong clock is signed once more with the service's time, unless the signer is interactive.
 *
 * What binds a signature is never taken from the service: the domain is the host of `baseUrl`, routers are those of
 * `routers`, and a time is good within ten minutes of the client's own clock. A service that says otherwise gets no signature:
 * `WRONG_DOMAIN`, `WRONG_NETWORK`, `WRONG_ROUTER`, `CLOCK_SKEW`.
 *
 * Every call rejects with a {@link LatchkeyError}, or with the reason of a signal that aborted. Throws a `LatchkeyError`
 * with the code `INVALID_ARGUMENT` for a base URL that would send secrets in the clear, for a secret with characters that no
 * secret has, and for a router that is no contract id.
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
  auditHeads,
  domain,
  network,
  routers,
  maxRetries = 3,
  maxRetryWaitSeconds = 60,
  timeoutSeconds = 30,
  allowInsecure = false,
  signal,
  fetch = (url, init) => globalThis.fetch(url, init),
  clock: ownClock = systemClock,
}: ClientOptions): Client {
  // fetch would quote a malformed header value, and so the secret, in its own error.
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
  const pins = readPins({ baseUrl, domain, network, routers })
  const heads = createAuditHeads(auditHeads)
  const wallet = createWallet({ transport, signer, pins, clock, heads })
  return {
    keys: createKeys(transport, wallet),
    audit: createAudit(transport, wallet),
    sessions: createSessions(transport, wallet, clock),
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
    async token(contractId, { signal } = {}) {
      if (!/^[A-Za-z0-9._-]{1,96}$/.test(contractId))
        throw new LatchkeyError('INVALID_ARGUMENT', 'A token is a contract id, or .stx')
      const { symbol, decimals } = await transport.send<TokenInfo>({
        method: 'GET',
        path: `/tokens/${contractId}`,
        repeatable: true,
        signal,
      })
      return { contractId, symbol, decimals }
    },
  }
}
