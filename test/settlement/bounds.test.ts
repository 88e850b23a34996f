import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { answered, refused } from '../support/assertions.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const SUBMIT = '/v2/transactions'
const CALLERS = 24

describe('a wallet', () => {
  let chain: OwnChain
  const opened: Settling[] = []
  beforeAll(async () => {
    chain = await startOwnChain()
  })
  afterEach(async () => {
    await chain.clear()
    await chain.blockTime(0)
    for (const service of opened.splice(0)) await service.close()
  })
  afterAll(() => chain.stop())

  async function start(env: Record<string, string>): Promise<Settling> {
    const service = await startSettling(chain, {
      engine: 'Postgres',
      maxConnections: CALLERS,
      operators: 2,
      env,
    })
    opened.push(service)
    return service
  }
  const orders = (service: Settling, count: number) =>
    Promise.all(Array.from({ length: count }, () => createOrder(service, service.wallet)))

  it('has a number of settlements under way at once, and no more, whoever asks at the same moment', async () => {
    const service = await start({ MAX_SETTLING_PER_WALLET: '5' })
    await chain.blockTime(null)
    const uuids = await orders(service, CALLERS)
    const answers = await Promise.all(uuids.map((uuid) => service.execute(uuid)))
    const limited = answers.filter(({ body }) => body.code === 'SETTLEMENT_LIMIT_EXCEEDED')
    expect(answers.filter(({ status }) => status === 200)).toHaveLength(5)
    expect(limited).toHaveLength(CALLERS - 5)
    expect(limited[0]).toMatchObject({
      status: 429,
      body: { details: { limit: 'settling', allowed: 5 } },
    })
    const waiting = uuids[answers.findIndex(({ status }) => status !== 200)] ?? ''
    expect(await service.order(waiting)).toMatchObject({ status: 'open' })
    await chain.blockTime(0)
    for (const [at, uuid] of uuids.entries())
      if (answers[at]?.status === 200) await service.until(uuid, 'confirmed')
    expect(await service.execute(waiting)).toMatchObject({ status: 200 })
  })

  it('fails a number of settlements a day, and no more', async () => {
    const service = await start({ MAX_FAILED_PER_WALLET_AND_DAY: '2' })
    const uuids = await orders(service, 3)
    await chain.plan({ on: SUBMIT, do: 'abort', as: 'abort_by_response', times: 2 })
    for (const uuid of uuids.slice(0, 2)) {
      await service.execute(uuid)
      await service.until(uuid, 'failed')
    }
    await chain.clear()
    expect(await service.execute(uuids[2] ?? '')).toMatchObject({
      status: 429,
      body: { code: 'SETTLEMENT_LIMIT_EXCEEDED', details: { limit: 'failed', allowed: 2 } },
    })
    service.clock.now += 86_400_000
    expect(await service.execute(uuids[2] ?? '')).toMatchObject({ status: 200 })
  })

  it('without funds costs the operator nothing, however often it asks', async () => {
    const service = await start({})
    const stranger = newWallet(service)
    const uuids = await Promise.all(
      Array.from({ length: 60 }, () => createOrder(service, stranger)),
    )
    for (const uuid of uuids)
      await refused(
        await service.call(
          `/orders/${uuid}/execute`,
          json(stranger.sign({ action: 'execute_order', uuid })),
        ),
        'executionFailed',
      )
    expect(await service.onChain()).toEqual([])
  })

  /** Has a wallet make an order, and cancel it on chain. */
  async function cancelOnChain(service: Settling, wallet: Wallet): Promise<string> {
    const uuid = await createOrder(service, wallet)
    const signed = wallet.sign({ action: 'cancel_order', uuid, onChain: true })
    await answered(
      await service.call(`/orders/${uuid}/cancel`, { ...json(signed), method: 'PATCH' }),
    )
    return uuid
  }
  const burnsOf = async (service: Settling) =>
    (await service.onChain()).filter(({ fn }) => fn === 'execute')

  it('without the input of an order that no node has seen gets no burn of it', async () => {
    const service = await start({})
    const strangers = Array.from({ length: 12 }, () => newWallet(service))
    const uuids = await Promise.all(strangers.map((one) => cancelOnChain(service, one)))
    const uuid = await cancelOnChain(service, service.wallet)
    for (let made = 0; made < 4; made++) await service.pass(3_000)
    expect((await burnsOf(service)).map((burn) => burn.uuid)).toEqual([uuid])
    expect(await service.order(uuids[0] ?? '')).not.toHaveProperty('burn')
    expect(await service.stored()).toHaveLength(1)
  })

  it('makes the operator pay for no more burns than a service makes in a day, with however many others', async () => {
    const service = await start({ MAX_REQUESTED_BURNS_PER_DAY: '3' })
    await Promise.all(
      Array.from({ length: 8 }, async () => {
        const wallet = newWallet(service)
        await fund(service, wallet)
        await cancelOnChain(service, wallet)
      }),
    )
    const passes = async () => {
      for (let made = 0; made < 3; made++)
        await Promise.all(Array.from({ length: 6 }, () => service.pass(1_000)))
    }
    await passes()
    expect(await burnsOf(service)).toHaveLength(3)
    // What a broadcast made public is burnt nevertheless.
    const uuid = await createOrder(service, service.wallet)
    await chain.plan({ on: SUBMIT, do: 'abort', as: 'abort_by_post_condition', times: 1 })
    await service.execute(uuid)
    await service.until(uuid, 'failed')
    await passes()
    expect((await burnsOf(service)).at(-1)).toMatchObject({ uuid })
    expect(await burnsOf(service)).toHaveLength(4)
  })

  it('executes nothing with a key that is revoked or suspended while its order is quoted', async () => {
    const service = await start({})
    for (const action of ['delete_api_key', 'suspend_api_key', 'revoke_all_api_keys']) {
      const { apiKey, keyId } = await createKey(service, service.wallet)
      const uuid = await createOrder(service, service.wallet)
      await chain.plan({ on: '/quote', do: 'delay', ms: 1_500, times: 1 })
      const executing = service.call(`/orders/${uuid}/execute`, {
        method: 'POST',
        headers: { 'X-API-Key': apiKey },
      })
      await new Promise((resolve) => setTimeout(resolve, 300))
      const members =
        action === 'revoke_all_api_keys' ? { action, cancelOpenOrders: false } : { action, keyId }
      const [path, method] = {
        delete_api_key: [`/api-keys/${keyId}`, 'DELETE'],
        suspend_api_key: [`/api-keys/${keyId}/suspend`, 'POST'],
        revoke_all_api_keys: ['/api-keys/revoke-all', 'POST'],
      }[action] as [string, string]
      await answered(await service.call(path, { ...json(service.wallet.sign(members)), method }))
      await refused(await executing, 'apiKeyInactive')
    }
    expect(await service.onChain()).toEqual([])
  })

  it('that is suspended does nothing but take rights away', async () => {
    const service = await start({})
    const { wallet } = service
    const [uuid = '', other = ''] = await orders(service, 2)
    const { keyId } = await createKey(service, wallet)
    await rows(
      service.world.db,
      sql`INSERT INTO suspended_wallets VALUES (${wallet.address}, 'attack', now())`,
    )
    const post = (path: string, members: Record<string, unknown>, method = 'POST') =>
      service.call(path, { ...json(wallet.sign(members)), method })
    const execute = { action: 'execute_order', uuid }
    await refused(await post(`/orders/${uuid}/execute`, execute), 'walletSuspended')
    await refused(await service.call('/orders/new', json(wallet.order())), 'walletSuspended')
    await refused(
      await service.call('/orders/new', json(wallet.committedOrder())),
      'walletSuspended',
    )
    await refused(
      await post('/sessions', { action: 'create_session', ttlSeconds: 60 }),
      'walletSuspended',
    )
    const grant = { action: 'create_api_key', keyName: 'more', permissions: [] }
    await refused(await post('/api-keys', grant), 'walletSuspended')
    const onChain = { action: 'cancel_order', uuid, onChain: true }
    await refused(await post(`/orders/${uuid}/cancel`, onChain, 'PATCH'), 'walletSuspended')
    await answered(
      await post(`/orders/${other}/cancel`, { action: 'cancel_order', uuid: other }, 'PATCH'),
    )
    await answered(await post(`/api-keys/${keyId}`, { action: 'delete_api_key', keyId }, 'DELETE'))
    expect(await service.onChain()).toEqual([])
  })
})

