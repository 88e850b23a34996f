import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { expireOrders } from '../../src/orders/expire.ts'
import type { NewOrder } from '../../src/orders/order.ts'
import { orderHash } from '../../src/orders/validate.ts'
import { startService } from '../http/documented.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const OTHER_TOKEN = INPUT_TOKEN.replace(/\..*/, '.another-token')
const DAY = 86_400_000

describe.each(ENGINES)("A key's limits on %s", (engine) => {
  let service: Service
  let wallet: Wallet
  beforeAll(async () => {
    service = await startService(engine, { env: { MAX_ACTIVE_KEYS_PER_WALLET: '1000' } })
    wallet = newWallet(service)
    await fund(service, wallet)
  })
  afterAll(() => service.close())

  const grant = (changed: object) =>
    service.call(
      '/api-keys',
      json(
        newWallet(service).sign({
          action: 'create_api_key',
          keyName: 'bot',
          permissions: ['create', 'execute', 'cancel'],
          ...changed,
        }),
      ),
    )
  const placeWith = (apiKey: string, members: Partial<NewOrder> = {}, extra: object = {}) =>
    service.call(
      '/orders/new',
      json({ ...wallet.order(members), ...extra }, { 'X-API-Key': apiKey }),
    )
  const act = (verb: 'execute' | 'cancel', apiKey: string, uuid: string) =>
    service.call(`/orders/${uuid}/${verb}`, {
      method: verb === 'execute' ? 'POST' : 'PATCH',
      headers: { 'X-API-Key': apiKey },
    })
  /** A refusal that leaves no order, and nothing reserved. */
  const refusedFor = async (limit: string, call: () => Promise<Response>) => {
    const before = await traces()
    const { details } = await refused(await call(), 'limitExceeded')
    expect(await traces()).toEqual(before)
    expect(details).toMatchObject({ limit })
    expect(details).toHaveProperty('value')
    expect(details).toHaveProperty('allowed')
    return details
  }
  const traces = () =>
    rows<{ orders: number; reservations: number; spent: string }>(
      service.world.db,
      sql`SELECT (SELECT count(*) FROM orders)::int AS orders, (SELECT count(*) FROM key_reservations)::int AS reservations,
        (SELECT coalesce(sum(amount), 0) FROM key_spending)::text AS spent`,
    )

  describe('in its grant', () => {
    it('are answered, listed and kept as they were signed', async () => {
      const owner = newWallet(service)
      const limits = {
        ipAllowlist: ['127.0.0.1', '192.0.2.0/24', '2001:db8::/32'],
        tokens: [INPUT_TOKEN, OUTPUT_TOKEN, '.stx'],
        recipients: [wallet.address],
        maxAmountIn: { [INPUT_TOKEN]: { perOrder: '5', perDay: '50' } },
        ownOrdersOnly: true,
        maxOpenOrders: 7,
        label: 'prod-mm-alpha',
        justification: 'market making, ticket 4711',
        rateLimit: 50,
      }
      const body = owner.sign({
        action: 'create_api_key',
        keyName: 'bot',
        permissions: ['create', 'execute'],
        ...limits,
      })
      const created = await answered<{ keyId: string }>(
        await service.call('/api-keys', json(body)),
        201,
      )
      expect(created).toMatchObject(limits)
      const headers = owner.signHeaders({ action: 'get_api_key', keyId: created.keyId })
      const shown = await answered<{ apiKey: { ipAllowlist: string[] } }>(
        await service.call(`/api-keys/${created.keyId}`, { headers }),
      )
      const { ipAllowlist: _, ...rest } = limits
      expect(shown.apiKey).toMatchObject(rest)
      expect(shown.apiKey.ipAllowlist).toEqual(['127.0.0.1/32', '192.0.2.0/24', '2001:db8::/32'])
    })

    it.each([
      ['an address that is none', { ipAllowlist: ['192.0.2.256'] }],
      ['a range with bits beyond its prefix', { ipAllowlist: ['192.0.2.1/24'] }],
      ['a v6 range with bits beyond its prefix', { ipAllowlist: ['2001:db8::1/32'] }],
      ['a prefix that is too long', { ipAllowlist: ['192.0.2.0/33'] }],
      ['no address', { ipAllowlist: [] }],
      ['21 addresses', { ipAllowlist: Array.from({ length: 21 }, (_, n) => `192.0.2.${n}`) }],
      ['an address twice', { ipAllowlist: ['192.0.2.1', '192.0.2.1'] }],
      ['an address that is a host name', { ipAllowlist: ['localhost'] }],
      ['9 requests a minute', { rateLimit: 9 }],
      ['101 requests a minute', { rateLimit: 101 }],
      ['a fraction of a request', { rateLimit: 10.5 }],
      ['no token', { tokens: [] }],
      ['a token that is no contract', { tokens: ['STX'] }],
      ['a token of another network', { tokens: ['SP000000000000000000002Q6VF78.pox'] }],
      ['a recipient that is a contract', { recipients: [INPUT_TOKEN] }],
      ['a recipient that is none', { recipients: ['ST123'] }],
      ['an amount of nothing', { maxAmountIn: {} }],
      ['an amount without a limit', { maxAmountIn: { [INPUT_TOKEN]: {} } }],
      ['an amount of zero', { maxAmountIn: { [INPUT_TOKEN]: { perDay: '0' } } }],
      ['an amount as a number', { maxAmountIn: { [INPUT_TOKEN]: { perDay: 5 } } }],
      ['an amount by the hour', { maxAmountIn: { [INPUT_TOKEN]: { perHour: '5' } } }],
      [
        'an order above its day',
        { maxAmountIn: { [INPUT_TOKEN]: { perOrder: '6', perDay: '5' } } },
      ],
      [
        'an amount of a token that is not among its tokens',
        {
          tokens: [OUTPUT_TOKEN],
          maxAmountIn: { [INPUT_TOKEN]: { perDay: '5' } },
        },
      ],
      ...['__proto__', 'constructor', 'toString', 'hasOwnProperty'].map(
        (name): [string, object] => [
          `an amount of a token named ${name}, beside one that there is`,
          JSON.parse(`{"maxAmountIn":{"${name}":{"perDay":"5"},"${INPUT_TOKEN}":{"perDay":"5"}}}`),
        ],
      ),
      [
        'an amount with a member named __proto__',
        JSON.parse(
          `{"maxAmountIn":{"${INPUT_TOKEN}":{"perDay":"5","__proto__":{"perOrder":"1"}}}}`,
        ),
      ],
      ['a member named __proto__', JSON.parse('{"__proto__":{"rateLimit":10}}')],
      [
        'own orders only, and no way to make one',
        { ownOrdersOnly: true, permissions: ['execute'] },
      ],
      ['own orders only, in words', { ownOrdersOnly: 'yes' }],
      ['no open order', { maxOpenOrders: 0 }],
      ['fewer open orders than none', { maxOpenOrders: -1 }],
      ['10001 open orders', { maxOpenOrders: 10_001 }],
      ['half an open order', { maxOpenOrders: 1.5 }],
      ['open orders in words', { maxOpenOrders: '5' }],
      ['an empty label', { label: '' }],
      ['a label with a line break', { label: 'a\nb' }],
      ['a justification of 201 characters', { justification: 'a'.repeat(201) }],
      ['a limit that nobody knows', { maxSlippage: 1 }],
      ['a scope that is in no catalogue', { permissions: ['withdraw'] }],
    ])('are refused with %s', async (_, changed) => {
      await changesNothing(service, async () => refused(await grant(changed), 'invalidRequest'))
    })

    it.each([
      ['20 addresses', { ipAllowlist: Array.from({ length: 20 }, (_, n) => `192.0.2.${n}`) }],
      ['10 requests a minute', { rateLimit: 10 }],
      ['100 requests a minute', { rateLimit: 100 }],
      [
        'an order as large as its day',
        { maxAmountIn: { [INPUT_TOKEN]: { perOrder: '5', perDay: '5' } } },
      ],
      ['own orders only', { ownOrdersOnly: true, permissions: ['create'] }],
      ['1 open order', { maxOpenOrders: 1 }],
      ['10000 open orders', { maxOpenOrders: 10_000 }],
      ['other orders too, in so many words', { ownOrdersOnly: false }],
      ['a justification of 200 characters', { justification: 'a'.repeat(200) }],
    ])('may be %s', async (_, changed) => {
      await answered(await grant(changed), 201)
    })
  })

  it('let it be used from the addresses that they name, and from no other', async () => {
    const { apiKey } = await createKey(service, wallet, {
      ipAllowlist: ['192.0.2.0/24', '2001:db8::/32'],
    })
    const from = (ip: string) => service.call('/orders', { headers: { 'X-API-Key': apiKey }, ip })
    for (const ip of ['192.0.2.0', '192.0.2.255', '2001:db8::1', '2001:db8:ffff::1'])
      await answered(await from(ip))
    for (const ip of ['192.0.1.255', '192.0.3.0', '2001:db9::', '127.0.0.1'])
      await changesNothing(service, async () => refused(await from(ip), 'ipNotAllowed'))
  })

  it('let its orders trade the tokens that they name, in and out', async () => {
    const { apiKey } = await createKey(service, wallet, { tokens: [INPUT_TOKEN, OUTPUT_TOKEN] })
    await answered(await placeWith(apiKey), 201)
    for (const members of [{ inputToken: OTHER_TOKEN }, { outputToken: OTHER_TOKEN }]) {
      const details = await refusedFor('tokens', () => placeWith(apiKey, members))
      expect(details).toMatchObject({ value: OTHER_TOKEN, allowed: [INPUT_TOKEN, OUTPUT_TOKEN] })
    }
    const uuid = await createOrder(service, wallet, { outputToken: OTHER_TOKEN })
    await refusedFor('tokens', () => act('execute', apiKey, uuid))
    await answered(await act('cancel', apiKey, uuid))
  })

  it("are the owner's word for the recipients that they name, and for no other", async () => {
    const [friend, thief] = [newWallet(service).address, newWallet(service).address]
    const { apiKey } = await createKey(service, wallet, { recipients: [friend] })
    const placed = await answered<{ data: { recipient: string } }>(
      await placeWith(apiKey, { recipient: friend }),
      201,
    )
    expect(placed.data.recipient).toBe(friend)
    await answered(await placeWith(apiKey), 201)
    await refusedFor('recipients', () => placeWith(apiKey, { recipient: thief }))
    const order = wallet.order({ recipient: thief })
    const { message, signature } = wallet.sign({
      action: 'create_order',
      orderHash: orderHash(order),
    })
    const vouched = json(
      { ...order, message, messageSignature: signature },
      { 'X-API-Key': apiKey },
    )
    await refusedFor('recipients', () => service.call('/orders/new', vouched))
    const without = await createKey(service, wallet)
    await refused(await placeWith(without.apiKey, { recipient: friend }), 'recipientNotGranted')
  })

  it('let an order be as large as they say and not one unit larger', async () => {
    const { apiKey } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perOrder: '1000' } },
    })
    await answered(await placeWith(apiKey, { amountIn: '1000' }), 201)
    const details = await refusedFor('maxAmountIn.perOrder', () =>
      placeWith(apiKey, { amountIn: '1001' }),
    )
    expect(details).toEqual({
      limit: 'maxAmountIn.perOrder',
      token: INPUT_TOKEN,
      value: '1001',
      allowed: '1000',
    })
    await refusedFor('maxAmountIn', () =>
      placeWith(apiKey, { inputToken: OTHER_TOKEN, amountIn: '1' }),
    )
    const uuid = await createOrder(service, wallet, { amountIn: '1001' })
    await refusedFor('maxAmountIn.perOrder', () => act('execute', apiKey, uuid))
  })

  it('let a day have what they say, and give back what was cancelled or expired', async () => {
    const { apiKey } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '1000' } },
    })
    service.clock.now = (Math.floor(service.clock.now / DAY) + 1) * DAY
    const place = (amountIn: string, more: Partial<NewOrder> = {}) =>
      placeWith(apiKey, { amountIn, ...more })
    const uuid = (await answered<{ data: { uuid: string } }>(await place('600'), 201)).data.uuid
    const details = await refusedFor('maxAmountIn.perDay', () => place('401'))
    expect(details).toEqual({
      limit: 'maxAmountIn.perDay',
      token: INPUT_TOKEN,
      value: '401',
      allowed: '1000',
      left: '400',
      resetsAt: new Date(service.clock.now + DAY).toISOString(),
    })
    const validTo = new Date(service.clock.now + 1_000).toISOString()
    await answered(await place('400', { validTo }), 201)
    await refusedFor('maxAmountIn.perDay', () => place('1'))

    await answered(await act('cancel', apiKey, uuid))
    await answered(await place('600'), 201)
    await refusedFor('maxAmountIn.perDay', () => place('1'))
    service.clock.now += 1_000
    await refused(await place('401'), 'limitExceeded')
    await answered(await place('400'), 201)
    await refusedFor('maxAmountIn.perDay', () => place('1'))

    service.clock.now += DAY
    await answered(await place('1000'), 201)
    await refusedFor('maxAmountIn.perDay', () => place('1'))
  })

  it('give back what an order had that failed', async () => {
    const { apiKey } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '10' } },
    })
    const order = wallet.order({ amountIn: '10' })
    await answered(await service.call('/orders/new', json(order, { 'X-API-Key': apiKey })), 201)
    await rows(
      service.world.db,
      sql`UPDATE orders SET status = 'failed' WHERE uuid = ${order.uuid}`,
    )
    await answered(await placeWith(apiKey, { amountIn: '10' }), 201)
  })

  it('count the same order once, however often it is sent', async () => {
    const { apiKey } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '10' } },
    })
    const order = json(wallet.order({ amountIn: '6' }), { 'X-API-Key': apiKey })
    await answered(await service.call('/orders/new', order), 201)
    const before = await traces()
    for (let time = 0; time < 3; time++)
      await answered(await service.call('/orders/new', order), 200)
    expect(await traces()).toEqual(before)
    await answered(await placeWith(apiKey, { amountIn: '4' }), 201)
    await answered(await service.call('/orders/new', order), 200)
  })

  it('count what it executes that was made without it, once', async () => {
    const { apiKey } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '1000000' } },
    })
    const [first, second] = [await createOrder(service, wallet), await createOrder(service, wallet)]
    await answered(await act('execute', apiKey, first))
    await refusedFor('maxAmountIn.perDay', () => act('execute', apiKey, second))
    await refusedFor('maxAmountIn.perDay', () => placeWith(apiKey, { amountIn: '1' }))
  })

  it('lose nothing of a day to what is refused for another reason', async () => {
    const { apiKey } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '1000' } },
    })
    const before = await traces()
    const order = wallet.order({ amountIn: '1000' })
    const { signature } = newWallet(service).order({ amountIn: '1000', uuid: order.uuid })
    const forged = json({ ...order, signature }, { 'X-API-Key': apiKey })
    await refused(await service.call('/orders/new', forged), 'signatureInvalid')
    expect(await traces()).toEqual(before)

    const taken = await createOrder(service, wallet, { amountIn: '1' })
    const [without] = await traces()
    await refused(await placeWith(apiKey, { amountIn: '1000', uuid: taken }), 'orderConflict')
    const routeless = await createOrder(service, wallet, {
      amountIn: '1000',
      outputToken: OTHER_TOKEN,
    })
    await refused(await act('execute', apiKey, routeless), 'executionFailed')
    expect(await traces()).toEqual([{ ...without, orders: (without?.orders ?? 0) + 1 }])
    await answered(await placeWith(apiKey, { amountIn: '1000' }), 201)
    await refusedFor('maxAmountIn.perDay', () => placeWith(apiKey, { amountIn: '1' }))
  })

  it('keep what the making of an order took when its execution is refused', async () => {
    const { apiKey } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '1000' } },
    })
    const order = wallet.order({ amountIn: '1000', outputToken: OTHER_TOKEN })
    await answered(await service.call('/orders/new', json(order, { 'X-API-Key': apiKey })), 201)
    for (let time = 0; time < 2; time++)
      await refused(await act('execute', apiKey, order.uuid), 'executionFailed')
    await refusedFor('maxAmountIn.perDay', () => placeWith(apiKey, { amountIn: '1' }))
    await answered(await act('cancel', apiKey, order.uuid))
    await answered(await placeWith(apiKey, { amountIn: '1000' }), 201)
  })

  describe('on open orders', () => {
    const place = async (apiKey: string, members: Partial<NewOrder> = {}) =>
      (await answered<{ data: { uuid: string } }>(await placeWith(apiKey, members), 201)).data.uuid
    const isFull = async (apiKey: string, value: number, allowed: number) => {
      const details = await refusedFor('maxOpenOrders', () => placeWith(apiKey))
      expect(details).toEqual({ limit: 'maxOpenOrders', value, allowed })
    }
    const become = (status: string, uuid: string) =>
      rows(service.world.db, sql`UPDATE orders SET status = ${status} WHERE uuid = ${uuid}`)
    const update = async (keyId: string, maxOpenOrders: number | null) => {
      service.clock.now += 1
      const change = wallet.sign({ action: 'update_api_key', keyId, maxOpenOrders })
      const init = { ...json(change), method: 'PATCH' }
      await answered(await service.call(`/api-keys/${keyId}`, init))
    }

    it('let as many be unended at once as they say, of this key alone', async () => {
      const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 2 })
      const other = await createKey(service, wallet, { maxOpenOrders: 1 })
      await createOrder(service, wallet)
      await place(other.apiKey)
      await isFull(other.apiKey, 2, 1)
      await place(apiKey)
      await place(apiKey)
      await isFull(apiKey, 3, 2)
    })

    it.each([
      'executing',
      'broadcasted',
    ])('count an order that is %s: its tokens can still move', async (status) => {
      const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 1 })
      const validTo = new Date(service.clock.now + 1_000).toISOString()
      await become(status, await place(apiKey, { validTo }))
      await isFull(apiKey, 2, 1)
      service.clock.now += 1_000
      await isFull(apiKey, 2, 1)
    })

    it.each([
      'confirmed',
      'failed',
      'cancelled',
      'expired',
    ])('make room when an order is %s', async (status) => {
      const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 1 })
      await become(status, await place(apiKey))
      await place(apiKey)
      await isFull(apiKey, 2, 1)
    })

    it('make room when an order is cancelled by its key or its owner', async () => {
      const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 1 })
      await answered(await act('cancel', apiKey, await place(apiKey)))
      const uuid = await place(apiKey)
      await isFull(apiKey, 2, 1)
      const cancel = { ...json(wallet.sign({ action: 'cancel_order', uuid })), method: 'PATCH' }
      await answered(await service.call(`/orders/${uuid}/cancel`, cancel))
      await place(apiKey)
    })

    it('make room in the millisecond in which an order expires, whether or not that is stored', async () => {
      const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 1 })
      const expiry = service.clock.now + 1_000
      await place(apiKey, { validTo: new Date(expiry).toISOString() })
      service.clock.now = expiry - 1
      await isFull(apiKey, 2, 1)
      service.clock.now = expiry
      await place(apiKey, { validTo: new Date(expiry + 1_000).toISOString() })
      service.clock.now += 1_000
      await expireOrders(service.world, 1_000)
      await place(apiKey)
    })

    it('return the stored order when it is sent again, also when there is no room', async () => {
      const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 1 })
      const order = json(wallet.order(), { 'X-API-Key': apiKey })
      await answered(await service.call('/orders/new', order), 201)
      await answered(await service.call('/orders/new', order), 200)
      await isFull(apiKey, 2, 1)
    })

    it('hold from the change on that sets them, for the orders before it as well, until it is lifted', async () => {
      const { apiKey, keyId } = await createKey(service, wallet)
      for (let order = 0; order < 3; order++) await place(apiKey)
      await update(keyId, 2)
      await isFull(apiKey, 4, 2)
      await update(keyId, 4)
      await place(apiKey)
      await isFull(apiKey, 5, 4)
      await update(keyId, null)
      await place(apiKey)
    })

    it('reserve nothing of a day for an order that they refuse, and the other way round', async () => {
      const { apiKey } = await createKey(service, wallet, {
        maxOpenOrders: 1,
        maxAmountIn: { [INPUT_TOKEN]: { perDay: '10' } },
      })
      const uuid = await place(apiKey, { amountIn: '6' })
      await refusedFor('maxOpenOrders', () => placeWith(apiKey, { amountIn: '4' }))
      await answered(await act('cancel', apiKey, uuid))
      await refusedFor('maxAmountIn.perDay', () => placeWith(apiKey, { amountIn: '11' }))
      await place(apiKey, { amountIn: '10' })
    })

    it("count an order for another recipient, with the owner's word for it", async () => {
      const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 1 })
      const vouched = () => {
        const order = wallet.order({ recipient: newWallet(service).address })
        const { message, signature } = wallet.sign({
          action: 'create_order',
          orderHash: orderHash(order),
        })
        return service.call(
          '/orders/new',
          json({ ...order, message, messageSignature: signature }, { 'X-API-Key': apiKey }),
        )
      }
      await answered(await vouched(), 201)
      await refusedFor('maxOpenOrders', vouched)
    })
  })

  it('admit as many requests a minute as they say and not one more', async () => {
    const { apiKey, keyId } = await createKey(service, newWallet(service), { rateLimit: 10 })
    service.clock.now = (Math.floor(service.clock.now / 60_000) + 1) * 60_000
    const use = () => service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    for (let request = 0; request < 10; request++) await answered(await use())
    await changesNothing(service, async () => refused(await use(), 'rateLimited'))
    const [row] = await rows(
      service.world.db,
      sql`SELECT total_requests::int AS total FROM key_counters WHERE key_id = ${keyId}`,
    )
    expect(row).toEqual({ total: 10 })
    service.clock.now += 60_000
    await answered(await use())
  })

  it('let it live until the millisecond before its end', async () => {
    const expiresAt = service.clock.now + 1_000
    const { apiKey } = await createKey(service, newWallet(service), { expiresAt })
    const use = () => service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    service.clock.now = expiresAt - 1
    await answered(await use())
    service.clock.now = expiresAt
    await changesNothing(service, async () => {
      const { details } = await refused(await use(), 'apiKeyInactive')
      expect(details).toEqual({ reason: 'expired' })
    })
  })

  it('let it touch only its own orders, and leave them to it alone', async () => {
    const { apiKey } = await createKey(service, wallet, { ownOrdersOnly: true })
    const other = await createKey(service, wallet)
    const mine = wallet.order()
    await answered(await service.call('/orders/new', json(mine, { 'X-API-Key': apiKey })), 201)
    const theirs = wallet.order()
    await answered(
      await service.call('/orders/new', json(theirs, { 'X-API-Key': other.apiKey })),
      201,
    )
    const nobodys = await createOrder(service, wallet)
    for (const uuid of [theirs.uuid, nobodys])
      for (const verb of ['execute', 'cancel'] as const) {
        const details = await refusedFor('ownOrdersOnly', () => act(verb, apiKey, uuid))
        expect(details?.value).toBe(uuid)
        expect(await statusOf(uuid)).toBe('open')
      }
    await answered(await act('cancel', apiKey, mine.uuid))
    await answered(await act('cancel', other.apiKey, nobodys))
  })

  const statusOf = async (uuid: string) =>
    (await answered<{ data: { status: string } }>(await service.call(`/orders/${uuid}`))).data
      .status
})

