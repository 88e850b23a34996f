import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { answered, carriesHeaders, refused, stored } from '../support/assertions.ts'
import { freshDatabase, type Service, secretsOf } from '../support/service.ts'
import { issueCredential } from '../support/service-credentials.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'
import { startService } from './documented.ts'

interface Fixture {
  service: Service
  wallet: Wallet
  uuid: string
  apiKey: string
  keyId: string
  credential: string
}

/** Every request that needs the database. */
const requests: [string, (fixture: Fixture) => [string, RequestInit]][] = [
  [
    'POST /api-keys',
    ({ wallet }) => [
      '/api-keys',
      json(wallet.sign({ action: 'create_api_key', keyName: 'late', permissions: [] })),
    ],
  ],
  [
    'GET /api-keys',
    ({ wallet }) => ['/api-keys', { headers: wallet.signHeaders({ action: 'list_api_keys' }) }],
  ],
  [
    'GET /api-keys/{keyId}',
    ({ wallet, keyId }) => [
      `/api-keys/${keyId}`,
      { headers: wallet.signHeaders({ action: 'get_api_key', keyId }) },
    ],
  ],
  [
    'DELETE /api-keys/{keyId}',
    ({ wallet, keyId }) => [
      `/api-keys/${keyId}`,
      { ...json(wallet.sign({ action: 'delete_api_key', keyId })), method: 'DELETE' },
    ],
  ],
  ['POST /orders/new', ({ wallet }) => ['/orders/new', json(wallet.order())]],
  [
    'POST /orders/new with a key',
    ({ wallet, apiKey }) => ['/orders/new', json(wallet.order(), { 'X-API-Key': apiKey })],
  ],
  [
    'POST /orders/{uuid}/execute',
    ({ uuid, apiKey }) => [
      `/orders/${uuid}/execute`,
      { method: 'POST', headers: { 'X-API-Key': apiKey } },
    ],
  ],
  [
    'POST /orders/{uuid}/execute, signed',
    ({ wallet, uuid }) => [
      `/orders/${uuid}/execute`,
      json(wallet.sign({ action: 'execute_order', uuid })),
    ],
  ],
  [
    'PATCH /orders/{uuid}/cancel',
    ({ uuid, apiKey }) => [
      `/orders/${uuid}/cancel`,
      { method: 'PATCH', headers: { 'X-API-Key': apiKey } },
    ],
  ],
  [
    'PATCH /orders/{uuid}/cancel, signed',
    ({ wallet, uuid }) => [
      `/orders/${uuid}/cancel`,
      { ...json(wallet.sign({ action: 'cancel_order', uuid })), method: 'PATCH' },
    ],
  ],
  ['GET /orders/{uuid}', ({ uuid }) => [`/orders/${uuid}`, {}]],
  ['GET /orders/{uuid}/events', ({ uuid }) => [`/orders/${uuid}/events`, {}]],
  ['GET /orders', () => ['/orders', {}]],
  ['GET /orders with a key', ({ apiKey }) => ['/orders', { headers: { 'X-API-Key': apiKey } }]],
  [
    'POST /keys/verify',
    ({ apiKey, credential }) => [
      '/keys/verify',
      json({ apiKey, scope: 'create' }, { 'X-Service-Credential': credential }),
    ],
  ],
  [
    'GET /auth/forward',
    ({ apiKey, credential }) => [
      '/auth/forward?scope=create',
      { headers: { 'X-Service-Credential': credential, 'X-API-Key': apiKey } },
    ],
  ],
  ['GET /ready', () => ['/ready', {}]],
]

async function arrange(service: Service): Promise<Fixture> {
  const wallet = newWallet(service)
  const key = await createKey(service, wallet)
  const { secret: credential } = await issueCredential(service)
  return { service, wallet, uuid: await createOrder(service, wallet), ...key, credential }
}

async function refusesAll(fixture: Fixture): Promise<void> {
  const { service } = fixture
  for (const [title, request] of requests) {
    const [path, init] = request(fixture)
    const response = await service.call(path, init)
    expect(response.status, title).toBe(503)
    const body = await refused(response, 'unavailable')
    expect(body, title).not.toHaveProperty('details')
  }
}

async function answersTheRest(service: Service): Promise<void> {
  service.clock.now += 1_000
  for (const path of ['/info', '/time', '/health']) await answered(await service.call(path))
  expect((await service.call('//health')).status).toBe(200)
  expect((await service.call('//ready')).status).toBe(503)
}

