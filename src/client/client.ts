import type { Network } from '../stacks/network.ts'
import type { AccountState } from '../wallets/account.ts'
import { type Audit, createAudit } from './audit.ts'
import { type AuditHeadStore, createAuditHeads } from './audit-heads.ts'
import { apiRoot } from './base-url.ts'
import { type CallOptions, type CallPromise, createCalls } from './call.ts'
import { type Clock, followServiceClock, systemClock } from './clock.ts'
import { latchkeyError } from './errors.ts'
import type { ServiceInfo, TokenInfo } from './info.ts'
import { createKeys } from './key-calls.ts'
import type { Keys } from './keys.ts'
import { createObserver, type Hooks, type Logger, type LoggerLevel } from './observer.ts'
import { type AuthOptions, createOrders, type Orders } from './orders.ts'
import { readPins } from './pins.ts'
import type { RateLimit } from './rate-limit.ts'
import type { RequestSigner } from './request-signer.ts'
import { type AppInfo, environment, userAgent } from './runtime.ts'
import { createSessions, type Sessions } from './sessions.ts'
import type { Signer } from './signer.ts'
import { createTransport, type Fetch } from './transport.ts'
import { createWallet } from './wallet.ts'
import type { WalletEventOptions, WalletUpdates } from './wallet-events.ts'
import { createWebhooks, type Webhooks } from './webhooks.ts'

/** Options of {@link createClient}. */
export interface ClientOptions {
  /**
   * Base URL of the service, such as `https://dex.example`. http:// is accepted for loopback hosts only. By default LATCHKEY_URL of
   * the environment.
   */
  baseUrl?: string | URL | undefined
  /**
   * An API key, `ck_live_...`. Sent in the header X-API-Key, never in a URL. A client without key, session and signer takes
   * LATCHKEY_API_KEY of the environment, unless LATCHKEY_URL names another host than `baseUrl`; null is no key.
   */
  apiKey?: string | null | undefined
  /**
   * Signs what an API key would authorize, in place of a secret: from `requestSigner`, for a key whose grant has `publicKey`, or from
   * `secretRequestSigner`, for one with `requireSignature`. `baseUrl` must then be what the service is called from outside.
   */
  requestSigner?: RequestSigner | undefined
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
  /** How often a request is repeated. 3 by default; 0 is never. */
  maxRetries?: number
  /** The longest wait before a repetition. A call that would have to wait longer rejects at once. 60,000 by default. */
  maxRetryWaitMs?: number
  /** The longest time for one response, waits between attempts not included. 30,000 by default. */
  timeoutMs?: number
  /** The longest time for a whole call: attempts, waits between them, and the wallet. None by default. */
  deadlineMs?: number
  /** Sent with every request: trace context, or what a proxy in front of the service needs. */
  headers?: Readonly<Record<string, string>>
  /** Called with each request, response and repetition. */
  hooks?: Hooks
  /** `console`, or any other logger. By default nothing is logged. */
  logger?: Logger
  /** What is logged: requests and responses from `debug` on, repetitions from `info` on. `warn` by default. */
  logLevel?: LoggerLevel
  /** The program that uses the client, for the user agent of runtimes that are no browsers. */
  appInfo?: AppInfo
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
  readonly webhooks: Webhooks
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
    faucet(address: string, options?: CallOptions): CallPromise<void>
  }
  /**
   * The quota of the client's API key, or of its address where it has none, as of the last response that was counted by it;
   * undefined before.
   */
  readonly rateLimit: RateLimit | undefined
  /** The quotas of both: requests without the key, as those that a wallet signs, are counted by address. */
  readonly rateLimits: {
    readonly apiKey: RateLimit | undefined
    readonly address: RateLimit | undefined
  }
  /**
   * Requests what the wallet has: balances and nonces, as the chain told them within seconds, open orders, and what its keys
   * reserved and spent today. By an API key with `read`, else by the session, else by a signature. A balance that the chain did
   * not tell is `unknown`, and never 0.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * const { chain, balances, openOrders } = await bot.account()
   * for (const { token, state, amount = state, ageMs } of balances) console.log(token, amount, ageMs)
   * console.log(chain.isCurrent, openOrders.count)
   * ```
   */
  account(options?: AuthOptions): CallPromise<AccountState>
  /**
   * Yields every change of the wallet's orders and keys, each once, over as many connections as it takes: an event of type `start`
   * first, and after it whatever changes. By an API key with `read`, else by the session. The `id` of an event, as `after`, goes on
   * behind it, within a day; an event `start` with `missed` says that it could not. Ends with its `signal`, or with the refusal
   * that the credential gets once it has ended.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   *
   * const bot = createClient({ baseUrl: 'https://dex.example', apiKey: process.env.LATCHKEY_API_KEY })
   * for await (const event of bot.events({ transport: 'websocket' })) {
   *   console.log(event.type, event.id) // start, and then order or key for each change
   *   if (event.type === 'order') console.log(event.uuid, event.status)
   *   break
   * }
   * ```
   */
  events(options?: WalletEventOptions): WalletUpdates
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
  info(options?: CallOptions): CallPromise<ServiceInfo>
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
  time(options?: CallOptions): CallPromise<Date>
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
  token(contractId: string, options?: CallOptions): CallPromise<TokenInfo>
}

