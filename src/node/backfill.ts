import { canDecryptOrders } from '../orders/encryption-check.ts'
import type { OrderServices } from '../orders/services.ts'
import {
  type Backfilled,
  type BackfillServices,
  backfillMacs,
  walletsToBackfill,
} from '../provenance/backfill.ts'

/**
 * Backfills the MACs of a database that a release without MACs wrote. With a wrong encryption key
 * the keys would never work again, so the key must decrypt the stored orders first.
 */
export async function backfillOldKeys(
  world: BackfillServices & Pick<OrderServices, 'encryption'>,
  now: number,
): Promise<Backfilled> {
  if ((await walletsToBackfill(world.db)).length === 0) return { authenticated: 0, refused: 0 }
  if (!(await canDecryptOrders(world)))
    throw new Error('ENCRYPTION_KEY is not the one that this database was written with')
  return backfillMacs(world, now)
}
