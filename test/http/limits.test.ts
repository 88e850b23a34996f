import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { countByIp, type IpLimits } from '../../src/http/ip-limits.ts'
import { answered, asksNothing, refused } from '../support/assertions.ts'
import { unknownSecret } from '../support/secrets.ts'
import { EVERYWHERE, type Service, startService } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'

describe('A sender without a key', () => {
  let service: Service
  let senders = 0
  beforeAll(async () => {
    service = await startService('Postgres', { env: { IP_RATE_LIMIT_PER_MINUTE: '5' } })
    // Half a minute in: nothing below crosses into the next one by itself.
    service.clock.now = Math.floor(service.clock.now / 60_000) * 60_000 + 30_000
  })
  afterAll(() => service.close())
  const newSender = () => `192.0.2.${++senders}`

  it('is refused after its limit, and let in again the next minute', async () => {
    const ip = newSender()
    const reset = String(Math.floor(service.clock.now / 60_000) * 60 + 60)
    for (const left of [4, 3, 2, 1, 0]) {
      const response = await service.call('/info', { ip })
      expect(headersOf(response)).toEqual({
        'X-RateLimit-Limit': '5',
        'X-RateLimit-Remaining': String(left),
        'X-RateLimit-Reset': reset,
        'X-RateLimit-Window': '60',
        'RateLimit-Policy': '"minute";q=5;w=60',
        RateLimit: `"minute";r=${left};t=30`,
        'Retry-After': null,
      })
      await answered(response)
    }
    for (let time = 0; time < 3; time++)
      await asksNothing(service, async () => {
        const response = await service.call('/orders', { ip })
        expect(headersOf(response)).toMatchObject({
          'X-RateLimit-Remaining': '0',
          'X-RateLimit-Reset': reset,
          'Retry-After': '30',
        })
        const { details } = await refused(response, 'rateLimited')
        expect(details).toEqual({ retryAfterSeconds: 30 })
      })
    await answered(await service.call('/info', { ip: newSender() }))
    service.clock.now += 30_000
    await answered(await service.call('/info', { ip }))
    service.clock.now += 30_000
  })

  it('is counted whatever it asks for, and however it is answered', async () => {
    const wallet = newWallet(service)
    const requests: [string, RequestInit][] = [
      ['/nowhere', {}],
      ['/info', { method: 'PUT' }],
      ['/api-keys', json({})],
      ['/orders/new', json(wallet.order())],
      ['/orders/x/execute', json(wallet.sign({ action: 'execute_order', uuid: 'x' }))],
    ]
    const ip = newSender()
    for (const [at, [path, init]] of requests.entries()) {
      const response = await service.call(path, { ...init, ip })
      expect(response.headers.get('X-RateLimit-Remaining')).toBe(String(4 - at))
    }
    for (const [path, init] of requests)
      await refused(await service.call(path, { ...init, ip }), 'rateLimited')
  })

  it('is one with all that its IPv6 network can call itself', async () => {
    for (const ip of [
      '2001:db8::1',
      '2001:DB8:0:0:ffff::',
      '2001:0db8::2',
      '2001:db8::3',
      '2001:db8::4',
    ])
      await answered(await service.call('/info', { ip }))
    await refused(await service.call('/info', { ip: '2001:db8::5' }), 'rateLimited')
    await answered(await service.call('/info', { ip: '2001:db8:0:1::5' }))
  })

  it('does not use up the limit of a key, nor a key that of its address', async () => {
    const ip = newSender()
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet)
    const headers = { 'X-API-Key': apiKey }
    for (let time = 0; time < 8; time++)
      await answered(await service.call('/orders', { ip, headers }))
    for (let time = 0; time < 5; time++) await answered(await service.call('/info', { ip }))
    await refused(await service.call('/info', { ip }), 'rateLimited')
    await answered(await service.call('/orders', { ip, headers }))
  })

  it('is told how many requests are left by a preflight too, which is not counted', async () => {
    const ip = newSender()
    for (let time = 0; time < 9; time++) {
      const response = await service.call('/orders', { ip, method: 'OPTIONS' })
      expect(response.status).toBe(204)
      expect(response.headers.get('X-RateLimit-Remaining')).toBe('5')
      expect(response.headers.get('X-Request-Id')).toMatch(/^req_[0-9a-f]{24}$/)
    }
  })
})

describe.each(EVERYWHERE)('A sender of keys that fail, on %s,', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine, { env: { IP_RATE_LIMIT_PER_MINUTE: '5' } })
    service.clock.now = Math.floor(service.clock.now / 60_000) * 60_000
  })
  afterAll(() => service.close())
  const unknown = () => unknownSecret()

  it.each([
    ['mistyped', '192.0.2.1', () => `${unknown().slice(0, -1)}_`],
    ['unknown', '192.0.2.2', unknown],
  ])('is slowed down when they are %s, and blocks no good key of its address', async (_, ip, key) => {
    const call = (path: string, apiKey: string, method = 'GET') =>
      service.call(path, { ip, method, headers: { 'X-API-Key': apiKey } })
    for (const left of ['4', '3', '2', '1', '0']) {
      const response = await call('/orders', key())
      expect(response.headers.get('X-RateLimit-Remaining')).toBe(left)
      await refused(response, 'apiKeyInvalid')
    }
    const { details } = await refused(await call('/orders', key()), 'rateLimited')
    expect(details).toEqual({ retryAfterSeconds: 60 })
    await refused(await call('/api-keys/self', key(), 'DELETE'), 'rateLimited')
    const { apiKey } = await createKey(service, newWallet(service))
    await answered(await call('/orders', apiKey))
    await answered(await call('/me', apiKey))
    for (let time = 0; time < 6; time++) await service.call('/info', { ip })
    await refused(await service.call('/info', { ip }), 'rateLimited')
    await answered(await call('/me', apiKey))
    await answered(await call('/api-keys/self', apiKey, 'DELETE'))
    await refused(await call('/me', apiKey), 'rateLimited')
  })

  it('is not one that sends no key, or the credential of another scheme', async () => {
    const ip = '192.0.2.3'
    const basic = { Authorization: 'Basic YTpi' }
    for (let time = 0; time < 3; time++)
      await answered(await service.call('/orders', { ip, headers: basic }))
    for (let time = 0; time < 2; time++)
      await refused(await service.call('/me', { ip, headers: basic }), 'apiKeyInvalid')
    await refused(await service.call('/me', { ip }), 'rateLimited')
    const headers = { 'X-API-Key': unknown() }
    const response = await service.call('/me', { ip, headers })
    expect(response.headers.get('X-RateLimit-Remaining')).toBe('4')
  })
})

