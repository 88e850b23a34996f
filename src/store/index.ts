/**
 * The state of a page that uses a Latchkey service: a connected wallet, its keys and orders, kept current by one stream. It
 * depends on no framework; `latchkey/react` has hooks for it.
 *
 * @module
 */

import { type Client, type ClientOptions, createClient } from '../client/client.ts'
import { LatchkeyError } from '../client/errors.ts'
import type { Signer } from '../client/signer.ts'
import type { Key } from '../keys/key.ts'
import { type Order, orderHasEnded } from '../orders/order.ts'
import type { Network } from '../stacks/network.ts'
import {
  createLoads,
  followWhileSeen,
  type Loadable,
  type Loaded,
  NOT_LOADED,
  type WritableLoadable,
} from './loads.ts'
import { createStore, type Store } from './observable.ts'

export type { Loadable, Loaded, Store }
export { NOT_LOADED }

/** The wallet of a page. */
export interface WalletState {
  /**
   * `connecting`: a signature is awaited. `ended`: the session is over; what was loaded stays, and `connect` opens another
   * session.
   */
  status: 'disconnected' | 'connecting' | 'connected' | 'ended'
  /** The Stacks address; undefined while there is none. */
  address: string | undefined
  network: Network | undefined
  /** When the session ends, in milliseconds since 1970. */
  endsAt: number | undefined
  /** Why the last attempt to connect failed. */
  error: unknown
}

/** The state of a page without a wallet. One object: a server and the first render in a page have the same one. */
export const DISCONNECTED: WalletState = Object.freeze({
  status: 'disconnected',
  address: undefined,
  network: undefined,
  endsAt: undefined,
  error: undefined,
})

/** Options of {@link createWalletStore}: those of `createClient`, and how a wallet is remembered. */
export interface WalletStoreOptions extends Omit<ClientOptions, 'apiKey' | 'session' | 'signer'> {
  /** How long a session lasts: 1 to 3600, the default. */
  sessionSeconds?: number
  /**
   * Where the session's secret is kept. `memory`, the default: a reload of the page needs another signature. `tab`: in
   * sessionStorage, where every script of the page can read it; it authorizes reads and no change.
   */
  keep?: 'memory' | 'tab'
  /** Returns the signer of a wallet that `keep: 'tab'` restored. Without it, changes need a new `connect`. */
  restoreSigner?: (wallet: { address: string; network: Network }) => Signer
}

/** A wallet, its keys and its orders, as stores that a page follows. */
export interface WalletStore {
  readonly wallet: Store<WalletState>
  /** The wallet's keys, newest first, ended ones included. Without a value while no wallet is connected. */
  readonly keys: Loadable<Key[]>
  /**
   * An order, followed until it has ended. The wallet's own stream follows the orders of the connected wallet, and a stream
   * of its own any other order. Each call creates a store: keep it.
   *
   * @example
   * ```ts
   * import { createClient } from 'latchkey/client'
   * import { createWalletStore } from 'latchkey/store'
   *
   * const baseUrl = 'https://dex.example'
   * const store = createWalletStore({ baseUrl })
   * const uuid = '7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162'
   * const followed = store.order(uuid)
   * const stop = followed.subscribe(() => {
   *   const { value, error } = followed.get()
   *   console.log(value?.status ?? error ?? 'loading')
   *   if (value?.status === 'confirmed') stop()
   * })
   *
   * const bot = createClient({ baseUrl, apiKey: process.env.LATCHKEY_API_KEY })
   * await bot.orders.execute(uuid)
   * ```
   */
  order(uuid: string): Loadable<Order>
  /**
   * Creates a store of anything else that the page shows. `read` gets a client that a session authorizes, or one that
   * nothing does while no wallet is connected; with `isLive` it is called again whenever keys or orders may have changed.
   *
   * @example
   * ```ts
   * import { privateKeySigner } from 'latchkey/client'
   * import { createWalletStore } from 'latchkey/store'
   *
   * const store = createWalletStore({ baseUrl: 'https://dex.example' })
   * await store.connect(privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet'))
   * const usage = store.load((client, signal) => client.keys.usageOfAll({ days: 7 }, { signal }))
   * const stop = usage.subscribe(() => {
   *   const { value } = usage.get()
   *   if (value === undefined) return
   *   console.log(`${value.keys.length} keys were used`)
   *   stop()
   *   void store.disconnect()
   * })
   * ```
   */
  load<T>(
    read: (client: Client, signal: AbortSignal) => Promise<T>,
    options?: { isLive?: boolean },
  ): Loadable<T>
  /**
   * Connects a wallet: one signature opens a session that reads. Rejects as the signer does; `error` of the state has the
   * reason too. A later `connect` or `disconnect` supersedes one that still waits, which then rejects with an `AbortError`.
   *
   * @example
   * ```ts
   * import { privateKeySigner } from 'latchkey/client'
   * import { createWalletStore } from 'latchkey/store'
   *
   * const store = createWalletStore({ baseUrl: 'https://dex.example' })
   * await store.connect(privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet'))
   * console.log(store.wallet.get().status, store.wallet.get().address) // connected ST...
   * await store.disconnect()
   * ```
   */
  connect(signer: Signer): Promise<void>
  /** Forgets the wallet and what was loaded, and ends the session at the service. Never rejects. */
  disconnect(): Promise<void>
  /**
   * Runs a change with a client that signs with the connected wallet; then all that is followed is loaded anew. Rejects with
   * `SIGNER_MISSING` while no wallet is connected.
   *
   * @example
   * ```ts
   * import { privateKeySigner } from 'latchkey/client'
   * import { createWalletStore } from 'latchkey/store'
   *
   * const store = createWalletStore({ baseUrl: 'https://dex.example' })
   * await store.connect(privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet'))
   * const { name } = await store.change((owner) =>
   *   owner.keys.create({ name: 'bot of a page', permissions: ['execute'] }),
   * )
   * console.log(`${name} is created`)
   * await store.disconnect()
   * ```
   */
  change<T>(work: (owner: Client) => Promise<T>): Promise<T>
}