describe("a key's amount of a day", () => {
  it('is never exceeded by an order that is executed while its validTo passes', async () => {
    const chain = await startOwnChain()
    const service = await startSettling(chain, { engine: 'Postgres' })
    const { apiKey } = await createKey(service, service.wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '1000000' } },
    })
    const headers = { 'X-API-Key': apiKey }
    const place = (validTo: string) =>
      service.call('/orders/new', json(service.wallet.order({ validTo }), headers))
    let settled = 0n
    for (let round = 0; round < 5; round++) {
      const validTo = new Date(service.clock.now + 60).toISOString()
      const placed = await place(validTo)
      if (placed.status !== 201) break
      const { data } = (await placed.json()) as { data: { uuid: string } }
      await chain.plan({ on: '/quote', do: 'delay', ms: 400, times: 1 })
      const executing = service.call(`/orders/${data.uuid}/execute`, { method: 'POST', headers })
      await new Promise((resolve) => setTimeout(resolve, 150))
      service.clock.now += 120
      const next = await place(new Date(service.clock.now + 600_000).toISOString())
      const executed = await executing
      if (executed.status === 200) settled += 1_000_000n
      if (next.status === 201) {
        const { data: second } = (await next.json()) as { data: { uuid: string } }
        await service.call(`/orders/${second.uuid}/cancel`, { method: 'PATCH', headers })
      }
      expect(executed.status).toBe(400)
    }
    expect(settled).toBeLessThanOrEqual(1_000_000n)
    await service.close()
    await chain.stop()
  })
})
