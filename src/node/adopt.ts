import { adoptKeys, walletsToAdopt } from '../keys/adopt.ts'
import { opensOrders } from '../orders/unseal.ts'
import type { World } from '../world.ts'

type AdoptingWorld = Parameters<typeof adoptKeys>[0] & Pick<World, 'seal'>

/**
 * Seals what a release without seals left, if there is anything, and answers how many keys. With another encryption key
 * than the service's none of them would ever work again: the orders tell which one is right.
 */
export async function adoptOldKeys(
  world: AdoptingWorld,
  now: number,
): Promise<{ adopted: number; left: number }> {
  if ((await walletsToAdopt(world.db)).length === 0) return { adopted: 0, left: 0 }
  if (!(await opensOrders(world)))
    throw new Error('ENCRYPTION_KEY is not the one that this database was written with')
  return adoptKeys(world, now)
}
