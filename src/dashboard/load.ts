import { useCallback, useEffect, useRef, useState } from 'preact/hooks'
import { LatchkeyError } from '../client/errors.ts'
import { connection, noteSessionEnd, type WalletConnection } from './connection.ts'
import { createStore, useStore } from './store.ts'

/** Counts changes of the wallet's data that this page made or was told of: what is loaded is loaded anew. */
export const changes = createStore(0)

export function announceChange(): void {
  changes.set(changes.get() + 1)
}

const ticks = createStore(0)

/** Loads anew what is live: lists, and the order that is shown. */
export function renewLive(): void {
  ticks.set(ticks.get() + 1)
}

export interface Loaded<T> {
  /** What was loaded last; stays while it is loaded anew, and when that fails. */
  value: T | undefined
  error: unknown
  reload(): void
}

/** Loads what a view shows: at first, when `inputs` change, after each change, on `reload` and, where live, now and then. */
export function useLoad<T>(
  load: (signal: AbortSignal) => Promise<T>,
  inputs: readonly unknown[],
  { isLive = false }: { isLive?: boolean } = {},
): Loaded<T> {
  const [state, setState] = useState<{ value: T | undefined; error: unknown }>({
    value: undefined,
    error: undefined,
  })
  const [attempt, setAttempt] = useState(0)
  const change = useStore(changes)
  const tick = useStore(ticks)
  useEffect(() => {
    const leaving = new AbortController()
    const by = connection.get()
    load(leaving.signal).then(
      (value) => {
        if (!leaving.signal.aborted) setState({ value, error: undefined })
      },
      (error: unknown) => {
        if (leaving.signal.aborted) return
        noteEnd(error, by)
        setState((before) => ({ ...before, error }))
      },
    )
    return () => leaving.abort()
  }, [...inputs, attempt, change, isLive ? tick : 0])
  return { ...state, reload: useCallback(() => setAttempt((before) => before + 1), []) }
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
