import { eq, getTableColumns, sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import type { OrderRow } from '../../src/db/order-row.ts'
import { orders } from '../../src/db/schema.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import type { Rights } from '../../src/keys/rights.ts'
import { createOrder } from '../../src/orders/create.ts'
import type { NewOrder } from '../../src/orders/order.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, newWallet, type Wallet } from '../support/wallet.ts'

const CONDITION = { targetPrice: '1.50', direction: 'gt', conditionToken: OUTPUT_TOKEN } as const
const TIMES = { validFrom: '2026-01-15T10:00:00.5Z', validTo: '2100-01-16T12:00:00+02:00' }
const RIGHTS = {} as Rights

describe.each(ENGINES)('The row that a create returns, on %s,', (engine) => {
  let service: Service
  let wallet: Wallet
  beforeAll(async () => {
    service = await startService(engine)
    wallet = newWallet(service)
  })
  afterAll(() => service.close())

  const create = async (order: NewOrder, keyId?: string) => {
    const key =
      keyId === undefined ? keyId : { keyId, walletAddress: wallet.address, rights: RIGHTS }
    const created = await createOrder(service.world, order, { key }, service.clock.now)
    if (!created.ok) throw new Error(created.reason)
    expect(created.value.created).toBe(true)
    return created.value.row
  }
  const isStored = async (row: OrderRow) => {
    const [stored] = await service.world.db.select().from(orders).where(eq(orders.uuid, row.uuid))
    expect(Object.keys(row).sort()).toEqual(Object.keys(getTableColumns(orders)).sort())
    for (const name of Object.keys(row) as (keyof OrderRow)[])
      expect([name, comparable(row[name])]).toEqual([name, comparable(stored?.[name])])
  }

  it.each<[string, (wallet: Wallet) => NewOrder]>([
    ['the least that an order has', (wallet) => wallet.order()],
    ['a condition and times', (wallet) => wallet.order({ ...CONDITION, ...TIMES })],
    ['a base asset', (wallet) => wallet.order({ ...CONDITION, baseAsset: INPUT_TOKEN })],
    ['the largest amount', (wallet) => wallet.order({ amountIn: String(2n ** 128n - 1n) })],
    ['committed terms', (wallet) => wallet.committedOrder()],
  ])('is the row that is stored: %s', async (_, order) => {
    await isStored(await create(order(wallet)))
  })

  it('is the row that is stored: of a key', async () => {
    const { keyId } = await createKey(service, wallet)
    // The gate has counted the request before.
    await rows(
      service.world.db,
      sql`UPDATE key_counters SET total_requests = 1 WHERE key_id = ${keyId}`,
    )
    await isStored(await create(wallet.order(), keyId))
  })

  it('is the row that is stored: of orders that were inserted together', async () => {
    const kinds = Array.from({ length: 12 }, (_, at) =>
      at % 3 === 0 ? wallet.committedOrder() : wallet.order(at % 3 === 1 ? CONDITION : TIMES),
    )
    const from = service.statements.length
    const created = await Promise.all(kinds.map((order) => create(order)))
    const inserts = service.statements.slice(from).filter((text) => /INSERT INTO orders/.test(text))
    expect(inserts.length).toBeLessThan(kinds.length)
    for (const row of created) await isStored(row)
  })
})

/** Bytes of different classes compare by content. */
function comparable(value: OrderRow[keyof OrderRow] | undefined): unknown {
  return value instanceof Uint8Array ? Array.from(value) : value
}