/**
 * Creates a client of a service. Nothing is sent yet: network, router and time are requested when a signature first needs
 * them.
 *
 * Repetition: a 429 was refused before it changed anything, and a request that found no connection was not sent: every call is
 * repeated after them. After a lost connection, a timeout, 408, 500, 502, 503 or 504 the request may have taken effect: only reads
 * are repeated, and changes that the service makes once however often they arrive, each documented with its call. The wait is
 * that of `Retry-After`, else it doubles from half a second, half of it random.
 *
 * Signed messages: a message is sent again while it is fresh, and signed anew after that. A message that the service
 * refuses for a wrong clock is signed once more with the service's time, unless the signer is interactive.
 *
 * What binds a signature is never taken from the service: the domain is the host of `baseUrl`, routers are those of
 * `routers`, and a time is good within ten minutes of the client's own clock. A service that says otherwise gets no signature:
 * `WRONG_DOMAIN`, `WRONG_NETWORK`, `WRONG_ROUTER`, `CLOCK_SKEW`.
 *
 * Every call rejects with a {@link LatchkeyError}. Throws a `LatchkeyError`
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
 * const { name } = await bot.keys.me()
 * console.log(name, bot.rateLimit?.remaining)
 * ```
 */
export function createClient({
  baseUrl = environment('LATCHKEY_URL'),
  apiKey: ownKey,
  requestSigner,
  session,
  signer,
  auditHeads,
  domain,
  network,
  routers,
  maxRetries = 3,
  maxRetryWaitMs = 60_000,
  timeoutMs = 30_000,
  deadlineMs,
  headers = {},
  hooks,
  logger,
  logLevel,
  appInfo,
  allowInsecure = false,
  signal,
  fetch = (url, init) => globalThis.fetch(url, init),
  clock: ownClock = systemClock,
}: ClientOptions = {}): Client {
  if (baseUrl === undefined)
    throw latchkeyError('INVALID_ARGUMENT', 'There is no baseUrl, and no LATCHKEY_URL')
  const hasCredential =
    session !== undefined || signer !== undefined || requestSigner !== undefined || ownKey === null
  const apiKey = ownKey ?? (hasCredential ? undefined : keyOfEnvironment(baseUrl))
  if (ownKey != null && requestSigner !== undefined)
    throw latchkeyError('INVALID_ARGUMENT', 'There are apiKey and requestSigner')
  // fetch would quote a malformed header value, and so the secret, in its own error.
  for (const [name, secret] of Object.entries({ apiKey, session }))
    if (secret !== undefined && !/^[\x21-\x7e]+$/.test(secret))
      throw latchkeyError(
        'INVALID_ARGUMENT',
        `${name} is empty, or has characters that no ${name === 'apiKey' ? 'key' : name} has`,
      )
  const clock = followServiceClock(ownClock)
  const calls = createCalls({ signal, deadlineMs, headers, now: ownClock.now })
  const transport = createTransport({
    root: apiRoot(baseUrl, allowInsecure),
    apiKey,
    requestSigner,
    session,
    maxRetries,
    maxRetryWaitMs,
    timeoutMs,
    fetch,
    clock,
    userAgent: userAgent(appInfo),
    observer: createObserver(hooks, logger, logLevel),
  })
  const pins = readPins({ baseUrl, domain, network, routers })
  const heads = createAuditHeads(auditHeads)
  const wallet = createWallet({ transport, signer, pins, clock, heads })
  const parts = { transport, wallet, clock, calls }
  const hasApiKey = apiKey !== undefined || requestSigner !== undefined
  return {
    keys: createKeys(parts),
    audit: createAudit(parts),
    sessions: createSessions(parts),
    webhooks: createWebhooks(parts),
    orders: createOrders({ ...parts, hasApiKey }),
    devnet: {
      faucet: (address, options) =>
        calls.start(options, async (context) => {
          const how = { body: { address }, context }
          await transport.send({ method: 'POST', path: '/devnet/faucet', ...how })
        }),
    },
    get rateLimit() {
      return transport.rateLimit(hasApiKey ? 'apiKey' : 'address')
    },
    get rateLimits() {
      return { apiKey: transport.rateLimit('apiKey'), address: transport.rateLimit('address') }
    },
    account: ({ auth, ...options } = {}) =>
      calls.start(options, (context) =>
        transport.send<AccountState>({
          method: 'GET',
          path: '/account',
          ...(hasApiKey && auth !== 'signature'
            ? { apiKey: true }
            : { proof: wallet.prove({ action: 'get_account' }) }),
          repeatable: true,
          context,
        }),
      ),
    events: (options = {}) =>
      calls.iterate(options, async function* (context) {
        if (!hasApiKey && session === undefined)
          throw latchkeyError('INVALID_ARGUMENT', 'Events need an API key with read, or a session')
        const auth = hasApiKey ? 'apiKey' : 'session'
        // A page that follows no wallet does not load it.
        const { readWalletEvents } = await import('./wallet-events.ts')
        yield* readWalletEvents({ transport, clock, context, auth }, options)
      }),
    info: (options) => calls.start(options, (context) => wallet.freshInfo(context)),
    time: (options) => calls.start(options, (context) => wallet.time(context)),
    token: (contractId, options) =>
      calls.start(options, async (context) => {
        if (!/^[A-Za-z0-9._-]{1,96}$/.test(contractId))
          throw latchkeyError('INVALID_ARGUMENT', 'A token is a contract id, or .stx')
        const { symbol, decimals } = await transport.send<TokenInfo>({
          method: 'GET',
          path: `/tokens/${contractId}`,
          repeatable: true,
          context,
        })
        return { contractId, symbol, decimals }
      }),
  }
}

/** The key of the environment belongs to the service of the environment: no other host gets it. */
function keyOfEnvironment(baseUrl: string | URL): string | undefined {
  const url = environment('LATCHKEY_URL')
  const isOther = url !== undefined && hostOf(url) !== hostOf(baseUrl)
  return isOther ? undefined : environment('LATCHKEY_API_KEY')
}

function hostOf(url: string | URL): string {
  return URL.canParse(url) ? new URL(url).origin : String(url)
}
