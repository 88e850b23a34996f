import { randomUUID } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

/** What clients of Charisma's API send: docs/moving-from-charisma.md says of each what becomes of it. */
describe.each(ENGINES)('A client that was written for Charisma, on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  beforeAll(async () => {
    service = await startService(engine)
    wallet = newWallet(service)
    await fund(service, wallet)
  })
  afterAll(() => service.close())

  const place = (members: Record<string, unknown>) =>
    service.call('/orders/new', json({ ...wallet.order(), ...members }))
  async function issuesOf(response: Response): Promise<string> {
    expect(response.status).toBe(400)
    const { details } = (await response.json()) as { details: { issues: { message: string }[] } }
    return details.issues.map(({ message }) => message).join('; ')
  }

  it.each([
    '0',
    '0.0',
  ])('places an order at any price as targetPrice %s, and it executes', async (targetPrice) => {
    const order = wallet.order({ targetPrice, direction: 'gt', conditionToken: '*' })
    expect((await service.call('/orders/new', json(order))).status).toBe(201)
    const { apiKey } = await createKey(service, wallet)
    const executed = await service.call(`/orders/${order.uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
    })
    expect(executed.status, await executed.clone().text()).toBe(200)
    expect(await executed.json()).toMatchObject({ data: { targetPrice } })
  })

  it('may name another token or unit in a condition that always holds', async () => {
    const always = { targetPrice: '0', direction: 'gt' } as const
    const order = wallet.order({
      ...always,
      conditionToken: wallet.order().inputToken,
      baseAsset: 'USD',
    })
    expect((await service.call('/orders/new', json(order))).status).toBe(201)
    expect(
      await issuesOf(await place({ targetPrice: '0', direction: 'lt', conditionToken: '*' })),
    ).toMatch(/no price is below 0/)
    expect(
      await issuesOf(
        await place({ ...always, targetPrice: '0.1', conditionToken: wallet.order().inputToken }),
      ),
    ).toMatch(/must be outputToken or \*/)
  })

  it('says of what it cannot keep what to do with it', async () => {
    const strategy = { strategyId: 's', strategyType: 'dca', strategySize: 3, strategyPosition: 1 }
    const issues = await issuesOf(await place({ ...strategy, description: 'monthly' }))
    for (const name of [...Object.keys(strategy), 'description'])
      expect(issues).toContain(`"${name}" is not kept: leave it out, and keep it beside the uuid`)
    expect(await issuesOf(await place({ conditions: [] }))).toMatch(/targetPrice, direction and/)
    expect(await issuesOf(await place({ router: OUTPUT_TOKEN }))).toMatch(/is routerContract here/)
    expect(await issuesOf(await place({ somethingElse: 1 }))).toBe('"somethingElse" is not known')
  })

  it.each([
    ['page', '2', /cursor is the nextCursor/],
    ['sortBy', 'createdAt', /newest first/],
    ['sortOrder', 'desc', /newest first/],
  ])('says of the parameter %s what there is in its place', async (name, value, sentence) => {
    expect(await issuesOf(await service.call(`/orders?${name}=${value}`))).toMatch(sentence)
  })

  it('says how a time of a datetime-local field is written', async () => {
    const local = '2027-01-31T12:00'
    expect(await issuesOf(await place({ validTo: local }))).toMatch(/toISOString/)
    const members = { action: 'create_api_key', keyName: 'a', permissions: [], expiresAt: local }
    const refused = await service.call('/api-keys', json(wallet.sign(members)))
    expect(await issuesOf(refused)).toMatch(/as 2027-01-31T12:00:00Z.*toISOString/)
  })

  it('that signs the bare uuid, in headers or a body, is told what to sign', async () => {
    const uuid = await createOrder(service, wallet)
    const signature = signMessage({ message: uuid, privateKey: wallet.privateKey })
    const headers = { 'X-Signature': signature, 'X-Public-Key': publicKeyOf(wallet.privateKey) }
    const bare = await service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers })
    expect(bare.status).toBe(401)
    expect(await bare.json()).toMatchObject({
      details: {
        problem: expect.stringContaining('in a JSON body'),
        expected: { action: 'cancel_order', uuid },
      },
    })
    const inBody = await service.call(`/orders/${uuid}/cancel`, {
      ...json({ message: uuid, signature, walletAddress: wallet.address }),
      method: 'PATCH',
    })
    expect(inBody.status).toBe(400)
    expect(await inBody.json()).toMatchObject({
      details: { expected: { action: 'cancel_order', uuid } },
    })
    expect(await (await service.call(`/orders/${uuid}`)).json()).toMatchObject({
      data: { status: 'open' },
    })
  })

  it('finds the uuids of open orders as their owner only', async () => {
    const uuid = await createOrder(service, wallet, { uuid: randomUUID() })
    const list = async (headers: Record<string, string>) => {
      const response = await service.call(`/orders?owner=${wallet.address}`, { headers })
      return ((await response.json()) as { data: { uuid?: string }[] }).data.map((one) => one.uuid)
    }
    expect(await list({})).not.toContain(uuid)
    expect(await list(wallet.signHeaders({ action: 'list_orders' }))).toContain(uuid)
  })
})