describe('Counting by address', () => {
  const noon = Date.UTC(2026, 0, 1, 12)

  it('starts anew with each minute of the clock', () => {
    const limits = countByIp(2)
    expect(limits.take('keyless', '192.0.2.1', noon).remaining).toBe(1)
    expect(limits.take('keyless', '192.0.2.1', noon + 59_999)).toEqual({
      name: 'minute',
      limit: 2,
      remaining: 0,
      resetAt: noon / 1000 + 60,
      lengthSeconds: 60,
    })
    expect(limits.take('keyless', '192.0.2.1', noon + 59_999).remaining).toBe(-1)
    expect(limits.peek('keyless', '192.0.2.1', noon + 59_999).remaining).toBe(0)
    expect(limits.peek('keyless', '192.0.2.1', noon + 60_000).remaining).toBe(2)
    expect(limits.take('failedKeys', '192.0.2.1', noon + 60_000).remaining).toBe(1)
  })

  const flood = (limits: IpLimits, requests: number, addressOf: (at: number) => string) => {
    for (let at = 0; at < requests; at++) limits.take('keyless', addressOf(at), noon)
  }
  /** Addresses of IPv4 of which few are in one network. */
  const spread = (at: number) => `${1 + (at & 63)}.${at >> 14}.${(at >> 6) & 255}.7`
  const take = (limits: IpLimits, ...ips: string[]) =>
    ips.map((ip) => limits.take('keyless', ip, noon).remaining)

  it.each([
    [
      'a /48',
      100_000,
      (at: number) => `2001:db8:5:${at.toString(16)}::1`.replace(/:(\w)(\w{4}):/, ':$2:'),
    ],
    [
      'a /32',
      120_000,
      (at: number) => `2001:db8:${(at >> 8).toString(16)}:${(at & 255).toString(16)}::1`,
    ],
    ['a botnet', 120_000, (at: number) => spread(at)],
  ])('is for each sender alone, also while %s floods', (_, requests, addressOf) => {
    const limits = countByIp(3)
    flood(limits, requests, addressOf)
    expect(take(limits, '2a00:1450::1', '2a00:1450::1', '192.0.2.1', '198.51.100.1')).toEqual([
      2, 1, 2, 2,
    ])
    expect(take(limits, '2a02:26f0::1', '2a02:26f1::1')).toEqual([2, 2])
  })

  it('is for the network of a sender, and no wider than it must be, once there is no room for it', () => {
    const limits = countByIp(3)
    flood(limits, 1_024, (at) => `2001:db8:5:${at.toString(16)}::1`)
    expect(take(limits, '2001:db8:5:ffff::1', '2001:db8:5:fffe::1', '2001:db8:5:fffd::1')).toEqual([
      2, 1, 0,
    ])
    expect(take(limits, '2001:db8:5:fffc::1', '2001:db8:5:1::1', '2001:db8:6:1::1')).toEqual([
      -1, 1, 2,
    ])
    const full = countByIp(3)
    flood(full, 100_000, (at) => spread(at))
    expect(take(full, '192.0.2.1', '192.0.2.2', '192.0.2.3', '192.0.2.4')).toEqual([2, 1, 0, -1])
    expect(take(full, '198.51.100.1', spread(0))).toEqual([2, 1])
  })

  it('takes each IPv4 client behind a NAT64 for one sender', () => {
    const limits = countByIp(3)
    expect(take(limits, '64:ff9b::c000:201', '64:ff9b::c000:202', '64:ff9b::c000:201')).toEqual([
      2, 2, 1,
    ])
  })

  it.each([
    ['::1', '0:0:0:0:9:9:9:9'],
    ['2001:db8::', '2001:0DB8:0000:0::1'],
    ['fe80::1:2:3:4', 'fe80::4:3:2:1'],
  ])('takes %s and %s for one sender', (one, other) => {
    const limits = countByIp(9)
    limits.take('keyless', one, noon)
    expect(limits.take('keyless', other, noon).remaining).toBe(7)
  })
})

function headersOf({ headers }: Response): Record<string, string | null> {
  const names = [
    'X-RateLimit-Limit',
    'X-RateLimit-Remaining',
    'X-RateLimit-Reset',
    'X-RateLimit-Window',
    'RateLimit-Policy',
    'RateLimit',
    'Retry-After',
  ]
  return Object.fromEntries(names.map((name) => [name, headers.get(name)]))
}
