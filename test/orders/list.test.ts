import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { ORDER_STATUSES, type Order } from '../../src/orders/order.ts'
import { startService } from '../http/documented.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

interface Page {
  data: Order[]
  nextCursor?: string
}

describe.each(ENGINES)('The list of orders on %s', (engine) => {
  let service: Service
  let owner: Wallet
  /** One order of each status. */
  const uuids = new Map<string, string>()
  beforeAll(async () => {
    service = await startService(engine, { env: { EXTRA_SCOPES: 'rfq=Answer requests' } })
    owner = newWallet(service)
    for (const status of ORDER_STATUSES) {
      const validTo = new Date(service.clock.now + 1).toISOString()
      const uuid = await createOrder(service, owner, status === 'expired' ? { validTo } : {})
      uuids.set(status, uuid)
      if (status !== 'expired')
        await rows(service.world.db, sql`UPDATE orders SET status = ${status} WHERE uuid = ${uuid}`)
    }
    service.clock.now += 1
  })
  afterAll(() => service.close())

  const list = async (query: string, headers: Record<string, string> = {}) =>
    answered<Page>(await service.call(`/orders?${query}`, { headers }))
  const seen = ({ data }: Page) => new Map(data.map(({ status, uuid }) => [status, uuid]))

  it('shows the uuid of an order that could still be burnt on chain to its owner alone', async () => {
    const stranger = newWallet(service)
    const { apiKey: ownKey } = await createKey(service, owner, { permissions: ['execute'] })
    const { apiKey: strangersKey } = await createKey(service, stranger)
    const whole = new Map(uuids)
    const guarded = new Map(uuids)
    for (const status of ['open', 'executing']) guarded.set(status, undefined as never)

    const query = `owner=${owner.address}`
    const signed = (by: Wallet) => by.signHeaders({ action: 'list_orders' })
    expect(seen(await list(query))).toEqual(guarded)
    expect(seen(await list(query, { 'X-API-Key': strangersKey }))).toEqual(guarded)
    expect(seen(await list(query, signed(stranger)))).toEqual(guarded)
    expect(seen(await list(query, { 'X-API-Key': ownKey }))).toEqual(whole)
    expect(seen(await list(query, { Authorization: `bearer ${ownKey}` }))).toEqual(whole)
    expect(seen(await list(query, signed(owner)))).toEqual(whole)
    const everyone = await list('', signed(owner))
    expect(seen(everyone)).toEqual(whole)
    expect(JSON.stringify(await list(query))).not.toContain(uuids.get('open'))
  })

  it('shows a key that may not act on its owner’s other orders the uuids of its own', async () => {
    const wallet = newWallet(service)
    const others = await createOrder(service, wallet)
    const confined = { 'X-API-Key': '' }
    const page = () => list(`owner=${wallet.address}`, confined)
    const uuidsOf = ({ data }: Page) => data.map(({ uuid }) => uuid)
    const own = await createKey(service, wallet, { ownOrdersOnly: true })
    confined['X-API-Key'] = own.apiKey
    expect(uuidsOf(await page())).toEqual([undefined])
    const order = wallet.order()
    await answered(await service.call('/orders/new', json(order, confined)), 201)
    expect(uuidsOf(await page())).toEqual([order.uuid, undefined])
    confined['X-API-Key'] = (await createKey(service, wallet, { permissions: [] })).apiKey
    expect(uuidsOf(await page())).toEqual([undefined, undefined])
    const ofAnotherService = await createKey(service, wallet, { permissions: ['rfq'] })
    confined['X-API-Key'] = ofAnotherService.apiKey
    expect(uuidsOf(await page())).toEqual([undefined, undefined])
    confined['X-API-Key'] = (await createKey(service, wallet, { permissions: ['read'] })).apiKey
    expect(uuidsOf(await page())).toEqual([order.uuid, others])
    confined['X-API-Key'] = (await createKey(service, wallet)).apiKey
    expect(uuidsOf(await page())).toEqual([order.uuid, others])
  })

  it('may be read with one message as often as it is fresh', async () => {
    const headers = owner.signHeaders({ action: 'list_orders' })
    await changesNothing(service, async () => {
      await list('', headers)
      await list('', headers)
    })
  })

  it('refuses half of a proof instead of showing less', async () => {
    const headers = owner.signHeaders({ action: 'list_orders' })
    for (const missing of Object.keys(headers)) {
      const { [missing]: _, ...rest } = headers
      await refused(await service.call('/orders', { headers: rest }), 'signatureMissing')
    }
  })

  it.each(ORDER_STATUSES)('selects the orders that are %s', async (status) => {
    const { data } = await list(`owner=${owner.address}&status=${status}`, {
      ...owner.signHeaders({ action: 'list_orders' }),
    })
    expect(data.map(({ uuid }) => uuid)).toEqual([uuids.get(status)])
  })

  it('goes through pages without a gap or a repetition, while orders come in', async () => {
    const wallet = newWallet(service)
    const made: string[] = []
    for (let order = 0; order < 7; order++) made.unshift(await createOrder(service, wallet))
    const headers = wallet.signHeaders({ action: 'list_orders' })
    const found: (string | undefined)[] = []
    let cursor: string | undefined
    do {
      const query = `owner=${wallet.address}&limit=3${cursor ? `&cursor=${cursor}` : ''}`
      const page = await list(query, headers)
      expect(page.data.length).toBe(found.length < 6 ? 3 : 1)
      found.push(...page.data.map(({ uuid }) => uuid))
      cursor = page.nextCursor
      await createOrder(service, wallet)
    } while (cursor !== undefined)
    expect(found).toEqual(made)
  })

  it('has no next page after a full last one', async () => {
    const wallet = newWallet(service)
    await createOrder(service, wallet)
    await createOrder(service, wallet)
    expect(await list(`owner=${wallet.address}&limit=2`)).not.toHaveProperty('nextCursor')
    expect(await list(`owner=${wallet.address}&limit=1`)).toHaveProperty('nextCursor')
    expect(await list(`owner=${newWallet(service).address}`)).toEqual({
      status: 'success',
      data: [],
    })
  })

  it.each([
    'limit=0',
    'limit=101',
    'limit=-1',
    'limit=1.5',
    'limit=1e1',
    'limit=0x10',
    'limit=',
    'limit=%20',
    'limit=ten',
    'limit=%2B5',
    'limit=05',
    'status=done',
    'status=',
    'status=Open',
    'cursor=',
    'cursor=x',
    'cursor=-1',
    'cursor=1.5',
    `cursor=${'9'.repeat(16)}`,
    'owner=',
    'owner=a%20b',
    'owner=%00',
    `owner=${'x'.repeat(97)}`,
    'owner=%C3%A4',
    'owner=a&owner=b',
    'limit=5&limit=5',
    'sort=asc',
    '__proto__=1',
    'constructor=1',
    'toString=1',
    'apiKey=ck_live_x',
    'x',
  ])('refuses the query %s', async (query) => {
    const { details } = await refused(await service.call(`/orders?${query}`), 'invalidRequest')
    expect(details?.issues).toHaveLength(1)
  })

  it('takes a key in headers only', async () => {
    const { apiKey } = await createKey(service, owner)
    const response = await service.call(`/orders?apiKey=${apiKey}`)
    expect(await response.clone().text()).not.toContain(apiKey.slice(12, -4))
    await refused(response, 'invalidRequest')
    expect(service.logged.join('\n')).not.toContain(apiKey.slice(12, -4))
  })
})
