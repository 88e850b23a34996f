import { canDecryptOrders } from '../orders/encryption-check.ts'
import type { OrderServices } from '../orders/services.ts'
import { backfillMacs, walletsToBackfill } from '../provenance/backfill.ts'

type AdoptingWorld = Parameters<typeof backfillMacs>[0] & Pick<OrderServices, 'encryption'>

/**
 * Backfills the MACs of a database that a release without MACs wrote; returns how many keys. With a wrong encryption key
 * the keys would never work again, so the key must decrypt the stored orders first.
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
