import { createStore, type Store } from './observable.ts'

/** What was loaded, and how that went. */
export interface Loaded<T> {
  /** What was loaded last. It stays while it is loaded anew, and when that fails. */
  value: T | undefined
  /** Why the last load failed; undefined after one that did not. */
  error: unknown
  /** Whether a load is under way and there is no value yet. */
  isLoading: boolean
}

/** Something that is loaded once it is followed, and kept current while it is. */
export interface Loadable<T> extends Store<Loaded<T>> {
  /** Loads it anew, now. */
  reload(): void
}

/** As {@link Loadable}, for a holder that learns of a newer value by other means. */
export interface WritableLoadable<T> extends Loadable<T> {
  put(value: T): void
}

/** Options of `load`. */
export interface LoadOptions {
  /** Whether it is loaded anew whenever the service reports a change. */
  isLive?: boolean
  /** Whether it can be loaded now. Until then it has no value, and nothing is requested. */
  isReady?: () => boolean
}

/** Everything that is loaded of one service for one wallet. */
export interface Loads {
  load<T>(read: (signal: AbortSignal) => Promise<T>, options?: LoadOptions): WritableLoadable<T>
  /** Loads anew all that is followed: something was changed. */
  renew(): void
  /** Loads anew what is live and followed: something may have changed. */
  renewLive(): void
  /** Forgets all values, also of what is not followed now: they are another wallet's. Nothing is loaded before `renew`. */
  clear(): void
  /** Whether something live is followed. */
  readonly hasLive: Store<boolean>
}

/** The state of what was never loaded. One object: a server and the first render in a page have the same one. */
export const NOT_LOADED: Loaded<never> = Object.freeze({
  value: undefined,
  error: undefined,
  isLoading: false,
})

interface Entry {
  isLive: boolean
  isFollowed(): boolean
  restart(): void
  /** Loads anew after the load that is under way, if one is. Aborting that one would let frequent changes delay each value for ever. */
  refresh(): void
  clear(): void
}

/** Creates the loads of a page. */
export function createLoads(): Loads {
  const entries = new Set<Entry>()
  const hasLive = createStore(false)
  /** How often all values were forgotten. */
  let clears = 0
  const noteFollowers = () =>
    hasLive.set([...entries].some((entry) => entry.isLive && entry.isFollowed()))

  function load<T>(
    read: (signal: AbortSignal) => Promise<T>,
    { isLive = false, isReady = () => true }: LoadOptions = {},
  ): WritableLoadable<T> {
    const state = createStore<Loaded<T>>(NOT_LOADED)
    let clearsKnown = clears
    let followers = 0
    let underway: AbortController | undefined
    let isStale = false

    async function run(own: AbortController): Promise<void> {
      underway = own
      const { value, error } = state.get()
      if (value === undefined) state.set({ value, error, isLoading: true })
      do {
        isStale = false
        const loaded = await read(own.signal).then(
          (value) => ({ value, error: undefined }),
          (error: unknown) => ({ value: state.get().value, error }),
        )
        if (own.signal.aborted) return
        keep(loaded.value, loaded.error)
      } while (isStale)
      underway = undefined
    }

    /** Keeps the identity of a live value that did not change, so that its followers need not render. */
    function keep(value: T | undefined, error: unknown): void {
      const before = state.get()
      const isSame = isLive && JSON.stringify(value) === JSON.stringify(before.value)
      if (isSame && error === before.error && !before.isLoading) return
      state.set({ value: isSame ? before.value : value, error, isLoading: false })
    }

    function abort(): void {
      underway?.abort()
      underway = undefined
    }

    const entry: Entry = {
      isLive,
      isFollowed: () => followers > 0,
      restart() {
        abort()
        if (followers > 0 && isReady()) void run(new AbortController())
      },
      refresh() {
        if (underway === undefined) entry.restart()
        else isStale = true
      },
      clear() {
        abort()
        clearsKnown = clears
        state.set(NOT_LOADED)
      },
    }

    return {
      // What is not followed does not learn that it was forgotten.
      get: () => (clearsKnown === clears ? state.get() : NOT_LOADED),
      put: (value) => keep(value, undefined),
      reload: entry.restart,
      subscribe(listener) {
        const unsubscribe = state.subscribe(listener)
        followers += 1
        if (followers === 1) {
          if (clearsKnown !== clears) entry.clear()
          entries.add(entry)
          noteFollowers()
          entry.restart()
        }
        let isFollowing = true
        return () => {
          if (!isFollowing) return
          isFollowing = false
          unsubscribe()
          followers -= 1
          if (followers > 0) return
          entries.delete(entry)
          abort()
          setTimeout(noteFollowers) // The next view follows it a moment later, by the same stream.
        }
      },
    }
  }

  const each = (act: (entry: Entry) => void) => {
    for (const entry of [...entries]) act(entry)
  }
  return {
    load,
    hasLive,
    renew: () => each((entry) => entry.restart()),
    renewLive: () => each((entry) => entry.isLive && entry.refresh()),
    clear() {
      clears += 1
      each((entry) => entry.clear())
    },
  }
}

/**
 * Follows changes while the page is seen, and calls `onChange` after each. A hidden page has no stream: browsers allow six
 * connections to a host over HTTP/1.1, and each tab would hold one. Returns how to stop.
 */
export function followWhileSeen(
  watch: (signal: AbortSignal) => AsyncIterable<void>,
  onChange: () => void,
): () => void {
  const page = globalThis.document as Document | undefined
  let watching = new AbortController()
  async function follow(signal: AbortSignal): Promise<void> {
    try {
      for await (const _ of watch(signal)) onChange()
    } catch {
      // It was aborted: the page is hidden or left. It is followed anew once it is seen.
    }
  }
  const start = () => {
    watching.abort()
    watching = new AbortController()
    if (page === undefined || page.visibilityState === 'visible') void follow(watching.signal)
  }
  start()
  page?.addEventListener('visibilitychange', start)
  // A stream may outlive the network by a minute: what the browser knows is shown at once.
  for (const event of ['offline', 'online']) globalThis.addEventListener?.(event, onChange)
  return () => {
    for (const event of ['offline', 'online']) globalThis.removeEventListener?.(event, onChange)
    page?.removeEventListener('visibilitychange', start)
    watching.abort()
  }
}