/** A session, as it is kept for a tab. */
interface KeptSession {
  address: string
  network: Network
  session: string
  endsAt: number
}

/** A connected wallet, with a client that reads and one that signs. */
interface Connection extends KeptSession {
  reader: Client
  owner: Client
}

/**
 * Creates the state of a page. Nothing is requested before it is used, and nothing is read of the browser before it is
 * created: on a server it is a page without a wallet.
 *
 * @example
 * ```ts
 * import { privateKeySigner } from 'latchkey/client'
 * import { createWalletStore } from 'latchkey/store'
 *
 * const store = createWalletStore({ baseUrl: 'https://dex.example' })
 * await store.connect(privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')) // in a page: walletSigner(request)
 * const stop = store.keys.subscribe(() => {
 *   const { value = [] } = store.keys.get()
 *   console.log(value.map(({ name, status }) => `${name} is ${status}`))
 *   if (value.length === 0) return
 *   stop()
 *   void store.disconnect()
 * })
 * ```
 */
export function createWalletStore({
  sessionSeconds = 3_600,
  keep = 'memory',
  restoreSigner,
  ...options
}: WalletStoreOptions): WalletStore {
  const loads = createLoads()
  const wallet = createStore(DISCONNECTED)
  const kept = keep === 'tab' ? tabOf(String(options.baseUrl)) : undefined
  const visitor = createClient(options)
  let connection: Connection | undefined
  /** Identifies the latest attempt to connect or disconnect: an earlier one must not undo it. */
  let attempt: object | undefined
  let stopWatching: (() => void) | undefined
  let endTimer: ReturnType<typeof setTimeout> | undefined

  function use(next: KeptSession, signer: Signer | undefined): void {
    const isOther = next.address !== wallet.get().address
    const { session, network } = next
    connection = {
      ...next,
      reader: createClient({ ...options, session }),
      owner: createClient({ ...options, network, signer }),
    }
    clearTimeout(endTimer)
    endTimer = setTimeout(noteEnd, next.endsAt - Date.now(), session)
    const { address, endsAt } = next
    if (isOther) loads.clear() // Before the new address is shown.
    wallet.set({ status: 'connected', address, network, endsAt, error: undefined })
    loads.renew()
  }

  /** The session is over. A late refusal of one session says nothing of the next. */
  function noteEnd(session: string): void {
    if (connection?.session !== session || wallet.get().status !== 'connected') return
    kept?.set(undefined)
    wallet.set({ ...wallet.get(), status: 'ended' })
  }

  function watchWhileNeeded(): void {
    stopWatching?.()
    stopWatching = undefined
    if (connection === undefined || wallet.get().status !== 'connected' || !loads.hasLive.get())
      return
    const { reader } = connection
    stopWatching = followWhileSeen((signal) => reader.sessions.watch({ signal }), loads.renewLive)
  }

  async function reading<T>(read: (client: Client) => Promise<T>): Promise<T> {
    const by = connection
    try {
      return await read(by?.reader ?? visitor)
    } catch (error) {
      if (error instanceof LatchkeyError && error.code === 'INVALID_SESSION')
        noteEnd(by?.session ?? '')
      throw error
    }
  }

  async function connect(signer: Signer): Promise<void> {
    const own = {}
    attempt = own
    const before = wallet.get()
    wallet.set({ ...before, status: 'connecting', error: undefined })
    const client = createClient({ ...options, signer })
    try {
      const { session, walletAddress, expiresAt } = await client.sessions.open(sessionSeconds)
      const { network } = await client.info()
      if (attempt !== own) {
        await createClient({ ...options, session }).sessions.end()
        throw superseded()
      }
      const next = { address: walletAddress, network, session, endsAt: Date.parse(expiresAt) }
      kept?.set(next)
      use(next, signer)
    } catch (error) {
      if (attempt === own) wallet.set({ ...before, error })
      throw error
    }
  }

  async function disconnect(): Promise<void> {
    attempt = undefined
    const left = connection
    connection = undefined
    clearTimeout(endTimer)
    kept?.set(undefined)
    loads.clear()
    wallet.set(DISCONNECTED)
    loads.renew()
    await left?.reader.sessions.end().catch(() => {})
  }

  async function change<T>(work: (owner: Client) => Promise<T>): Promise<T> {
    if (connection === undefined)
      throw new LatchkeyError('SIGNER_MISSING', 'No wallet is connected to this page')
    try {
      return await work(connection.owner)
    } finally {
      loads.renew() // Also after a failure: a lost response may be that of a change that was made.
    }
  }

  function order(uuid: string): Loadable<Order> {
    const one = loads.load((signal) => reading((client) => client.orders.get(uuid, { signal })), {
      isLive: true,
    })
    const isOwn = ({ owner }: Order) =>
      wallet.get().status === 'connected' && wallet.get().address === owner
    return followedApart(one, wallet, isOwn, (signal) => followOrder(visitor, one, uuid, signal))
  }

  wallet.subscribe(watchWhileNeeded)
  loads.hasLive.subscribe(watchWhileNeeded)
  const restored = kept?.get()
  if (restored !== undefined) use(restored, restoreSigner?.(restored))

  return {
    wallet,
    keys: loads.load((signal) => reading((client) => client.keys.list({ signal })), {
      isLive: true,
      isReady: () => wallet.get().status === 'connected',
    }),
    order,
    load: (read, { isLive = false } = {}) =>
      loads.load((signal) => reading((client) => read(client, signal)), { isLive }),
    connect,
    disconnect,
    change,
  }
}

