'use client'

/**
 * React hooks for a Latchkey service, over the store of `latchkey/store`. React 18 and 19. On a server they render a page
 * without a wallet, and so does the first render in the browser.
 *
 * @module
 */

import {
  createContext,
  createElement,
  type ReactElement,
  type ReactNode,
  useCallback,
  useContext,
  useEffect,
  useMemo,
  useRef,
  useState,
  useSyncExternalStore,
} from 'react'
import type { Client, CreatedKey, Key, NewKey, Order, Signer } from '../client/index.ts'
import {
  DISCONNECTED,
  type Loadable,
  type Loaded,
  NOT_LOADED,
  type Store,
  type WalletState,
  type WalletStore,
} from '../store/index.ts'

const StoreContext = createContext<WalletStore | undefined>(undefined)

/**
 * Gives a store to the hooks beneath it. Create the store once, outside of components.
 *
 * @example
 * ```tsx
 * import { LatchkeyProvider, useWallet } from 'latchkey/react'
 * import { createWalletStore } from 'latchkey/store'
 *
 * const store = createWalletStore({ baseUrl: 'https://dex.example' })
 *
 * function Status() {
 *   return <p>The wallet is {useWallet().status}</p>
 * }
 *
 * export function App() {
 *   return (
 *     <LatchkeyProvider store={store}>
 *       <Status />
 *     </LatchkeyProvider>
 *   )
 * }
 * ```
 */
export function LatchkeyProvider(props: {
  store: WalletStore
  children?: ReactNode
}): ReactElement {
  return createElement(StoreContext.Provider, { value: props.store }, props.children)
}

/**
 * Returns the store of the nearest {@link LatchkeyProvider}, for what no hook covers. Throws without one.
 *
 * @example
 * ```tsx
 * import { useWalletStore } from 'latchkey/react'
 *
 * export function Refresh() {
 *   const { keys } = useWalletStore()
 *   return <button onClick={keys.reload}>Load keys again</button>
 * }
 * ```
 */
export function useWalletStore(): WalletStore {
  const store = useContext(StoreContext)
  if (store === undefined) throw new Error('There is no <LatchkeyProvider> around this component')
  return store
}

function useStoreState<T>(store: Store<T>, atFirst: T): T {
  return useSyncExternalStore(store.subscribe, store.get, () => atFirst)
}

/** What {@link useWallet} returns. */
export interface UsedWallet extends WalletState {
  /** As `connect` of the store, but it never rejects: `error` has the reason. */
  connect(signer: Signer): Promise<void>
  disconnect(): Promise<void>
}

/**
 * The wallet of the page, and how to connect one.
 *
 * @example
 * ```tsx
 * import { request } from '@stacks/connect'
 * import { walletSigner } from 'latchkey/client'
 * import { useWallet } from 'latchkey/react'
 *
 * const signer = walletSigner(request)
 *
 * export function Connect() {
 *   const { status, address, error, connect, disconnect } = useWallet()
 *   if (status === 'connected') return <button onClick={disconnect}>Leave {address}</button>
 *   return (
 *     <>
 *       <button onClick={() => connect(signer)}>Connect</button>
 *       {error instanceof Error && <p role="alert">{error.message}</p>}
 *     </>
 *   )
 * }
 * ```
 */
export function useWallet(): UsedWallet {
  const store = useWalletStore()
  const state = useStoreState(store.wallet, DISCONNECTED)
  const connect = useCallback(
    // The state has the reason; a click has no place for a rejection.
    (signer: Signer) => store.connect(signer).catch(() => {}),
    [store],
  )
  return { ...state, connect, disconnect: store.disconnect }
}

/** What {@link useKeys} and {@link useOrder} return. */
export interface Used<T> extends Loaded<T> {
  /** Loads it anew, now. */
  reload(): void
}

/**
 * The wallet's keys, newest first, and again whenever they change. All components share one list and one stream.
 *
 * @example
 * ```tsx
 * import { useKeys } from 'latchkey/react'
 *
 * export function Keys() {
 *   const { value: keys, error, reload } = useKeys()
 *   if (error instanceof Error) return <button onClick={reload}>{error.message}. Try again</button>
 *   if (keys === undefined) return <p>No keys are loaded yet</p>
 *   return <ul>{keys.map(({ keyId, name, status }) => <li key={keyId}>{name}: {status}</li>)}</ul>
 * }
 * ```
 */
