import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import { stateText } from './integrity.ts'
import type { OrderServices } from './services.ts'

type EndServices = Pick<OrderServices, 'mac' | 'databaseTime'>

/**
 * Ends the open orders that a condition selects, in the caller's transaction, and requests the burn of those whose intent
 * is public. Rows are locked first, because the MAC of the new status is computed per order. `shard` is theirs, where they are of
 * one wallet, and `details` are those of their events. Returns their uuids.
 */
export async function endOpenOrders(
  tx: Database,
  { mac, databaseTime }: EndServices,
  status: 'cancelled' | 'expired',
  condition: SQL,
  {
    shard,
    limit,
    whenLocked,
    details,
  }: { shard?: SQL; limit?: number; whenLocked: 'wait' | 'skip'; details?: { reason: string } },
): Promise<string[]> {
  const at = databaseTime()
  const inShard = shard === undefined ? sql`` : sql` AND orders.shard = ${shard}`
  const found = await rows<{ uuid: string }>(
    tx,
    sql`SELECT uuid FROM orders WHERE ${condition}${inShard} ORDER BY valid_to, uuid
      ${limit === undefined ? sql`` : sql`LIMIT ${limit}::int`}
      FOR UPDATE${whenLocked === 'skip' ? sql` SKIP LOCKED` : sql``}`,
  )
  if (found.length === 0) return []
  const ended = await rows<{ uuid: string }>(
    tx,
    sql`WITH ended AS (
        UPDATE orders SET status = ${status}, state_mac = decode(sealed.mac, 'hex'),
          cancelled_at = CASE WHEN ${status} = 'cancelled' THEN ${at} END,
          burn_requested_at = CASE WHEN disclosed_at IS NOT NULL AND uuid_used_at IS NULL THEN ${at} ELSE burn_requested_at END
        FROM unnest(${textArray(found.map(({ uuid }) => uuid))}::text::text[],
          ${textArray(found.map(({ uuid }) => mac(stateText(uuid, status))))}::text::text[]) AS sealed (order_uuid, mac)
        WHERE uuid = order_uuid AND ${condition}${inShard}
        RETURNING uuid, orders.shard, status
      ), event AS (${insertOrderEvent(sql`ended`, at, details && sql`${JSON.stringify(details)}::text::jsonb`)})
      SELECT uuid FROM ended`,
  )
  return ended.map(({ uuid }) => uuid)
}

/** Of uuids and hexadecimal texts. Quoted: NULL is a valid uuid. */
function textArray(texts: readonly string[]): string {
  return `{${texts.map((text) => `"${text}"`).join(',')}}`
}
