/** A value that can be followed: what `useSyncExternalStore` and its relatives in other frameworks take. */
export interface Store<T> {
  /** Returns the same value, by identity, until it changes. */
  get(): T
  /** Calls the listener after each change. Returns how to stop that. */
  subscribe(listener: () => void): () => void
}

/** A store whose value its holder sets. */
export interface WritableStore<T> extends Store<T> {
  /** Replaces the value. Listeners are called unless it is the same one. */
  set(next: T): void
}

/** Creates a store of one value. */
export function createStore<T>(initial: T): WritableStore<T> {
  let value = initial
  const listeners = new Set<() => void>()
  return {
    get: () => value,
    set(next) {
      if (Object.is(value, next)) return
      value = next
      for (const listener of [...listeners]) listener()
    },
    subscribe(listener) {
      // Wrapped: two followers may pass the same function, and each stops on its own.
      const own = () => listener()
      listeners.add(own)
      return () => void listeners.delete(own)
    },
  }
}
