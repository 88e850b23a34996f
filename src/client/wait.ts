import { ORDER_STATUSES, type Order, type OrderStatus, orderHasEnded } from '../orders/order.ts'
import type { ServiceClock } from './clock.ts'
import { LatchkeyError } from './errors.ts'
import { openEvents } from './events.ts'
import type { Transport } from './transport.ts'

/** Options of `orders.waitFor`. */
export interface WaitOptions {
  /** The status to wait for; `confirmed` by default. A later status satisfies it too, unless the order failed. */
  until?: 'executing' | 'broadcasted' | 'confirmed'
  /** Ends the wait, which rejects with the signal's reason. The order itself goes on. */
  signal?: AbortSignal
  /** Called with the order as it is at first, and again after each change of status, txid or block. */
  onUpdate?: (order: Order) => void
}

/** What a wait reads: the order, its event stream, and the time. */
export interface WaitSource {
  transport: Transport
  clock: ServiceClock
  get(): Promise<Order>
}

// Between two requests where there is no stream: each pause is longer, and a change starts again from the first.
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 5_000
const PAUSE_GROWTH = 1.5

/** Errors that a wait outlasts: the order settles meanwhile, whether or not the service can be reached. */
const TRANSIENT: readonly string[] = [
  'UNREACHABLE',
  'TIMEOUT',
  'UNAVAILABLE',
  'RATE_LIMIT_EXCEEDED',
]

/**
 * Resolves with the order once it has reached `until`. The event stream only triggers requests: what counts is the order
 * that each request returns. Rejects with `ORDER_NOT_SETTLED` once the order can no longer get there.
 */
export async function waitForOrder(
  { transport, clock, get }: WaitSource,
  uuid: string,
  { until = 'confirmed', signal = new AbortController().signal, onUpdate }: WaitOptions,
): Promise<Order> {
  const observer = observe(get, uuid, until, onUpdate)
  const events = openEvents(transport, `/orders/${uuid}/events`, signal)
  const arrived = await observer.look()
  if (arrived !== undefined) return arrived
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = longerPause(pauseMs)) {
    const changesBefore = observer.changes
    const { settled, restMs } = await follow(observer, events.connect())
    if (settled !== undefined) return settled
    if (observer.changes > changesBefore) pauseMs = FIRST_PAUSE_MS
    await clock.wait(Math.max(pauseMs, restMs), signal)
  }
}

function longerPause(pauseMs: number): number {
  return Math.min(pauseMs * PAUSE_GROWTH, LONGEST_PAUSE_MS)
}

interface Observer {
  /** Requests the order. Resolves with it once it is settled, and with undefined while it may still get there. */
  look(): Promise<Order | undefined>
  /** How often the order was seen to have changed. */
  readonly changes: number
}

function observe(
  get: () => Promise<Order>,
  uuid: string,
  until: OrderStatus,
  onUpdate: WaitOptions['onUpdate'],
): Observer {
  let known: Order | undefined
  let changes = 0
  return {
    async look() {
      const order = await get()
      const before = known
      known = order
      if (before === undefined || hasChanged(before, order)) {
        changes += 1
        onUpdate?.(order)
      }
      if (hasReached(order.status, until)) return order
      const isReopened = order.status === 'open' && before !== undefined && before.status !== 'open'
      if (orderHasEnded(order.status) || isReopened) throw notSettled(uuid, order)
      return undefined
    },
    get changes() {
      return changes
    },
  }
}

/**
 * Requests the order after each event, and once more after the stream has ended. `restMs` is the least time to wait before
 * the next round.
 */
async function follow(
  observer: Observer,
  events: AsyncIterable<void>,
): Promise<{ settled: Order | undefined; restMs: number }> {
  try {
    for await (const _ of events) {
      const settled = await observer.look()
      if (settled !== undefined) return { settled, restMs: 0 }
    }
    return { settled: await observer.look(), restMs: 0 }
  } catch (error) {
    if (!(error instanceof LatchkeyError) || !TRANSIENT.includes(error.code)) throw error
    return { settled: undefined, restMs: (error.retryAfterSeconds ?? 0) * 1_000 }
  }
}

function hasReached(status: OrderStatus, until: OrderStatus): boolean {
  const isFailure = orderHasEnded(status) && status !== 'confirmed'
  return !isFailure && ORDER_STATUSES.indexOf(status) >= ORDER_STATUSES.indexOf(until)
}

function hasChanged(before: Order, now: Order): boolean {
  return (['status', 'txid', 'blockHeight'] as const).some(
    (member) => before[member] !== now[member],
  )
}

function notSettled(uuid: string, { status, failureReason, txid }: Order): LatchkeyError {
  const what = status === 'open' ? 'is open again, and no execution is under way' : `is ${status}`
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
