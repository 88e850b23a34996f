import { describe, expect, it } from 'vitest'
import { openLog } from '../../src/log.ts'
import { unknownSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, createOrder, json, newWallet } from '../support/wallet.ts'

describe('The log', () => {
  it('has a line for each thing that happened, and no secret wherever a client put it', async () => {
    const service = await startService('Postgres', { env: { ACCESS_LOG: 'all' } })
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const unknown = unknownSecret()
    const order = wallet.order()
    const uuid = await createOrder(service, wallet)
    const proof = wallet.sign({ action: 'cancel_order', uuid })
    const secrets = [apiKey, unknown, order.signature, proof.signature]
    const tell = () => tellSecrets(service, { apiKey, unknown, order, uuid, proof })

    const before = await tell()
    expect(before).toContain(200)
    expect(before).toContain(401)
    await service.close()
    expect(new Set(await tell())).toContain(503)

    const { OPERATOR_PRIVATE_KEYS, ENCRYPTION_KEY = '', DATABASE_URL } = service.world.config
    secrets.push(...OPERATOR_PRIVATE_KEYS, ENCRYPTION_KEY, new URL(DATABASE_URL).password)
    const text = service.logged.join('\n').toLowerCase()
    for (const secret of secrets)
      for (const part of [secret, secret.slice(8, 40)])
        if (part !== '' && part !== 'postgres') expect(text).not.toContain(part.toLowerCase())
    expect(text).not.toMatch(/postgres:\/\//)

    const lines = service.logged.map((line) => JSON.parse(line) as Record<string, unknown>)
    for (const line of lines) {
      expect(line).toMatchObject({ time: expect.any(String), level: expect.any(String) })
      expect(line.event).toMatch(/^[a-z_]+$/)
    }
    const events = new Set(lines.map(({ event }) => event))
    expect(events).toContain('api_key_created')
    expect(events).toContain('order_created')
    expect(events).toContain('order_cancelled')
    expect(events).toContain('database_unavailable')
    expect(events).toContain('request')
    expect(lines).toContainEqual(expect.objectContaining({ event: 'api_key_created', keyId }))
    for (const line of lines.filter(({ event }) => event === 'refused')) {
      expect(line.requestId).toMatch(/^req_[0-9a-f]{24}$/)
      expect(line.reason).toMatch(/^[a-zA-Z]+$/)
    }
  })

  it('names a refused request as its answer does', async () => {
    const service = await startService('Postgres')
    const { requestId } = (await (await service.call('/orders/none')).json()) as Record<
      string,
      string
    >
    expect(service.logged.at(-1)).toBe(
      JSON.stringify({
        time: new Date(service.clock.now).toISOString(),
        level: 'debug',
        event: 'refused',
        requestId,
        reason: 'orderNotFound',
        status: 404,
      }),
    )
    await service.close()
  })

  it.each([
    'PGlite',
    'workerd',
  ] as const)('has the id of the request in every event that it caused: %s', async (engine) => {
    const service = await startService(engine)
    const wallet = newWallet(service)
    const idOf = async (response: Promise<Response>) => (await response).headers.get('x-request-id')
    const proof = wallet.sign({ action: 'create_api_key', keyName: 'bot', permissions: ['create'] })
    const created = await idOf(service.call('/api-keys', json(proof)))
    const order = wallet.order()
    const placed = await idOf(service.call('/orders/new', json(order)))
    const cancel = wallet.sign({ action: 'cancel_order', uuid: order.uuid })
    const path = `/orders/${order.uuid}/cancel`
    const cancelled = await idOf(service.call(path, { ...json(cancel), method: 'PATCH' }))
    const lines = service.logged.map((line) => JSON.parse(line) as Record<string, unknown>)
    const idsOf = (event: string) =>
      lines.filter((line) => line.event === event).map(({ requestId }) => requestId)
    expect(idsOf('api_key_created')).toEqual([created])
    expect(idsOf('order_created')).toEqual([placed])
    expect(idsOf('order_cancelled')).toEqual([cancelled])
    await service.close()
  })

  it('has a line of access for each request, by the pattern of its path', async () => {
    const service = await startService('PGlite', { env: { ACCESS_LOG: 'all' } })
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    service.logged.length = 0
    const responses = [
      await service.call('/me', { headers: { 'X-API-Key': apiKey } }),
      await service.call(`/orders/${apiKey}`),
      await service.call(`/nowhere/${apiKey}`),
      await service.call('//health', { method: 'PURGE' }),
    ]
    const lines = service.logged.map((line) => JSON.parse(line) as Record<string, unknown>)
    const seen = lines.filter(({ event }) => event === 'request')
    expect(seen).toMatchObject([
      { method: 'GET', route: '/api/v1/me', status: 200, keyId },
      { route: '/api/v1/orders/{uuid}', status: 404, code: 'ORDER_NOT_FOUND' },
      { route: 'unmatched', status: 404, code: 'NOT_FOUND' },
      { method: 'other', route: 'unmatched', status: 404 },
    ])
    expect(seen.map(({ requestId }) => requestId)).toEqual(
      responses.map(({ headers }) => headers.get('x-request-id')),
    )
    for (const { ms } of seen) expect(ms).toBeTypeOf('number')
    await service.close()
  })

  it('has a line of access for an outage alone, when asked for failures', async () => {
    const service = await startService('Postgres', { env: { ACCESS_LOG: 'failures' } })
    const { apiKey } = await createKey(service, newWallet(service))
    const use = () => service.call('/me', { headers: { 'X-API-Key': apiKey } })
    expect([(await use()).status, (await service.call('/orders/none')).status]).toEqual([200, 404])
    await service.close()
    expect((await use()).status).toBe(503)
    const lines = service.logged.map((line) => JSON.parse(line) as Record<string, unknown>)
    expect(lines.filter(({ event }) => event === 'request')).toMatchObject([
      { route: '/api/v1/me', status: 503, code: 'UNAVAILABLE' },
    ])
  })

  it('says why the service is not ready, once for each reason, and that it is ready again', async () => {
    let isReachable = true
    const service = await startService('Postgres', {
      change: (world) => ({
        ...world,
        chain: { ...world.chain, isReachable: async () => isReachable },
      }),
    })
    const probe = async () => {
      service.clock.now += 2_000
      return (await service.call('//ready')).status
    }
    const readiness = () =>
      service.logged
        .map((line) => JSON.parse(line) as Record<string, unknown>)
        .filter(({ event }) => event === 'not_ready' || event === 'ready_again')
        .map(({ event, reason, fault }) => [event, reason, fault])
    expect(await probe()).toBe(200)
    isReachable = false
    expect([await probe(), await probe()]).toEqual([503, 503])
    isReachable = true
    expect(await probe()).toBe(200)
    await service.close()
    expect([await probe(), await probe()]).toEqual([503, 503])
    expect(readiness()).toEqual([
      ['not_ready', 'chain', undefined],
      ['ready_again', undefined, undefined],
      ['not_ready', 'database', expect.any(String)],
    ])
  })

  it('is a line whatever a field holds, and silent below its level', () => {
    const lines: string[] = []
    const log = openLog(
      'warn',
      (line) => lines.push(line),
      () => 0,
    )
    log('info', 'not_written')
    const field = 'two\nlines"\u2028\u009b31m\u202e\u{1f511}\ud800'
    log('error', 'written', { field, absent: undefined })
    expect(lines).toEqual([
      '{"time":"1970-01-01T00:00:00.000Z","level":"error","event":"written","field":"two\\nlines\\"\\u2028\\u009b31m\\u202e\\ud83d\\udd11\\ud800"}',
    ])
    expect(JSON.parse(lines[0] ?? '').field).toBe(field)
    openLog(
      'silent',
      (line) => lines.push(line),
      () => 0,
    )('error', 'never')
    expect(lines).toHaveLength(1)
  })
})

interface Told {
  apiKey: string
  unknown: string
  order: ReturnType<ReturnType<typeof newWallet>['order']>
  uuid: string
  proof: ReturnType<ReturnType<typeof newWallet>['sign']>
}

/** Sends secrets in every place of a request where a client could put them; answers the statuses. */
async function tellSecrets(
  service: Service,
  { apiKey, unknown, order, uuid, proof }: Told,
): Promise<number[]> {
  const key = { 'X-API-Key': apiKey }
  const requests: [string, RequestInit][] = [
    ['/orders', { headers: key }],
    ['/orders', { headers: { 'X-API-Key': unknown } }],
    ['/orders', { headers: { 'X-API-Key': `${apiKey.slice(0, -1)}_` } }],
    ['/orders', { headers: { Authorization: `Basic ${apiKey}` } }],
    [`/orders?apiKey=${apiKey}`, {}],
    [`/orders?owner=${apiKey}`, {}],
    [`/orders/${apiKey}`, {}],
    [`/orders/${apiKey.slice(0, 36)}`, {}],
    [`/api-keys/${apiKey}`, { method: 'DELETE' }],
    [`/${apiKey}`, {}],
    ['/api-keys', json({ message: apiKey, signature: order.signature, walletAddress: apiKey })],
    ['/api-keys', json({ ...proof, apiKey, more: order.signature })],
    ['/api-keys', { method: 'POST', body: `${apiKey}${order.signature}` }],
    ['/orders/new', json({ ...order, uuid: apiKey, owner: order.signature })],
    ['/orders/new', json({ ...order, amountIn: '1' })],
    ['/orders/new', json(order, key)],
    ['/orders/new', json({ ...order, amountIn: '2', signature: order.signature })],
    [`/orders/${uuid}/cancel`, { ...json(proof), method: 'PATCH' }],
    [`/orders/${uuid}/cancel`, { ...json(proof), method: 'PATCH' }],
    [`/orders/${uuid}/execute`, { method: 'POST', headers: key }],
    [
      '/api-keys',
      {
        headers: {
          'X-Message': apiKey,
          'X-Signature': order.signature,
          'X-Wallet-Address': apiKey,
        },
      },
    ],
    ['/devnet/faucet', json({ address: apiKey })],
  ]
  const statuses: number[] = []
  for (const [path, init] of requests) {
    const response = await service.call(path, init)
    statuses.push(response.status)
    const answer = await response.text()
    for (const secret of [apiKey, unknown, order.signature, proof.signature])
      expect(answer).not.toContain(secret)
  }
  return statuses
}