describe('An operator', () => {
  it('may have scopes of his own, which keys carry and GET /scopes describes', async () => {
    const service = await startService('PGlite', {
      env: {
        EXTRA_SCOPES: 'withdraw=Request withdrawals; rfq=Answer requests for quotes; null=Nothing',
      },
    })
    const wallet = newWallet(service)
    const permissions = ['read', 'execute', 'null']
    const { apiKey } = await createKey(service, wallet, { permissions })
    const me = await service.call('/me', { headers: { 'X-API-Key': apiKey } })
    expect(await answered(me)).toMatchObject({ permissions })
    const { scopes } = await answered<{ scopes: { name: string }[] }>(await service.call('/scopes'))
    expect(scopes.map(({ name }) => name)).toEqual([
      'create',
      'execute',
      'cancel',
      'read',
      'withdraw',
      'rfq',
      'null',
    ])
    expect(scopes[4]).toEqual({ name: 'withdraw', description: 'Request withdrawals' })
    const { scopes: told } = await answered(await service.call('/info'))
    expect(told).toEqual(['create', 'execute', 'cancel', 'read', 'withdraw', 'rfq', 'null'])
    const body = wallet.sign({ action: 'create_api_key', keyName: 'b', permissions: ['transfer'] })
    await refused(await service.call('/api-keys', json(body)), 'invalidRequest')
    await service.close()
  })
})
