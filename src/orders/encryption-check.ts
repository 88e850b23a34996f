import { sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { signatureLabel } from '../crypto/labels.ts'
import { rows } from '../db/database.ts'
import type { OrderServices } from './services.ts'

/** Whether this process has the encryption key of the database's orders; true where there are none. */
export async function canDecryptOrders({
  db,
  encryption,
}: Pick<OrderServices, 'db' | 'encryption'>): Promise<boolean> {
  const [order] = await rows<{ uuid: string; box: string }>(
    db,
    sql`SELECT uuid, encode(signature_box, 'hex') AS box FROM orders ORDER BY uuid LIMIT 1`,
  )
  if (order === undefined) return true
  return encryption.decrypt(fromHex(order.box), signatureLabel(order.uuid)).then(
    () => true,
    () => false,
  )
}
