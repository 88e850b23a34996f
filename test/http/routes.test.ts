import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answered, carriesHeaders, refused } from '../support/assertions.ts'
import { type Service, startService } from '../support/service.ts'
import { createOrder, newWallet } from '../support/wallet.ts'

describe('A request', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService('Postgres', { env: { ALLOWED_ORIGINS: '*' } })
  })
  afterAll(() => service.close())

  it.each([
    '/',
    '',
    '/nothing',
    '/api-keys/',
    '/api-keys/a/b',
    '/orders/',
    '/orders/x/',
    '/orders/x/run',
    '/orders/x/execute/',
    '/Info',
    '//',
    '/../info/x',
    '/devnet',
    '/%2e%2e',
    '/orders/x%2Fexecute/y',
    '/info%00',
  ])('to %j, where nothing is, is answered 404 in the form of the API', async (path) => {
    for (const method of ['GET', 'POST', 'DELETE']) {
      const response = await service.call(`//api/v1${path}`, { method })
      await refused(response, 'routeNotFound')
    }
  })

  it.each([
    ['PUT', '/api-keys', 'POST, GET'],
    ['DELETE', '/api-keys', 'POST, GET'],
    ['PUT', '/api-keys/key_1', 'GET, PATCH, DELETE'],
    ['GET', '/api-keys/key_1/rotate', 'POST'],
    ['POST', '/api-keys/self', 'GET, PATCH, DELETE'],
    ['PATCH', '/sessions/self', 'DELETE'],
    ['POST', '/me', 'GET'],
    ['GET', '/orders/x/execute', 'POST'],
    ['POST', '/orders/x/cancel', 'PATCH'],
    ['POST', '/orders', 'GET'],
    ['DELETE', '/orders/x', 'GET'],
    ['PUT', '/orders/new', 'POST, GET'],
    ['POST', '/info', 'GET'],
    ['PROPFIND', '/time', 'GET'],
    ['get', '/devnet/faucet', 'POST'],
  ])('%s %s is answered 405 and told the methods', async (method, path, allow) => {
    const response = await service.call(path, { method })
    expect(response.headers.get('Allow')?.split(', ').sort()).toEqual(allow.split(', ').sort())
    const { details } = await refused(response, 'methodNotAllowed')
    expect((details?.allow as string[]).sort()).toEqual(allow.split(', ').sort())
  })

  it('outside the API is answered 404 with a request id', async () => {
    for (const path of ['//', '//nothing', '//api', '//health/x', '//openapi.json/'])
      for (const method of ['GET', 'POST']) {
        const response = await service.call(path, { method })
        expect(response.status).toBe(404)
        expect(await response.json()).toMatchObject({ code: 'NOT_FOUND' })
        expect(response.headers.get('X-Request-Id')).toMatch(/^req_/)
      }
  })

  it('gets an id of its own, never one that the client brought', async () => {
    const ids = new Set<string | null>()
    for (let time = 0; time < 50; time++) {
      const headers = { 'X-Request-Id': 'req_mine' }
      ids.add((await service.call('/time', { headers })).headers.get('X-Request-Id'))
    }
    expect(ids.size).toBe(50)
    expect(ids).not.toContain('req_mine')
  })

  it('with HEAD is answered as GET, without a body', async () => {
    const uuid = await createOrder(service, newWallet(service))
    for (const path of ['/info', '/orders', `/orders/${uuid}`]) {
      const response = await service.call(path, { method: 'HEAD' })
      expect(response.status).toBe(200)
      expect(await response.text()).toBe('')
      carriesHeaders(response)
    }
    expect((await service.call('/orders/none', { method: 'HEAD' })).status).toBe(404)
  })

  it('for the time, the facts and the state of the service is answered', async () => {
    const { now } = service.clock
    expect(await answered(await service.call('/time'))).toEqual({
      serverTime: now,
      iso: new Date(now).toISOString(),
    })
    expect(await answered(await service.call('/health'))).toEqual({ status: 'ok' })
    const ready = { status: 'ready', clock: { aheadMs: expect.any(Number), differs: false } }
    expect(await answered(await service.call('/ready'))).toEqual(ready)
    expect(await (await service.call('//health')).json()).toEqual({ status: 'ok' })
    expect(await (await service.call('//ready')).json()).toEqual(ready)
    const info = await answered(await service.call('/info'))
    expect(info).toMatchObject({
      network: 'devnet',
      chainId: 2147483648,
      intentDomain: { name: 'BLAZE_PROTOCOL', version: 'v1.0', 'chain-id': 2147483648 },
      scopes: ['create', 'execute', 'cancel', 'read'],
      limits: {
        key: { perMinute: 100, perHour: 1_000, perDay: 10_000 },
        maxActiveKeysPerWallet: 10,
        signatureMaxAgeSeconds: 300,
      },
      devnet: { faucet: '/api/v1/devnet/faucet' },
    })
    expect(info).not.toHaveProperty('signedDomain')
    const { OPERATOR_PRIVATE_KEYS, ENCRYPTION_KEY = '' } = service.world.config
    for (const secret of [...OPERATOR_PRIVATE_KEYS, ENCRYPTION_KEY])
      expect(JSON.stringify(info)).not.toContain(secret)
  })
})

