import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { EVERYWHERE, type Service, startService } from '../support/service.ts'
import { createSigningKey, SIGNED_ENV, signed } from '../support/signed.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

/** What each request costs the database. BEGIN and COMMIT are not counted: see `transactions`. */
describe.each(EVERYWHERE)('a request on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let key: Record<string, string>
  beforeAll(async () => {
    service = await startService(engine, { env: SIGNED_ENV })
    wallet = newWallet(service)
    await fund(service, wallet)
    key = { 'X-API-Key': (await createKey(service, wallet)).apiKey }
    // The operator's first transaction asks the chain where to start, and stores it.
    const uuid = await createOrder(service, wallet)
    await service.call(`/orders/${uuid}/execute`, { method: 'POST', headers: key })
  })
  afterAll(() => service.close())

  async function statementsOf(call: () => Promise<Response>): Promise<[number, number]> {
    const before = service.statements.length
    const { status } = await call()
    return [status, service.statements.length - before]
  }

  it('costs 4 statements to create a key: the message is consumed, names are compared, the key is inserted, its MAC and event are stored', async () => {
    const body = wallet.sign({ action: 'create_api_key', keyName: 'counted', permissions: [] })
    expect(await statementsOf(() => service.call('/api-keys', json(body)))).toEqual([201, 4])
  })

  it('costs 1 statement to create an order', async () => {
    const order = wallet.order()
    expect(await statementsOf(() => service.call('/orders/new', json(order)))).toEqual([201, 1])
  })

  it('costs 2 statements to create an order by key: the gate, the order', async () => {
    const order = wallet.order()
    expect(await statementsOf(() => service.call('/orders/new', json(order, key)))).toEqual([
      201, 2,
    ])
  })

  it('costs 4 statements to create an order by key with maxOpenOrders: the gate, the lock, the count, the order', async () => {
    const { apiKey } = await createKey(service, wallet, { maxOpenOrders: 5 })
    const order = json(wallet.order(), { 'X-API-Key': apiKey })
    expect(await statementsOf(() => service.call('/orders/new', order))).toEqual([201, 4])
  })

  it('costs 2 statements to cancel an order by key: the gate, the order', async () => {
    const uuid = await createOrder(service, wallet)
    const cancel = () => service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers: key })
    expect(await statementsOf(cancel)).toEqual([200, 2])
  })

  it('costs 3 statements before the broadcast and 1 after it to execute by key: the gate, the lock, the claim', async () => {
    const uuid = await createOrder(service, wallet)
    const execute = () => service.call(`/orders/${uuid}/execute`, { method: 'POST', headers: key })
    expect(await statementsOf(execute)).toEqual([200, 4])
  })

  it('costs 1 statement more where it is signed, to use its nonce up, and 1 once for a key and process, to read the key', async () => {
    const { signer } = await createSigningKey(service, wallet)
    const order = wallet.order()
    const call = async (path: string, init: RequestInit) => {
      const request = await signed(service, signer, path, init)
      return statementsOf(() => service.call(path, request))
    }
    expect(await call('/orders/new', json(order))).toEqual([201, 4])
    expect(await call('/orders/new', json(wallet.order()))).toEqual([201, 3])
    expect(await call(`/orders/${order.uuid}/execute`, { method: 'POST' })).toEqual([200, 5])
    const other = await createOrder(service, wallet)
    expect(await call(`/orders/${other}/cancel`, { method: 'PATCH' })).toEqual([200, 3])
    expect(await call('/me', {})).toEqual([200, 3])
  })

  it('costs no statement to refuse a signature that covers too little, is too old or is not of its body', async () => {
    const { signer } = await createSigningKey(service, wallet)
    const { headers } = await signed(service, signer, '/me')
    const input = headers['signature-input'] ?? ''
    for (const given of [
      input.replace(' "@query"', ''),
      input.replace(/created=\d+/, 'created=1'),
      input.replace(/nonce="[^"]*"/, 'nonce="short"'),
    ]) {
      const changed = { headers: { ...headers, 'signature-input': given } }
      expect(await statementsOf(() => service.call('/me', changed))).toEqual([401, 0])
    }
    const order = await signed(service, signer, '/orders/new', json(wallet.order()))
    const changed = { ...order, body: '{}' }
    expect(await statementsOf(() => service.call('/orders/new', changed))).toEqual([400, 0])
  })

  it('costs the same with a heartbeat and alerts, and 2 statements to send a heartbeat: the gate, its success', async () => {
    const { apiKey } = await createKey(service, wallet, {
      heartbeat: { seconds: 60, then: 'cancel' },
      alerts: {
        newAddress: { action: 'suspend' },
        requestsPerMinute: { above: 9, action: 'notify' },
      },
    })
    const watched = { 'X-API-Key': apiKey }
    const order = wallet.order()
    expect(await statementsOf(() => service.call('/orders/new', json(order, watched)))).toEqual([
      201, 2,
    ])
    const beat = () => service.call('/heartbeat', { method: 'POST', headers: watched })
    expect(await statementsOf(beat)).toEqual([200, 2])
  })

  it('costs no statement to refuse a mistyped key', async () => {
    const call = () =>
      service.call('/orders/any/execute', {
        method: 'POST',
        headers: { 'X-API-Key': `${key['X-API-Key']?.slice(0, -1)}_` },
      })
    expect(await statementsOf(call)).toEqual([401, 0])
  })
})
