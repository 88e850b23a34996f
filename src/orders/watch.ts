import { succeed } from '../gate/admit.ts'
import type { KeyHash } from '../keys/secret.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { Listener } from './feed.ts'
import { eventsOf, getOrder } from './find.ts'
import { type OrderEvent, orderHasEnded } from './order.ts'
import type { OrderServices } from './services.ts'

export interface Watch {
  uuid: string
  /** The id of the event that the caller knows last; 0 for none. */
  after: number
  /** The key that it came with, and the secret; without one, its address is what places are counted by. */
  keyId: string | undefined
  address: string
  hash: KeyHash | undefined
}

/** What became of an order so far, and what will. */
export interface Watched {
  past: OrderEvent[]
  /** Hears what comes after `past`; undefined when the order has ended. Answers how to leave, which must be done. */
  follow: ((ear: Pick<Listener, 'tell' | 'beat' | 'end'>) => () => void) | undefined
}

/** Looks at an order's changes from some point on. Whoever knows the uuid may. */
export async function watchOrder(
  services: OrderServices,
  { uuid, after, keyId, address, hash }: Watch,
): Promise<
  Result<Watched, 'orderNotFound' | 'eventsUnsupported' | 'tooManyStreams' | 'unavailable'>
> {
  const { feed } = services
  if (feed === undefined) return refuse('eventsUnsupported')
  const admitted = feed.admit(keyId ?? address)
  if (!admitted.ok) return admitted
  const giveBack = admitted.value
  try {
    const found = await getOrder(services, uuid)
    const past = found.ok ? await eventsOf(services, uuid, after) : []
    if (!found.ok) {
      giveBack()
      return found
    }
    if (keyId !== undefined) await succeed(services.db, keyId)
    const last = past.at(-1)
    if (orderHasEnded(last?.status ?? found.value.status)) {
      giveBack()
      return ok({ past, follow: undefined })
    }
    const follow: Watched['follow'] = (ear) => {
      const stop = feed.listen({ ...ear, uuid, hash, after: last?.id ?? after })
      return () => {
        stop()
        giveBack()
      }
    }
    return ok({ past, follow })
  } catch (error) {
    giveBack()
    throw error
  }
}
