import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { openIpLimits, type RateLimitBinding } from '../../src/worker/ip-limits.ts'
import { refused } from '../support/assertions.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { startWorker } from './workerd.ts'

const NOW = Date.UTC(2031, 4, 6, 7, 20, 30)

/** A rate-limit binding: it counts by key, and cannot say how much is left. */
function platform(allowed: number): RateLimitBinding & { asked: string[] } {
  const asked: string[] = []
  return {
    asked,
    async limit({ key }) {
      asked.push(key)
      return { success: asked.filter((one) => one === key).length <= allowed }
    },
  }
}

/** Limits of an isolate, and a wait for whatever outlives a request. */
function isolate(limitPerMinute: number, allowed: number) {
  const open = openIpLimits(limitPerMinute)
  const bindings = { keyless: platform(allowed), failedKeys: platform(allowed) }
  const rest: Promise<unknown>[] = []
  return {
    bindings,
    limits: open(bindings, (work) => rest.push(work)),
    settled: () => Promise.all(rest),
  }
}

describe('the limits of an isolate', () => {
  it('tell what this isolate saw, and end where it saw too much, without asking the platform again', () => {
    const { limits, bindings } = isolate(2, 100)
    const remaining = () => limits.take('keyless', '192.0.2.7', NOW).remaining
    expect([remaining(), remaining(), remaining(), remaining()]).toEqual([1, 0, -1, -1])
    expect(bindings.keyless.asked).toHaveLength(2)
    expect(limits.take('keyless', '192.0.2.8', NOW).remaining).toBe(1)
    expect(limits.take('failedKeys', '192.0.2.7', NOW).remaining).toBe(1)
  })

  it("shut an address from the request after the platform's no until the minute is over", async () => {
    const { limits, settled } = isolate(100, 1)
    expect(limits.take('failedKeys', '192.0.2.7', NOW).remaining).toBe(99)
    expect(limits.take('failedKeys', '192.0.2.7', NOW).remaining).toBe(98)
    await settled()
    expect(limits.peek('failedKeys', '192.0.2.7', NOW)).toMatchObject({ limit: 100, remaining: 0 })
    expect(limits.take('failedKeys', '192.0.2.7', NOW).remaining).toBe(-1)
    expect(limits.peek('keyless', '192.0.2.7', NOW).remaining).toBe(100)
    expect(limits.peek('failedKeys', '192.0.2.8', NOW).remaining).toBe(100)
    expect(limits.peek('failedKeys', '192.0.2.7', NOW + 60_000).remaining).toBe(100)
  })

  it('count the /64 around an IPv6 address as one sender', async () => {
    const { limits, bindings, settled } = isolate(100, 1)
    for (const last of ['1', '2', '3']) limits.take('keyless', `2001:db8:0:7::${last}`, NOW)
    await settled()
    expect(new Set(bindings.keyless.asked).size).toBe(1)
    expect(limits.take('keyless', '2001:db8:0:7::4', NOW).remaining).toBe(-1)
    expect(limits.take('keyless', '2001:db8:0:8::4', NOW).remaining).toBe(99)
  })
})

describe('in workerd', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService('workerd', { env: { IP_RATE_LIMIT_PER_MINUTE: '5' } })
  })
  afterAll(() => service.close())
  const variables = () => ({
    ...secretsOf(service),
    STACKS_API_URL: inject('devnetUrl'),
    QUOTE_URL: `${inject('devnetUrl')}/quote`,
  })

  it('a sixth request of one address in a minute is refused, with the headers of the contract', async () => {
    const answers = []
    for (let request = 0; request < 6; request++)
      answers.push(await service.call('/time', { ip: '192.0.2.9' }))
    expect(answers.map(({ status }) => status)).toEqual([200, 200, 200, 200, 200, 429])
    expect(answers.map(({ headers }) => headers.get('X-RateLimit-Remaining'))).toEqual([
      '4',
      '3',
      '2',
      '1',
      '0',
      '0',
    ])
    expect(answers[5]?.headers.get('Retry-After')).toMatch(/^[1-9][0-9]*$/)
    expect((await service.call('/time', { ip: '192.0.2.10' })).status).toBe(200)
  })

  it('IPv4 that is written as IPv6 is IPv4, in an allow list and on the wire', async () => {
    const wallet = newWallet(service)
    for (const entry of ['192.0.2.0/24', '::ffff:192.0.2.0/120']) {
      const { apiKey } = await createKey(service, wallet, { ipAllowlist: [entry] })
      const headers = { 'X-API-Key': apiKey }
      for (const ip of ['192.0.2.77', '::ffff:192.0.2.77', '::FFFF:c000:24d'])
        expect((await service.call('/orders', { ip, headers })).status).toBe(200)
    }
  })

  it('a missing rate-limit binding is logged, and the isolate limits by itself', async () => {
    const worker = await startWorker(
      inject('runFolder'),
      service.databaseUrl,
      { ...variables(), IP_RATE_LIMIT_PER_MINUTE: '2' },
      { ratelimits: {} },
    )
    const call = () => worker.call('/api/v1/time', { ip: '192.0.2.1', now: NOW })
    const first = await call()
    expect(
      first.trace.logged.filter((line) => line.includes('rate_limit_binding_missing')),
    ).toHaveLength(2)
    expect((await call()).response.status).toBe(200)
    expect((await call()).response.status).toBe(429)
    await worker.stop()
  })

  it.each([
    ['outside of Cloudflare', { cf: {} }, '192.0.2.'],
    ['of Workers of other accounts', {}, '2a06:98c0:3600::103'],
  ])('CF-Connecting-IP %s is no address: it opens no allow list, and evades no limit', async (_, options, ip) => {
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, {
      ipAllowlist: ['192.0.2.0/24', '2a06:98c0:3600::/48'],
    })
    const worker = await startWorker(
      inject('runFolder'),
      service.databaseUrl,
      { ...variables(), IP_RATE_LIMIT_PER_MINUTE: '2' },
      options,
    )
    const call = (at: number, headers = {}) =>
      worker.call('/api/v1/orders', {
        ip: ip.endsWith('.') ? `${ip}${at}` : ip,
        now: service.clock.now,
        headers,
      })
    const { response, trace } = await call(1, { 'X-API-Key': apiKey })
    const { details } = await refused(response, 'ipNotAllowed')
    expect(details?.observedIp).toBeNull()
    expect(trace.logged.some((line) => line.includes('client_address_unknown'))).toBe(
      ip.endsWith('.'),
    )
    const statuses = []
    for (const at of [2, 3, 4]) statuses.push((await call(at)).response.status)
    expect(statuses).toEqual([200, 200, 429])
    await worker.stop()
  })

  it('the address is what CF-Connecting-IP says, whatever X-Forwarded-For says', async () => {
    for (let request = 0; request < 5; request++)
      await service.call('/time', {
        ip: '192.0.2.11',
        headers: { 'X-Forwarded-For': `${request}` },
      })
    expect((await service.call('/time', { ip: '192.0.2.11' })).status).toBe(429)
  })
})
