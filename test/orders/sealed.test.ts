import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { FAR_TOKEN } from '../../src/devnet/constants.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

/** What a party that can write to the database, and has no key of the service, does to an order. */
describe.each(ENGINES)('SQL on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let key: Record<string, string>
  beforeAll(async () => {
    service = await startService(engine)
    wallet = newWallet(service)
    await fund(service, wallet)
    key = { 'X-API-Key': (await createKey(service, wallet)).apiKey }
  })
  afterAll(() => service.close())

  const execute = (uuid: string) =>
    service.call(`/orders/${uuid}/execute`, { method: 'POST', headers: key })
  const run = (statement: ReturnType<typeof sql>) =>
    rows<Record<string, string>>(service.world.db, statement)
  const transactionsOf = (uuid: string) =>
    run(sql`SELECT txid FROM transactions WHERE order_uuid = ${uuid}`)

  it.each([
    ['recipient', sql`recipient = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'`],
    ['outputToken', sql`output_token = ${FAR_TOKEN}`],
    ['amountIn', sql`amount_in = 999999`],
    ['targetPrice', sql`target_price = NULL, direction = NULL, condition_token = NULL`],
    ['validTo', sql`valid_to = NULL`],
    ['validFrom', sql`valid_from = NULL`],
    ['createdBy', sql`created_by = NULL`],
    ['routerContract', sql`router_contract = NULL`],
    ['the committed minimum', sql`min_amount_out = 1`],
    ['the seal', sql`terms_mac = NULL, state_mac = NULL`],
    ['one seal', sql`state_mac = terms_mac`],
    ['the box of the signature', sql`signature_box = decode('02', 'hex') || terms_mac`],
  ])('cannot change what an owner ordered: %s', async (_, assignment) => {
    const order = wallet.order({
      targetPrice: '0.1',
      direction: 'gt',
      conditionToken: '*',
      validFrom: '2020-01-01T00:00:00Z',
      validTo: '2099-01-01T00:00:00Z',
    })
    await answered(await service.call('/orders/new', json(order, key)), 201)
    await run(sql`UPDATE orders SET ${assignment} WHERE uuid = ${order.uuid}`)
    const { details } = await refused(await execute(order.uuid), 'orderTampered')
    expect(details).toEqual({ reason: expect.stringMatching(/^(edited|unsealed)$/) })
    expect(await transactionsOf(order.uuid)).toEqual([])
    expect(service.logged.some((line) => line.includes('order_tampered'))).toBe(true)
  })

  it('cannot open a cancelled order again, with its old row or another status', async () => {
    const uuid = await createOrder(service, wallet)
    const [before] = await run(
      sql`SELECT encode(state_mac, 'hex') AS mac FROM orders WHERE uuid = ${uuid}`,
    )
    const cancel = { method: 'PATCH', headers: key }
    await answered(await service.call(`/orders/${uuid}/cancel`, cancel))
    await run(sql`UPDATE orders SET status = 'open', cancelled_at = NULL WHERE uuid = ${uuid}`)
    await refused(await execute(uuid), 'orderTampered')
    await run(sql`UPDATE orders SET state_mac = decode(${before?.mac}, 'hex') WHERE uuid = ${uuid}`)
    await refused(await execute(uuid), 'orderNotOpen')
    expect(await transactionsOf(uuid)).toEqual([])
  })

  it('cannot have an order executed twice by putting its old row back', async () => {
    const uuid = await createOrder(service, wallet)
    const [before] = await run(
      sql`SELECT encode(state_mac, 'hex') AS mac FROM orders WHERE uuid = ${uuid}`,
    )
    await answered(await execute(uuid))
    await run(sql`UPDATE orders SET status = 'open', txid = NULL, executed_at = NULL,
      state_mac = decode(${before?.mac}, 'hex') WHERE uuid = ${uuid}`)
    expect((await execute(uuid)).status).toBeGreaterThanOrEqual(400)
    expect(await transactionsOf(uuid)).toHaveLength(1)
  })

  it.each([
    sql`UPDATE order_events SET status = 'open'`,
    sql`DELETE FROM order_events`,
    sql`TRUNCATE order_events CASCADE`,
  ])('cannot change what became of an order: %#', async (statement) => {
    await expect(run(statement)).rejects.toThrow()
  })

  it('of an earlier release left orders unsealed: sending one again seals it, and only the very same', async () => {
    const order = wallet.order()
    await answered(await service.call('/orders/new', json(order)), 201)
    const unseal = sql`UPDATE orders SET terms_mac = NULL, state_mac = NULL, router_contract = NULL WHERE uuid = ${order.uuid}`
    await run(unseal)
    await refused(await execute(order.uuid), 'orderTampered')
    await run(sql`UPDATE orders SET output_token = ${FAR_TOKEN} WHERE uuid = ${order.uuid}`)
    await refused(await service.call('/orders/new', json(order)), 'orderConflict')
    await run(sql`UPDATE orders SET output_token = ${order.outputToken} WHERE uuid = ${order.uuid}`)
    await answered(await service.call('/orders/new', json(order)), 200)
    await answered(await execute(order.uuid))
  })
})

it('executes unsealed orders only until the time that the operator sets for it', async () => {
  const until = Date.now() + 3_600_000
  const service = await startService('PGlite', {
    env: { UNSEALED_ORDERS_UNTIL: new Date(until).toISOString() },
  })
  const wallet = newWallet(service)
  await fund(service, wallet)
  const uuids = [await createOrder(service, wallet), await createOrder(service, wallet)]
  await rows(service.world.db, sql`UPDATE orders SET terms_mac = NULL, state_mac = NULL`)
  const execute = (uuid = '') =>
    service.call(`/orders/${uuid}/execute`, json(wallet.sign({ action: 'execute_order', uuid })))
  await answered(await execute(uuids[0]))
  service.clock.now = until
  await refused(await execute(uuids[1]), 'orderTampered')
  await service.close()
})
