import { ORDER_STATUSES, type Order, type OrderStatus, orderHasEnded } from '../orders/order.ts'
import type { CallContext, CallOptions } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { LatchkeyError, latchkeyError } from './errors.ts'
import { openEvents } from './events.ts'
import type { Transport } from './transport.ts'

/** Options of `orders.waitFor`. The signal ends the wait; the order itself goes on. */
export interface WaitOptions extends CallOptions {
  /** The status to wait for; `confirmed` by default. A later status satisfies it too, unless the order failed. */
  until?: 'executing' | 'broadcasted' | 'confirmed'
  /** Called with the order as it is at first, and again after each change of status, txid or block. */
  onUpdate?: (order: Order) => void
}

/** What a wait reads: the order, its event stream, and the time. */
export interface WaitSource {
  transport: Transport
  clock: ServiceClock
  context: CallContext
  get(): Promise<Order>
}

// Between two requests where there is no stream: each pause is longer, and a change starts again from the first.
const FIRST_PAUSE_MS = 500
const LONGEST_PAUSE_MS = 5_000
const PAUSE_GROWTH = 1.5
// Retry-After is the service's word, and a wait for an order has no other end: a month would be a wait for ever.
const LONGEST_REST_MS = 60_000
// An order changes a few times in its life. A stream with more events is left, and its changes shorten no pause.
const MAX_LOOKS = 50

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
  { transport, clock, context, get }: WaitSource,
  uuid: string,
  { until = 'confirmed', onUpdate }: WaitOptions,
): Promise<Order> {
  const { signal, headers } = context
  const observer = observe(get, uuid, until, onUpdate)
  const events = openEvents(transport, `/orders/${uuid}/events`, { signal, headers })
  const arrived = await observer.look()
  if (arrived !== undefined) return arrived
  for (let pauseMs = FIRST_PAUSE_MS; ; pauseMs = longerPause(pauseMs)) {
    const changesBefore = observer.changes
    const { settled, restMs, isFlooded } = await follow(observer, events.connect())
    if (settled !== undefined) return settled
    if (observer.changes > changesBefore && !isFlooded) pauseMs = FIRST_PAUSE_MS
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

/** Whether an error is one that a wait outlasts. */
export function isTransient(error: unknown): error is LatchkeyError {
  return error instanceof LatchkeyError && TRANSIENT.includes(error.code)
}

interface Followed {
  settled: Order | undefined
  /** The least time to wait before the next connection. */
  restMs: number
  /** Whether there were more events than an order has. */
  isFlooded: boolean
}

/** Requests the order after each event, and once more after the stream has ended. */
async function follow(observer: Observer, events: AsyncIterable<unknown>): Promise<Followed> {
  let looks = 0
  try {
    for await (const _ of events) {
      const settled = await observer.look()
      looks += 1
      if (settled !== undefined || looks >= MAX_LOOKS)
        return { settled, restMs: 0, isFlooded: looks >= MAX_LOOKS }
    }
    return { settled: await observer.look(), restMs: 0, isFlooded: false }
  } catch (error) {
    if (!isTransient(error)) throw error
    const restMs = Math.min((error.retryAfterSeconds ?? 0) * 1_000, LONGEST_REST_MS)
    return { settled: undefined, restMs, isFlooded: false }
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
  return latchkeyError('ORDER_NOT_SETTLED', `The order ${what}${why}`, {
    details: {
      uuid,
      status,
      ...(failureReason !== undefined && { failureReason }),
      ...(txid !== undefined && { txid }),
    },
  })
}