describe('Without its database', () => {
  it('a service on PGlite answers 503 to all that needs it, and the rest as always', async () => {
    const service = await startService('PGlite')
    const fixture = await arrange(service)
    await service.close()
    await refusesAll(fixture)
    await answersTheRest(service)
    const faults = service.logged.filter((line) => line.includes('"database_unavailable"'))
    // One for each request above, and one for the probe.
    expect(faults).toHaveLength(requests.length + 1)
    expect(service.logged.filter((line) => line.includes('"internal_error"'))).toEqual([])
    for (const line of faults) expect(line).not.toMatch(/INSERT|SELECT|UPDATE|ck_live_/)
  })

  it.each([
    'PGlite',
    'Postgres',
    'workerd',
  ] as const)('probes of one second share one statement, on %s', async (engine) => {
    const service = await startService(engine)
    const statements = () =>
      service.statements.filter((text) => text.includes('latchkey_releases')).length
    await answered(await service.call('/ready'))
    const before = statements()
    await Promise.all(Array.from({ length: 40 }, () => service.call('//ready')))
    expect(statements()).toBe(before)
    service.clock.now += 1_000
    const all = await Promise.all(Array.from({ length: 40 }, () => service.call('//ready')))
    expect(all.every(({ status }) => status === 200)).toBe(true)
    if (engine !== 'workerd') expect(statements()).toBe(before + 1)
    service.clock.now -= 60_000
    expect((await service.call('//ready')).status).toBe(200)
    expect(statements()).toBeGreaterThan(before)
    await service.close()
  })

  it('a service on Postgres answers 503, lets nobody in, and recovers by itself', async () => {
    const cut = await openCut(await freshDatabase('Postgres'))
    const service = await startService('Postgres', { databaseUrl: cut.url })
    const fixture = await arrange(service)
    const before = await stored(service)
    await cut.off()
    await refusesAll(fixture)
    await answersTheRest(service)
    await cut.on()
    expect(await stored(service)).toEqual(before)
    for (const [title, request] of requests.slice(1, 3)) {
      const [path, init] = request(fixture)
      expect((await service.call(path, init)).status, title).toBe(200)
    }
    // The very message that met the outage was not used up.
    const [, request] = requests.find(([title]) => title.endsWith('cancel, signed')) ?? []
    const [path, init] = request?.(fixture) ?? ['', {}]
    await answered(await service.call(path, init))
    await service.close()
    await cut.off()
  }, 30_000)
})

describe('Without its chain', () => {
  let service: Service
  afterEach(() => service.close())

  it('a service refuses to execute with 503, leaves the order open, and is not ready', async () => {
    const url = `http://127.0.0.1:${await closedPort()}`
    const healthy = await startService('Postgres')
    service = await startService('Postgres', {
      databaseUrl: healthy.databaseUrl,
      env: { ...secretsOf(healthy), STACKS_API_URL: url, QUOTE_URL: `${url}/quote` },
    })
    const { uuid, apiKey } = await arrange(healthy)
    const key = { 'X-API-Key': apiKey }
    const response = await service.call(`/orders/${uuid}/execute`, { method: 'POST', headers: key })
    const { details } = await refused(response, 'unavailable')
    expect(details).toEqual({ reason: 'quote' })
    expect(await answered(await service.call(`/orders/${uuid}`))).toMatchObject({
      data: { status: 'open' },
    })
    expect((await refused(await service.call('/ready'), 'unavailable')).details).toEqual({
      reason: 'chain',
    })
    const faucet = json({ address: newWallet(service).address })
    await refused(await service.call('/devnet/faucet', faucet), 'unavailable')
    await answered(await service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers: key }))
    await healthy.close()
  })
})

describe('A fault of ours', () => {
  it('is answered 500 with nothing of what went wrong, and logged without it', async () => {
    const secret = 'INSERT INTO orders VALUES (ck_live_secret)'
    const service = await startService('Postgres', {
      change: (world) => ({
        ...world,
        gate: () => Promise.reject(new Error(secret, { cause: new TypeError(secret) })),
      }),
    })
    const { apiKey } = await createKey(service, newWallet(service))
    const response = await service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    carriesHeaders(response)
    const body = await refused(response, 'internal')
    expect(body).not.toHaveProperty('details')
    const logged = service.logged.join('\n')
    expect(logged).toContain('"internal_error"')
    expect(logged).toContain(body.requestId)
    expect(logged).not.toContain('ck_live_')
    await service.close()
  })
})

describe("A broken connection that is not the database's", () => {
  it.each(['ECONNRESET', 'EPIPE', 'ETIMEDOUT'])('is no outage: %s', async (code) => {
    const service = await startService('PGlite', {
      change: (world) => ({
        ...world,
        gate: () => Promise.reject(Object.assign(new Error('aborted'), { code })),
      }),
    })
    const { apiKey } = await createKey(service, newWallet(service))
    const response = await service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    await refused(response, 'internal')
    expect(service.logged.join('\n')).not.toContain('"database_unavailable"')
    await service.close()
  })
})

/** A way to a database that can be cut and mended. */
async function openCut(databaseUrl: string) {
  const target = new URL(databaseUrl)
  const sockets = new Set<Socket>()
  const accept = (client: Socket) => {
    const server = connect(Number(target.port), target.hostname)
    for (const [one, other] of [
      [client, server],
      [server, client],
    ] as const) {
      sockets.add(one)
      one.pipe(other)
      one.on('error', () => other.destroy()).on('close', () => other.destroy())
    }
  }
  let server: Server = createServer(accept)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const url = new URL(databaseUrl)
  url.port = String(port)
  return {
    url: url.href,
    async off() {
      server.close()
      for (const socket of sockets) socket.destroy()
      sockets.clear()
    },
    async on() {
      server = createServer(accept).listen(port, '127.0.0.1')
      await once(server, 'listening')
    },
  }
}

async function closedPort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
