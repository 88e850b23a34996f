import type { OrderRow } from '../db/order-row.ts'
import { walletShard } from '../db/shard.ts'
import { recordSuccess } from '../gate/counters.ts'
import type { KeyHash } from '../keys/secret.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { StreamCaller, Subscriber } from './feed.ts'
import { eventsOf, getOrder } from './find.ts'
import { type OrderEvent, orderHasEnded } from './order.ts'
import type { OrderServices } from './services.ts'

export interface WatchRequest {
  uuid: string
  /** The id of the last event that the caller has; 0 for none. */
  after: number
  caller: StreamCaller
  /** The presented key and its secret. */
  key: { keyId: string; walletAddress: string; hash: KeyHash } | undefined
}

/** The events of an order so far, and how to follow the next ones. */
export interface WatchedOrder {
  past: OrderEvent[]
  /** Subscribes to the events after `past`, and returns how to leave, which must be done; undefined for an ended order. */
  follow: ((to: Pick<Subscriber, 'next' | 'heartbeat' | 'close'>) => () => void) | undefined
}

/**
 * Reads an order's events after an id. An id that is none of its events, as one of another order or of a database that was restored,
 * says nothing of what the caller has: it gets all of them, and not an end that it never saw.
 */
async function eventsAfter(
  services: OrderServices,
  order: Pick<OrderRow, 'uuid' | 'shard'>,
  after: number,
) {
  const later = await eventsOf(services, order, after)
  if (later.length > 0 || after === 0) return later
  const all = await eventsOf(services, order, 0)
  return all.at(-1)?.id === after ? [] : all
}

/** Reads an order's events after an id. Knowing the uuid is the only authorization that this needs. */
export async function watchOrder(
  services: OrderServices,
  { uuid, after, caller, key }: WatchRequest,
): Promise<
  Result<
    WatchedOrder,
    'orderNotFound' | 'orderArchived' | 'eventsUnsupported' | 'tooManyStreams' | 'unavailable'
  >
> {
  const { feed } = services
  if (feed === undefined) return refuse('eventsUnsupported')
  const place = feed.admit(caller)
  if (!place.ok) return place
  const releasePlace = place.value
  let isFollowed = false
  try {
    const order = await getOrder(services, uuid)
    if (!order.ok) return order
    const past = await eventsAfter(services, order.value, after)
    if (key !== undefined) await recordSuccess(services.db, key)
    const presented = key && { hash: key.hash, shard: walletShard(key.walletAddress) }
    const last = past.at(-1)
    if (orderHasEnded(last?.status ?? order.value.status)) return ok({ past, follow: undefined })
    isFollowed = true
    return ok({
      past,
      follow(to) {
        const unsubscribe = feed.subscribe({
          ...to,
          uuid,
          shard: order.value.shard,
          presented,
          after: last?.id ?? after,
        })
        return () => {
          unsubscribe()
          releasePlace()
        }
      },
    })
  } finally {
    if (!isFollowed) releasePlace()
  }
}
