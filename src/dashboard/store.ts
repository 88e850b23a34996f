import { useEffect, useState } from 'preact/hooks'
import type { Store } from '../store/observable.ts'

/** The value of a store, and a render for each change of it. */
export function useStore<T>(store: Store<T>): T {
  const [value, setValue] = useState(store.get())
  useEffect(() => {
    setValue(() => store.get()) // It may have changed between render and effect.
    return store.subscribe(() => setValue(() => store.get()))
  }, [store])
  return value
}
