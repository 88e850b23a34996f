import { sql } from 'drizzle-orm'
import { fromHex } from '../bytes.ts'
import { rows } from '../db/database.ts'
import type { World } from '../world.ts'
import { sealName } from './create.ts'

/** Whether this process has the encryption key that the database's orders were sealed with; true where there is none. */
export async function opensOrders({ db, seal }: Pick<World, 'db' | 'seal'>): Promise<boolean> {
  const [order] = await rows<{ uuid: string; box: string }>(
    db,
    sql`SELECT uuid, encode(signature_box, 'hex') AS box FROM orders ORDER BY uuid LIMIT 1`,
  )
  if (order === undefined) return true
  return seal.open(fromHex(order.box), sealName(order.uuid)).then(
    () => true,
    () => false,
  )
}
