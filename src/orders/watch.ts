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
    const past = await eventsOf(services, order.value, after)
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
