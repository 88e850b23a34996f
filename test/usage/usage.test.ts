import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { forgetUsage } from '../../src/usage/forget.ts'
import type { KeyUsage, WalletUsage } from '../../src/usage/usage.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const HOUR = 3_600_000

describe.each(ENGINES)('The usage of a key on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
    service.clock.now = Date.UTC(2031, 4, 6, 22, 30)
  })
  afterAll(() => service.close())

  const read = async (wallet: Wallet, keyId: string, query = '') =>
    answered<KeyUsage & Record<string, unknown>>(
      await service.call(`/api-keys/${keyId}/usage${query}`, {
        headers: wallet.signHeaders({ action: 'get_api_key', keyId }),
      }),
    )
  const use = (apiKey: string, path = '/orders', init: { ip?: string; agent?: string } = {}) =>
    service.call(path, {
      headers: { 'X-API-Key': apiKey, 'User-Agent': init.agent ?? 'bot/1.0' },
      ip: init.ip ?? '192.0.2.1',
    })

  it('tells which of two secrets was used when, while the grace of a rotation lasts', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    await use(apiKey)
    expect(await read(wallet, keyId)).not.toHaveProperty('rotation')
    const rotate = { action: 'rotate_api_key', keyId, graceSeconds: 600 }
    const rotated = await answered<{ apiKey: string }>(
      await service.call(`/api-keys/${keyId}/rotate`, json(wallet.sign(rotate))),
    )
    const iso = (time: number) => new Date(time).toISOString()
    const previousUntil = iso(service.clock.now + 600_000)
    expect((await read(wallet, keyId)).rotation).toEqual({ previousUntil })
    service.clock.now += 10_000
    const previousSecretUsedAt = iso(service.clock.now)
    await use(apiKey)
    expect((await read(wallet, keyId)).rotation).toEqual({ previousUntil, previousSecretUsedAt })
    service.clock.now += 10_000
    await use(rotated.apiKey)
    const newSecretUsedAt = iso(service.clock.now)
    const seen = { previousUntil, previousSecretUsedAt, newSecretUsedAt }
    expect((await read(wallet, keyId)).rotation).toEqual(seen)
    service.clock.now += 580_000
    expect(await read(wallet, keyId)).not.toHaveProperty('rotation')
    // The names of secrets in statistics find no key.
    const named = await rows<{ value: string }>(
      service.world.db,
      sql`SELECT value FROM key_sightings WHERE key_id = ${keyId} AND kind = 'secret'`,
    )
    expect(named.map(({ value }) => value.length)).toEqual([16, 16])
  })

  it('is told by hour and by day, by outcome, and with where it came from', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    expect(await read(wallet, keyId)).toEqual({
      status: 'success',
      keyId,
      by: 'day',
      usage: [],
      ips: [],
      userAgents: [],
      spentToday: {},
    })
    for (let time = 0; time < 3; time++) await answered(await use(apiKey))
    service.clock.now += HOUR
    await refused(await use(apiKey, '/orders?limit=0', { agent: 'bot/2.0' }), 'invalidRequest')
    service.clock.now += HOUR
    await answered(await use(apiKey, '/orders', { ip: '198.51.100.7' }))

    const byHour = await read(wallet, keyId, '?by=hour')
    expect(byHour.usage).toEqual([
      { start: '2031-05-06T22:00:00.000Z', requests: 3, outcomes: { OK: 3 } },
      { start: '2031-05-06T23:00:00.000Z', requests: 1, outcomes: { INVALID_REQUEST: 1 } },
      { start: '2031-05-07T00:00:00.000Z', requests: 1, outcomes: { OK: 1 } },
    ])
    expect((await read(wallet, keyId)).usage).toEqual([
      { start: '2031-05-06T00:00:00.000Z', requests: 4, outcomes: { INVALID_REQUEST: 1, OK: 3 } },
      { start: '2031-05-07T00:00:00.000Z', requests: 1, outcomes: { OK: 1 } },
    ])
    expect((await read(wallet, keyId, '?days=1')).usage).toHaveLength(1)
    expect(byHour.ips.map(({ value, requests }) => [value, requests])).toEqual([
      ['198.51.100.7', 1],
      ['192.0.2.1', 4],
    ])
    expect(byHour.userAgents.map(({ value }) => value)).toEqual(['bot/1.0', 'bot/2.0'])
  })

  it('has the average of what executions took', async () => {
    const wallet = newWallet(service)
    await fund(service, wallet)
    const { apiKey, keyId } = await createKey(service, wallet)
    const uuid = await createOrder(service, wallet)
    const headers = { 'X-API-Key': apiKey }
    await answered(await service.call(`/orders/${uuid}/execute`, { method: 'POST', headers }))
    expect((await read(wallet, keyId)).averageExecutionMs).toBe(0)
  })

  it('costs no statement before the answer', async () => {
    const { apiKey } = await createKey(service, newWallet(service))
    await service.world.usage.flush(service.world.db)
    const before = service.statements.length
    await answered(await use(apiKey))
    expect(service.statements.length - before).toBe(3)
  })

  it('tells the audit of refusals worth knowing, once an hour', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, { ipAllowlist: ['192.0.2.1'] })
    const knock = () => use(apiKey, '/orders', { ip: '198.51.100.7' })
    for (let time = 0; time < 5; time++) await refused(await knock(), 'ipNotAllowed')
    await service.world.usage.flush(service.world.db)
    service.clock.now += HOUR
    await refused(await knock(), 'ipNotAllowed')
    await service.world.usage.flush(service.world.db)
    const events = await rows<{ body: string }>(
      service.world.db,
      sql`SELECT body FROM audit_events WHERE key_id = ${keyId} AND body LIKE '%"refused"%' ORDER BY sequence`,
    )
    expect(events.map(({ body }) => JSON.parse(body).details)).toEqual([
      { code: 'IP_NOT_ALLOWED', ip: '198.51.100.7' },
      { code: 'IP_NOT_ALLOWED', ip: '198.51.100.7' },
    ])
  })

  it('has the hundred addresses and the hundred agents that were seen last, whoever knocks', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, { ipAllowlist: ['192.0.2.1'] })
    for (let round = 0; round < 4; round++) {
      for (let at = 0; at < 25; at++) {
        const number = round * 25 + at
        await use(apiKey, '/orders', { ip: `198.51.100.${number}`, agent: `bot ${number}` })
        await use(apiKey, '/orders', { ip: `2001:db8:${number + 1}::1`, agent: `cat ${number}` })
      }
      service.clock.now += 1_000
      await service.world.usage.flush(service.world.db)
    }
    const seen = await rows<{ kind: string; count: number; oldest: string }>(
      service.world.db,
      sql`SELECT kind, count(*)::int AS count FROM key_sightings WHERE key_id = ${keyId} GROUP BY kind ORDER BY kind`,
    )
    expect(seen).toEqual([
      { kind: 'ip', count: 100 },
      { kind: 'userAgent', count: 100 },
    ])
    const { ips, userAgents } = await read(wallet, keyId)
    expect([ips.length, userAgents.length]).toEqual([10, 10])
    expect(new Set(ips.map(({ lastSeenAt }) => lastSeenAt)).size).toBe(1)
  })

  it('is kept for 90 days', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    await answered(await use(apiKey, '/me', { ip: '192.0.2.7' }))
    await service.world.usage.flush(service.world.db)
    service.clock.now += 91 * 24 * HOUR
    await answered(await use(apiKey, '/me', { ip: '192.0.2.8' }))
    expect((await read(wallet, keyId, '?days=90')).usage).toHaveLength(1)
    const kept = async () => {
      const [found] = await rows(
        service.world.db,
        sql`SELECT (SELECT count(*)::int FROM key_usage WHERE key_id = ${keyId}) AS hours,
          (SELECT array_agg(value ORDER BY value) FROM key_sightings WHERE key_id = ${keyId} AND kind = 'ip') AS ips`,
      )
      return found
    }
    expect(await kept()).toEqual({ hours: 2, ips: ['192.0.2.7', '192.0.2.8'] })
    expect(await forgetUsage(service.world, service.clock.now)).toBe(true)
    expect(await kept()).toEqual({ hours: 1, ips: ['192.0.2.8'] })
    for (const query of ['?days=0', '?days=91', '?by=week'])
      await refused(
        await service.call(`/api-keys/${keyId}/usage${query}`, {
          headers: wallet.signHeaders({ action: 'get_api_key', keyId }),
        }),
        'invalidRequest',
      )
  })

  it('is shown to nobody else', async () => {
    const { keyId } = await createKey(service, newWallet(service))
    const headers = newWallet(service).signHeaders({ action: 'get_api_key', keyId })
    await refused(await service.call(`/api-keys/${keyId}/usage`, { headers }), 'keyNotFound')
  })

  it('of all keys of a wallet is one response: by day, with the address of the last request', async () => {
    const wallet = newWallet(service)
    const [first, second, unused] = [
      await createKey(service, wallet, { keyName: 'first' }),
      await createKey(service, wallet, { keyName: 'second' }),
      await createKey(service, wallet, { keyName: 'unused' }),
    ]
    await createKey(service, newWallet(service))
    for (let time = 0; time < 2; time++) await answered(await use(first.apiKey))
    await refused(await use(first.apiKey, '/orders?limit=0'), 'invalidRequest')
    await answered(await use(second.apiKey, '/orders', { ip: '198.51.100.9' }))
    service.clock.now += 24 * HOUR
    await answered(await use(second.apiKey, '/orders', { ip: '198.51.100.8' }))
    const readAll = async (query: string) =>
      answered<WalletUsage & Record<string, unknown>>(
        await service.call(`/usage${query}`, {
          headers: wallet.signHeaders({ action: 'list_api_keys' }),
        }),
      )
    const { keys } = await readAll('')
    const of = (keyId: string) => keys.find((key) => key.keyId === keyId)
    expect(keys).toHaveLength(2)
    expect(of(unused.keyId)).toBeUndefined()
    expect(of(first.keyId)).toMatchObject({
      days: [{ requests: 3, refused: 1 }],
      lastAddress: '192.0.2.1',
    })
    expect(of(second.keyId)).toMatchObject({
      days: [
        { requests: 1, refused: 0 },
        { requests: 1, refused: 0 },
      ],
      lastAddress: '198.51.100.8',
    })
    expect((await readAll('?days=1')).keys.map(({ keyId }) => keyId)).toEqual([second.keyId])
  })

  it('tells what is spent of a daily amount', async () => {
    const wallet = newWallet(service)
    await fund(service, wallet)
    const { apiKey, keyId } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '5000000' } },
    })
    const order = wallet.order({})
    await answered(await service.call('/orders/new', json(order, { 'X-API-Key': apiKey })), 201)
    expect((await read(wallet, keyId)).spentToday).toEqual({ [INPUT_TOKEN]: order.amountIn })
  })
})
