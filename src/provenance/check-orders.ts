import { type SQL, sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import { orderJson, orderOfJson } from '../db/order-row.ts'
import { checkIntegrity } from '../orders/integrity.ts'
import { hasEndedSql } from '../orders/lifecycle.ts'
import type { OrderServices } from '../orders/services.ts'

export interface OrderFault {
  walletAddress: string
  orderUuid: string
  fault: string
}

export interface OrderCheck {
  orders: number
  /** Orders of a release without MACs: nothing tells them from edited ones, and they are not executed. */
  unsealed: number
}

export type OrderCheckServices = Pick<OrderServices, 'db' | 'mac' | 'config'>

/** Orders in a page, each read by one statement. */
const PAGE = 500

/** Checks the MACs of every order, and that none is open again that has ended. */
export async function checkOrders(
  services: OrderCheckServices,
  report: (fault: OrderFault) => void,
): Promise<OrderCheck> {
  const check: OrderCheck = { orders: 0, unsealed: 0 }
  for (let after: string | undefined = '0'; after !== undefined; ) {
    const page: OrderPage[] = await readOrders(services, sql`${after}::bigint`)
    for (const { order, reopened } of page) {
      const row = orderOfJson(order)
      check.orders += 1
      const about = { walletAddress: row.owner, orderUuid: row.uuid }
      const intact = checkIntegrity(services, row, Number.POSITIVE_INFINITY)
      const isUnsealed = !intact.ok && intact.details?.reason === 'unsealed'
      if (isUnsealed) check.unsealed += 1
      if (!intact.ok && !isUnsealed)
        report({ ...about, fault: 'its row was edited: its MACs do not fit' })
      if (reopened) report({ ...about, fault: 'is open, and its events say that it has ended' })
    }
    after = page.length < PAGE ? undefined : page.at(-1)?.sequence
  }
  return check
}

interface OrderPage {
  sequence: string
  order: Record<string, unknown>
  reopened: boolean
}

function readOrders({ db }: OrderCheckServices, after: SQL): Promise<OrderPage[]> {
  return rows<OrderPage>(
    db,
    sql`SELECT sequence::text AS sequence, ${orderJson(sql`orders`)} AS "order",
        status = 'open' AND ${hasEndedSql()} AS reopened
      FROM orders WHERE sequence > ${after} ORDER BY sequence LIMIT ${PAGE}::int`,
  )
}
