import { canDecryptOrders } from '../orders/encryption-check.ts'
import type { OrderServices } from '../orders/services.ts'
import { backfillMacs, walletsToBackfill } from '../provenance/backfill.ts'

type AdoptingWorld = Parameters<typeof backfillMacs>[0] & Pick<OrderServices, 'encryption'>

/**
 * Seals what a release without seals left, if there is anything, and answers how many keys. With another encryption key
 * than the service's none of them would ever work again: the orders tell which one is right.
 */
export async function backfillOldKeys(
  world: AdoptingWorld,
  now: number,
): Promise<{ adopted: number; left: number }> {
  if ((await walletsToBackfill(world.db)).length === 0) return { adopted: 0, left: 0 }
  if (!(await canDecryptOrders(world)))
    throw new Error('ENCRYPTION_KEY is not the one that this database was written with')
  return backfillMacs(world, now)
}
