import { endOpenOrders } from './end.ts'
import { isOverdueSql } from './lifecycle.ts'
import type { OrderServices } from './services.ts'

/** Stores the expiry of open orders whose validTo has passed, up to a number of them; resolves to how many. */
export async function expireOrders(
  services: Pick<OrderServices, 'db' | 'mac' | 'databaseTime'>,
  limit: number,
): Promise<number> {
  const expired = await services.db.transaction((tx) =>
    endOpenOrders(tx, services, 'expired', isOverdueSql(services.databaseTime()), {
      limit,
      whenLocked: 'skip',
    }),
  )
  return expired.length
}
