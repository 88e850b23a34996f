import {
  ORDER_STATUSES,
  type Order,
  type OrderChange,
  type OrderStatus,
  orderHasEnded,
} from '../orders/order.ts'
import { parseBounded } from '../wire/response.ts'
import { openEvents, type ReceivedEvent } from './events.ts'
import { isTransient, type WaitSource } from './wait.ts'

/** A change of an order. */
export interface OrderUpdate extends OrderChange {
  /** Pass it as `lastEventId` to go on after this change; absent where the service has no stream. */
  id?: string
}

/** The changes of an order, oldest first. */
export type OrderUpdates = AsyncGenerator<OrderUpdate, void, undefined>

// Between two connections, and between two requests where there is no stream.
const PAUSE_MS = 2_000
const LONGEST_PAUSE_MS = 60_000
// An order changes a few times in its life.
const MAX_CHANGES = 1_000

/** Yields the changes of an order until it has ended. */
export async function* readUpdates(
  { transport, clock, context, get }: WaitSource,
  uuid: string,
  lastEventId?: string,
): OrderUpdates {
  const { signal, headers } = context
  const events = openEvents(transport, `/orders/${uuid}/events`, { signal, headers, lastEventId })
  let last: OrderStatus | undefined
  let yielded = 0
  // Whether the order had ended before a connection that then brought nothing more.
  let wasOver = false
  for (;;) {
    const yieldedBefore = yielded
    for await (const received of events.connect())
      for (const event of received) {
        const change = readChange(event, uuid)
        if (change === undefined) continue
        last = change.status
        yield change
        yielded += 1
        if (orderHasEnded(change.status) || yielded >= MAX_CHANGES) return
      }
    if (events.hasEnded) return
    let pauseMs = PAUSE_MS
    try {
      const order = await get()
      const isOver = orderHasEnded(order.status)
      const isSilent = events.isUnavailable || (wasOver && yielded === yieldedBefore)
      wasOver = isOver
      if (isSilent && order.status !== last) {
        last = order.status
        yield seenChange(order, uuid, clock.now())
      }
      if (isSilent && isOver) return
    } catch (error) {
      if (!isTransient(error)) throw error
      pauseMs = Math.min((error.retryAfterSeconds ?? 0) * 1_000 + PAUSE_MS, LONGEST_PAUSE_MS)
    }
    await clock.wait(pauseMs, signal)
  }
}

/** The change in an event; undefined for what is none. */
function readChange({ id, data }: ReceivedEvent, uuid: string): OrderUpdate | undefined {
  try {
    const change = parseBounded(data) as Partial<OrderChange> | null
    const isChange =
      change?.uuid === uuid &&
      typeof change.at === 'string' &&
      (ORDER_STATUSES as readonly unknown[]).includes(change.status)
    return isChange ? { ...(change as OrderChange), id } : undefined
  } catch {
    return undefined
  }
}

/** A change that a request showed. */
function seenChange(order: Order, uuid: string, now: number): OrderUpdate {
  const { status, txid, blockHeight, amountOut, failureReason } = order
  return {
    uuid,
    status,
    at: new Date(now).toISOString(),
    ...(txid !== undefined && { txid }),
    ...(blockHeight !== undefined && { blockHeight }),
    ...(amountOut !== undefined && { amountOut }),
    ...(failureReason !== undefined && { failureReason }),
  }
}
