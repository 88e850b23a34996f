import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { COMMITTED_ROUTER, FAR_TOKEN, OUTPUT_TOKEN, ROUTER } from '../../src/devnet/constants.ts'
import type { NewOrder, Order } from '../../src/orders/order.ts'
import { signIntent } from '../../src/stacks/sign.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { EVERYWHERE, type Service, startService } from '../support/service.ts'
import { createKey, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

describe.each(EVERYWHERE)('a committed order on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let operator: string
  beforeAll(async () => {
    service = await startService(engine)
    wallet = newWallet(service)
    await fund(service, wallet)
    operator = service.world.operators.all[0]?.address ?? ''
  })
  afterAll(() => service.close())

  const send = (order: object) => service.call('/orders/new', json(order))
  const issuesOf = async (order: object) => {
    const { details } = await changesNothing(service, async () =>
      refused(await send(order), 'invalidRequest'),
    )
    return details?.issues
  }

  it('is taken with the router that commits, and shown without its salt', async () => {
    const order = wallet.committedOrder({ executor: operator })
    const { data } = await answered<{ data: Order }>(await send(order), 201)
    expect(data).toMatchObject({
      uuid: order.uuid,
      routerContract: COMMITTED_ROUTER,
      minAmountOut: '1',
      deadline: '2099-01-01T00:00:00.000Z',
      validTo: '2099-01-01T00:00:00.000Z',
      executor: operator,
    })
    expect(JSON.stringify(data)).not.toContain(order.salt)
    await answered(await send(order), 200)
  })

  it.each<[string, Partial<NewOrder>]>([
    ['recipient', { recipient: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM' }],
    ['outputToken', { outputToken: FAR_TOKEN }],
    ['minAmountOut', { minAmountOut: '2' }],
    ['deadline', { deadline: '2099-01-01T00:00:01Z' }],
    ['salt', { salt: '00'.repeat(16) }],
    ['uuid', { uuid: '00'.repeat(18) }],
  ])('is refused when its uuid is not the hash of its terms: another %s', async (_, other) => {
    const order = wallet.committedOrder()
    expect(await issuesOf({ ...order, ...other })).toMatchObject([{ path: 'uuid' }])
  })

  it.each<[string, string, (order: NewOrder) => object]>([
    [
      'a stranger as executor',
      'executor',
      () => wallet.committedOrder({ executor: wallet.address }),
    ],
    [
      'an end after its deadline',
      'validTo',
      (order) => ({ ...order, validTo: '2099-01-02T00:00:00Z' }),
    ],
    ['a router that does not commit', 'salt', (order) => ({ ...order, routerContract: ROUTER })],
    [
      'a router of no service',
      'routerContract',
      (order) => ({ ...order, routerContract: `${COMMITTED_ROUTER}-2` }),
    ],
    ['terms without salt', 'salt', ({ salt: _, ...order }) => order],
    ['an executor alone', 'executor', () => ({ ...wallet.order(), executor: operator })],
    [
      'a deadline within a second',
      'deadline',
      (order) => ({ ...order, deadline: '2099-01-01T00:00:00.5Z' }),
    ],
  ])('is refused with %s', async (_, path, change) => {
    const issues = await issuesOf(change(wallet.committedOrder()))
    expect(issues).toMatchObject([{ path }])
  })

  it('is refused with an intent for the router that does not commit', async () => {
    const { signature: _, ...order } = wallet.committedOrder()
    const { inputToken, amountIn, uuid } = order
    const { privateKey } = wallet
    const intent = {
      inputToken,
      amountIn,
      uuid,
      router: ROUTER,
      network: 'devnet',
      privateKey,
    } as const
    await refused(await send({ ...order, signature: signIntent(intent) }), 'signatureInvalid')
  })

  it('pays another recipient without a message: the intent binds it', async () => {
    const friend = newWallet(service)
    const order = wallet.committedOrder({ recipient: friend.address })
    await answered(await send(order), 201)
    const { apiKey } = await createKey(service, wallet)
    const executed = await service.call(`/orders/${order.uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
    })
    await answered(executed, 200)
    const held = await fetch(`${service.world.config.STACKS_API_URL}/balances/${friend.address}`)
    const { tokens } = (await held.json()) as { tokens: Record<string, string> }
    expect(BigInt(tokens[OUTPUT_TOKEN] ?? '0')).toBeGreaterThan(0n)
  })

  it('is not sent when the quote is below the minimum', async () => {
    const order = wallet.committedOrder({ minAmountOut: '1000000000' })
    await answered(await send(order), 201)
    const response = await service.call(
      `/orders/${order.uuid}/execute`,
      json(wallet.sign({ action: 'execute_order', uuid: order.uuid })),
    )
    const { details } = await refused(response, 'executionFailed')
    expect(details).toMatchObject({ reason: 'minimum_output', minAmountOut: '1000000000' })
    const [row] = await rows(
      service.world.db,
      sql`SELECT status FROM orders WHERE uuid = ${order.uuid}`,
    )
    expect(row).toEqual({ status: 'open' })
  })

  it('goes to the router that /info lists as committing', async () => {
    const info = await answered(await service.call('/info'))
    expect(info).toMatchObject({
      routerContract: ROUTER,
      routers: [
        { contract: ROUTER, commits: false },
        { contract: COMMITTED_ROUTER, commits: true },
      ],
      operators: [operator],
    })
  })
})