/** An order that has a stream of its own while it is followed, has not ended and no other stream follows it. */
function followedApart(
  one: WritableLoadable<Order>,
  wallet: Store<WalletState>,
  isFollowedElsewhere: (order: Order) => boolean,
  follow: (signal: AbortSignal) => Promise<void>,
): Loadable<Order> {
  let followers = 0
  let following: AbortController | undefined
  function decide(): void {
    const { value } = one.get()
    const isWanted =
      followers > 0 &&
      value !== undefined &&
      !orderHasEnded(value.status) &&
      !isFollowedElsewhere(value)
    if (isWanted === (following !== undefined)) return
    following?.abort()
    following = isWanted ? new AbortController() : undefined
    if (following !== undefined) void follow(following.signal)
  }
  return {
    get: one.get,
    reload: one.reload,
    subscribe(listener) {
      followers += 1
      const stops = [one.subscribe(decide), wallet.subscribe(decide), one.subscribe(listener)]
      return () => {
        for (const stop of stops.splice(0)) stop()
        followers -= 1
        decide()
      }
    },
  }
}

async function followOrder(
  client: Client,
  one: WritableLoadable<Order>,
  uuid: string,
  signal: AbortSignal,
): Promise<void> {
  for (;;) {
    try {
      await client.orders.waitFor(uuid, { signal, onUpdate: one.put })
      return
    } catch (error) {
      // An order that is open again may yet be executed.
      const isOpen = error instanceof LatchkeyError && error.details?.status === 'open'
      if (signal.aborted || !isOpen) return
    }
  }
}

function superseded(): DOMException {
  return new DOMException('Another attempt to connect, or a disconnect, came after', 'AbortError')
}

/** Keeps the session of a service for this tab; undefined where there is no tab, as on a server. */
function tabOf(service: string) {
  const name = `latchkey.session ${service}`
  let storage: Storage
  try {
    storage = globalThis.sessionStorage
    if (storage === undefined) return undefined
  } catch {
    return undefined // The browser forbids it: a frame of another site, for example.
  }
  return {
    get(): KeptSession | undefined {
      try {
        const session = JSON.parse(storage.getItem(name) ?? 'null') as KeptSession | null
        return session !== null && session.endsAt > Date.now() ? session : undefined
      } catch {
        return undefined
      }
    },
    set(session: KeptSession | undefined): void {
      try {
        if (session === undefined) storage.removeItem(name)
        else storage.setItem(name, JSON.stringify(session))
      } catch {
        // Storage is full or forbidden: the wallet is then connected until the page is left.
      }
    },
  }
}