export function useKeys(): Used<Key[]> {
  return useLoadable(useWalletStore().keys)
}

const NOTHING: Loadable<never> = {
  get: () => NOT_LOADED,
  subscribe: () => () => {},
  reload() {},
}

/**
 * An order, and again at each change of its status until it has ended. While the uuid is undefined there is nothing to follow.
 *
 * @example
 * ```tsx
 * import { useOrder } from 'latchkey/react'
 *
 * export function Status({ uuid = '7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162' }) {
 *   const { value: order, error } = useOrder(uuid)
 *   if (error instanceof Error) return <p role="alert">{error.message}</p>
 *   return <p role="status">{order === undefined ? 'The order is loading' : `The order is ${order.status}`}</p>
 * }
 * ```
 */
export function useOrder(uuid: string | undefined): Used<Order> {
  const store = useWalletStore()
  const order = useMemo(() => (uuid === undefined ? NOTHING : store.order(uuid)), [store, uuid])
  return useLoadable(order)
}

function useLoadable<T>(loadable: Loadable<T>): Used<T> {
  const state = useStoreState<Loaded<T>>(loadable, NOT_LOADED)
  return { ...state, reload: loadable.reload }
}

/** A change that a component offers. */
export interface Change<Arguments extends unknown[], Result> {
  /**
   * Starts the change. Resolves with its result, or with undefined where it failed, or where one was under way already.
   * Never rejects: `error` has the reason.
   */
  run(...args: Arguments): Promise<Result | undefined>
  isBusy: boolean
  result: Result | undefined
  error: unknown
  /** Forgets result and error. */
  reset(): void
}

/**
 * A change that the wallet signs, one at a time; then all that is shown is loaded anew.
 *
 * @example
 * ```tsx
 * import { useChange } from 'latchkey/react'
 *
 * export function Revoke({ keyId = 'key_123abc' }) {
 *   const { run, isBusy, result, error } = useChange((owner, id: string) => owner.keys.delete(id))
 *   return (
 *     <>
 *       <button disabled={isBusy} onClick={() => run(keyId)}>{result ? 'Revoked' : 'Revoke'}</button>
 *       {error instanceof Error && <p role="alert">{error.message}</p>}
 *     </>
 *   )
 * }
 * ```
 */
export function useChange<Arguments extends unknown[], Result>(
  work: (owner: Client, ...args: Arguments) => Promise<Result>,
): Change<Arguments, Result> {
  const store = useWalletStore()
  const [state, setState] = useState<ChangeState<Result>>(IDLE)
  const isRunning = useRef(false)
  const latest = useRef(work)
  useEffect(() => {
    latest.current = work
  })
  const run = useCallback(
    async (...args: Arguments) => {
      if (isRunning.current) return undefined
      isRunning.current = true
      setState({ ...IDLE, isBusy: true })
      try {
        const result = await store.change((owner) => latest.current(owner, ...args))
        setState({ ...IDLE, result })
        return result
      } catch (error) {
        setState({ ...IDLE, error })
        return undefined
      } finally {
        isRunning.current = false
      }
    },
    [store],
  )
  return { ...state, run, reset: useCallback(() => setState(IDLE), []) }
}

interface ChangeState<Result> {
  isBusy: boolean
  result: Result | undefined
  error: unknown
}

const IDLE: ChangeState<never> = { isBusy: false, result: undefined, error: undefined }

/**
 * Creates a key. `result.apiKey` is the secret: show it, have it stored, then `reset()`.
 *
 * @example
 * ```tsx
 * import { useCreateKey } from 'latchkey/react'
 *
 * export function NewKey() {
 *   const { run, isBusy, result, error, reset } = useCreateKey()
 *   if (result) return <button onClick={reset}>I stored {result.apiKey}</button>
 *   return (
 *     <>
 *       <button disabled={isBusy} onClick={() => run({ name: 'bot', permissions: ['execute'] })}>Create a key</button>
 *       {error instanceof Error && <p role="alert">{error.message}</p>}
 *     </>
 *   )
 * }
 * ```
 */
export function useCreateKey(): Change<[key: NewKey], CreatedKey> {
  return useChange(createOne)
}

function createOne(owner: Client, key: NewKey): Promise<CreatedKey> {
  return owner.keys.create(key)
}
