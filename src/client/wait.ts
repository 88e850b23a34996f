import { ORDER_STATUSES, type Order, type OrderStatus, orderHasEnded } from '../orders/order.ts'
import type { ServiceClock } from './clock.ts'
import { LatchkeyError } from './errors.ts'
import type { Transport } from './transport.ts'

export interface WaitOptions {
  /** How far the order must get; `confirmed` by default. */
  until?: 'executing' | 'broadcasted' | 'confirmed'
  /** Ends the waiting, not what is waited for. */
  signal?: AbortSignal
  /** Told of the order as it is now, and then whenever it has changed. */
  onUpdate?: (order: Order) => void
}

/** Between two looks where there is no stream: longer each time, and from the start again once something has happened. */
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 5_000
/** The service says something at once, and then every 15 s; what is silent for longer is held back on the way, or dead. */
const FIRST_WORD_MS = 5_000
const SILENCE_MS = 45_000

/** What passes by itself: the order settles meanwhile, whether or not it can be asked for. */
const PASSING: readonly string[] = ['UNREACHABLE', 'TIMEOUT', 'UNAVAILABLE', 'RATE_LIMIT_EXCEEDED']

/** Waits with the order's event stream where there is one, which only says when to look; else looks now and then. */
export async function waitForOrder(
  { transport, clock, get }: { transport: Transport; clock: ServiceClock; get(): Promise<Order> },
  uuid: string,
  { until = 'confirmed', signal = new AbortController().signal, onUpdate }: WaitOptions,
): Promise<Order> {
  const isFarEnough = (status: OrderStatus) =>
    !isFailure(status) && ORDER_STATUSES.indexOf(status) >= ORDER_STATUSES.indexOf(until)
  let known: Order | undefined
  let hasChanged = false

  /** The order when it has got there, undefined when it still may. */
  async function look(): Promise<Order | undefined> {
    const order = await get()
    const before = known
    known = order
    if (before === undefined || isOther(before, order)) {
      hasChanged = true
      onUpdate?.(order)
    }
    if (isFarEnough(order.status)) return order
    const isBack = order.status === 'open' && before !== undefined && before.status !== 'open'
    if (orderHasEnded(order.status) || isBack) throw notSettled(uuid, order)
    return undefined
  }

  const arrived = await look()
  if (arrived !== undefined) return arrived
  const stream: Stream = { isRefused: false, lastEventId: undefined }
  for (let pauseMs = FIRST_PAUSE_MS; ; ) {
    let restMs = 0
    hasChanged = false
    try {
      if (!stream.isRefused)
        for await (const _ of newsOf(transport, `/orders/${uuid}/events`, stream, signal)) {
          const arrived = await look()
          if (arrived !== undefined) return arrived
        }
      const arrived = await look()
      if (arrived !== undefined) return arrived
    } catch (error) {
      if (!(error instanceof LatchkeyError) || !PASSING.includes(error.code)) throw error
      restMs = (error.retryAfterSeconds ?? 0) * 1_000
    }
    if (hasChanged) pauseMs = FIRST_PAUSE_MS
    await clock.wait(Math.max(pauseMs, restMs), signal)
    pauseMs = Math.min(pauseMs * 1.5, LONGEST_PAUSE_MS)
  }
}

function isFailure(status: OrderStatus): boolean {
  return orderHasEnded(status) && status !== 'confirmed'
}

function isOther(before: Order, now: Order): boolean {
  return (['status', 'txid', 'blockHeight'] as const).some(
    (member) => before[member] !== now[member],
  )
}

function notSettled(uuid: string, { status, failureReason, txid }: Order): LatchkeyError {
  const what = status === 'open' ? 'is open again, and nobody executes it' : `is ${status}`
  const why = failureReason === undefined ? '' : ` (${failureReason})`
  return new LatchkeyError('ORDER_NOT_SETTLED', `The order ${what}${why}`, {
    details: {
      uuid,
      status,
      ...(failureReason !== undefined && { failureReason }),
      ...(txid !== undefined && { txid }),
    },
  })
}

interface Stream {
  /** There is none, or none that arrives. */
  isRefused: boolean
  lastEventId: string | undefined
}

/** Yields whenever events have arrived, and ends with the stream, however that ends. */
async function* newsOf(
  transport: Transport,
  path: string,
  stream: Stream,
  signal: AbortSignal,
): AsyncGenerator<void, void, undefined> {
  const leaving = new AbortController()
  let patience: ReturnType<typeof setTimeout> | undefined
  const wait = (ms: number) => {
    clearTimeout(patience)
    patience = setTimeout(() => leaving.abort(), ms)
  }
  let hasSpoken = false
  try {
    wait(FIRST_WORD_MS)
    const response = await transport.listen(
      path,
      stream.lastEventId,
      AbortSignal.any([signal, leaving.signal]),
    )
    hasSpoken = response.status === 204
    stream.isRefused = response.status !== 200 && !hasSpoken
    const body = response.status === 200 ? response.body?.getReader() : undefined
    if (body === undefined) return void (await response.body?.cancel())
    const decoder = new TextDecoder()
    for (let text = ''; ; ) {
      const { done, value } = await body.read()
      if (done) return
      hasSpoken = true
      wait(SILENCE_MS)
      text += decoder.decode(value, { stream: true })
      const end = text.lastIndexOf('\n\n') + 2
      const ids = [...text.slice(0, end).matchAll(/^id: (\d+)$/gm)]
      text = text.slice(end)
      const last = ids.at(-1)?.[1]
      if (last === undefined) continue
      stream.lastEventId = last
      yield
    }
  } catch (error) {
    if (error instanceof LatchkeyError) throw error
    signal.throwIfAborted()
    if (leaving.signal.aborted && !hasSpoken) stream.isRefused = true
  } finally {
    clearTimeout(patience)
    leaving.abort()
  }
}