describe('A browser on another site', () => {
  const preflight = (service: Service, origin: string) =>
    service.call('/orders/x/execute', {
      method: 'OPTIONS',
      headers: {
        Origin: origin,
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'x-api-key,content-type',
      },
    })

  it('may call, sign and read the limits, from any origin', async () => {
    const service = await startService('Postgres')
    const answer = await preflight(service, 'https://dex.example')
    expect(answer.status).toBe(204)
    expect(answer.headers.get('Access-Control-Allow-Origin')).toBe('*')
    expect(answer.headers.get('Access-Control-Allow-Credentials')).toBeNull()
    expect(answer.headers.get('Access-Control-Allow-Methods')?.split(',')).toEqual([
      'GET',
      'POST',
      'PATCH',
      'DELETE',
    ])
    const allowed = answer.headers.get('Access-Control-Allow-Headers')?.toLowerCase().split(',')
    expect(allowed).toEqual(['x-api-key', 'content-type'])
    const headers = { Origin: 'https://dex.example' }
    for (const path of ['/info', '/orders/none', '/nowhere', '/api-keys']) {
      const response = await service.call(path, { headers })
      expect(response.headers.get('Access-Control-Allow-Origin')).toBe('*')
      const exposed = response.headers.get('Access-Control-Expose-Headers')?.split(',')
      expect(exposed).toEqual([
        'X-RateLimit-Limit',
        'X-RateLimit-Remaining',
        'X-RateLimit-Reset',
        'X-RateLimit-Window',
        'RateLimit-Policy',
        'RateLimit',
        'Retry-After',
        'Location',
        'Deprecation',
        'Sunset',
        'X-API-Key-Expires',
        'X-Replica-Lag',
        'X-Request-Id',
        'WWW-Authenticate',
      ])
    }
    await service.close()
  })

  it.each([
    'content-type,authorization,x-api-key,x-message,x-signature,x-wallet-address,x-public-key,last-event-id',
    'x-api-key,traceparent,tracestate,baggage,sentry-trace',
    'x-requested-with,cache-control',
  ])('may send the headers that its tracing and its libraries add: %s', async (names) => {
    const service = await startService('PGlite')
    const answer = await service.call('/orders/x/execute', {
      method: 'OPTIONS',
      headers: {
        Origin: 'https://dex.example',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': names,
      },
    })
    expect(answer.headers.get('Access-Control-Allow-Headers')).toBe(names)
    expect(answer.headers.get('Vary')).toContain('Access-Control-Request-Headers')
    await service.close()
  })

  it('may call from the configured origins only, where they are configured', async () => {
    const env = { ALLOWED_ORIGINS: 'https://dex.example, https://app.example' }
    const service = await startService('Postgres', { env })
    for (const origin of ['https://dex.example', 'https://app.example']) {
      const answer = await preflight(service, origin)
      expect(answer.headers.get('Access-Control-Allow-Origin')).toBe(origin)
      expect(answer.headers.get('Vary')).toContain('Origin')
    }
    for (const origin of ['https://evil.example', 'https://dex.example.evil.example', 'null'])
      expect((await preflight(service, origin)).headers.has('Access-Control-Allow-Origin')).toBe(
        false,
      )
    const refusal = await service.call('/orders/none', {
      headers: { Origin: 'https://app.example' },
    })
    expect(refusal.status).toBe(404)
    expect(refusal.headers.get('Access-Control-Allow-Origin')).toBe('https://app.example')
    await service.close()
  })
})

describe('The faucet', () => {
  it('is not there off devnet', async () => {
    const address = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'
    const env = {
      STACKS_NETWORK: 'testnet',
      ROUTER_CONTRACT: `${address}.router`,
      INTENT_VERIFIER_CONTRACT: `${address}.verifier`,
      SIGNED_DOMAIN: 'dex.example',
    }
    const service = await startService('Postgres', { env })
    const body = JSON.stringify({ address })
    await refused(await service.call('/devnet/faucet', { method: 'POST', body }), 'routeNotFound')
    expect(await answered(await service.call('/info'))).not.toHaveProperty('devnet')
    await service.close()
  })

  it('gives to addresses of its network only', async () => {
    const service = await startService('Postgres')
    for (const address of ['', 'me', 'SP2J6ZY48GV1EZ5V2V5RB9MP66SW86PYKKNRV9EJ7', 'ST1.token'])
      await refused(
        await service.call('/devnet/faucet', { method: 'POST', body: JSON.stringify({ address }) }),
        'invalidRequest',
      )
    await service.close()
  })
})
