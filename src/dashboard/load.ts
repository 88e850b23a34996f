import { useEffect, useMemo, useRef, useState } from 'preact/hooks'
import { LatchkeyError } from '../client/errors.ts'
import { createLoads, type Loaded } from '../store/loads.ts'
import { createStore } from '../store/observable.ts'
import { connection, noteSessionEnd, type WalletConnection } from './connection.ts'
import { useStore } from './store.ts'

/** Everything that the views load: each at first, after each change of this page and, where live, after each that the service reports. */
const loads = createLoads()

export const announceChange = loads.renew
export const renewLive = loads.renewLive

/** How many first loads are under way: of a view, a filter or the next rows. What is only refreshed is not counted. */
export const underway = createStore(0)

export interface ShownLoad<T> extends Loaded<T> {
  reload(): void
}

/** Loads what a view shows, anew when `inputs` change. Until then the view has what it had. */
export function useLoad<T>(
  load: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
  { isLive = false }: { isLive?: boolean } = {},
): ShownLoad<T> {
  const loadable = useMemo(() => {
    let isFirst = true
    const noting = async (signal: AbortSignal) => {
      const by = connection.get()
      const counted = isFirst ? 1 : 0
      isFirst = false
      underway.set(underway.get() + counted)
      try {
        return await load(signal)
      } catch (error) {
        if (!signal.aborted) noteEnd(error, by)
        throw error
      } finally {
        underway.set(underway.get() - counted)
      }
    }
    return loads.load(noting, { isLive })
  }, inputs)
  const state = useStore(loadable)
  const last = useRef<T | undefined>(undefined)
  if (state.value !== undefined) last.current = state.value
  return { ...state, value: last.current, reload: loadable.reload }
}

export interface Act {
  isBusy: boolean
  error: unknown
  /** Starts the work unless some is under way. */
  run(): void
  dismiss(): void
}

/** Work that a click starts: one at a time, with its error kept for the view. */
export function useAct(work: () => Promise<void>): Act {
  const [isBusy, setBusy] = useState(false)
  const [error, setError] = useState<unknown>()
  const isRunning = useRef(false)
  const isMounted = useRef(true)
  useEffect(
    () => () => {
      isMounted.current = false
    },
    [],
  )
  async function start(): Promise<void> {
    if (isRunning.current) return
    isRunning.current = true
    setBusy(true)
    setError(undefined)
    const by = connection.get()
    try {
      await work()
    } catch (failure) {
      noteEnd(failure, by)
      if (isMounted.current) setError(failure)
    } finally {
      isRunning.current = false
      if (isMounted.current) setBusy(false)
    }
  }
  return { isBusy, error, run: () => void start(), dismiss: () => setError(undefined) }
}

/** A late refusal of a session says nothing of the one after it. */
function noteEnd(error: unknown, by: WalletConnection | undefined): void {
  const isOver = error instanceof LatchkeyError && error.code === 'INVALID_SESSION'
  if (isOver && by === connection.get()) noteSessionEnd()
}

/** The page's time, renewed every `everyMs`, for countdowns. */
export function useNow(everyMs = 1_000): number {
  const [now, setNow] = useState(Date.now())
  useEffect(() => {
    const timer = setInterval(() => setNow(Date.now()), everyMs)
    return () => clearInterval(timer)
  }, [everyMs])
  return now
}
