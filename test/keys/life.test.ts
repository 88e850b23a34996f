import { randomBytes } from 'node:crypto'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toBase62 } from '../../src/crypto/bytes.ts'
import type { Key } from '../../src/keys/key.ts'
import { startService } from '../http/documented.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

describe.each(ENGINES)('The keys of a wallet on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  const list = async (wallet: Wallet) => {
    const headers = wallet.signHeaders({ action: 'list_api_keys' })
    return (await answered<{ apiKeys: Key[] }>(await service.call('/api-keys', { headers })))
      .apiKeys
  }
  const get = (wallet: Wallet, keyId: string) =>
    service.call(`/api-keys/${keyId}`, {
      headers: wallet.signHeaders({ action: 'get_api_key', keyId }),
    })
  const revoke = (wallet: Wallet, keyId: string, timestamp = service.clock.now) =>
    service.call(`/api-keys/${keyId}`, {
      ...json(wallet.sign({ action: 'delete_api_key', keyId, timestamp })),
      method: 'DELETE',
    })

  it('are listed newest first, dead ones too, without a secret', async () => {
    const wallet = newWallet(service)
    expect(await list(wallet)).toEqual([])
    const made: { apiKey: string; keyId: string }[] = []
    for (const expiresIn of [undefined, undefined, 1_000, undefined]) {
      service.clock.now += 10
      const expiry = expiresIn === undefined ? {} : { expiresAt: service.clock.now + expiresIn }
      made.push(await createKey(service, wallet, expiry))
    }
    await createKey(service, newWallet(service))
    await answered(await revoke(wallet, made[0]?.keyId ?? ''))
    const suspended = made[1]?.keyId ?? ''
    await answered(
      await service.call(
        `/api-keys/${suspended}/suspend`,
        json(wallet.sign({ action: 'suspend_api_key', keyId: suspended })),
      ),
    )
    service.clock.now += 1_000

    const keys = await list(wallet)
    expect(keys.map(({ keyId }) => keyId)).toEqual(made.map(({ keyId }) => keyId).reverse())
    expect(keys.map(({ status }) => status)).toEqual(['active', 'expired', 'suspended', 'revoked'])
    expect(keys[3]?.revokedAt).toBeDefined()
    expect(keys[0]).toEqual({
      id: made[3]?.keyId,
      keyId: made[3]?.keyId,
      name: expect.any(String),
      keyPreview: expect.stringMatching(/^ck_live_\w{4}\.\.\.\w{4}$/),
      walletAddress: wallet.address,
      permissions: ['create', 'execute', 'cancel'],
      rateLimit: 100,
      status: 'active',
      createdAt: expect.any(String),
      usageStats: {
        totalRequests: 0,
        successfulRequests: 0,
        failedRequests: 0,
        creationCount: 0,
        executionCount: 0,
        cancellationCount: 0,
      },
    })
    for (const { apiKey } of made) expect(JSON.stringify(keys)).not.toContain(apiKey.slice(12, -4))
    for (const key of keys)
      expect(await answered(await get(wallet, key.keyId))).toEqual({
        status: 'success',
        apiKey: key,
      })
  })

  it('may be read with one message as often as it is fresh', async () => {
    const wallet = newWallet(service)
    const headers = wallet.signHeaders({ action: 'list_api_keys' })
    await changesNothing(service, async () => {
      for (let time = 0; time < 3; time++)
        await answered(await service.call('/api-keys', { headers }))
    })
  })

  it('are, to another wallet, byte for byte what was never there', async () => {
    const { keyId } = await createKey(service, newWallet(service))
    const never = `key_${toBase62(randomBytes(12), 17)}`
    const stranger = newWallet(service)
    for (const ask of [get, revoke]) {
      const [taken, missing] = [await ask(stranger, keyId), await ask(stranger, never)]
      expect(await anonymous(taken)).toEqual(await anonymous(missing))
      await refused(taken, 'keyNotFound')
    }
  })

  it.each([
    '',
    'x',
    'key_',
    'key_a-b',
    `key_${'a'.repeat(41)}`,
    'KEY_123abc',
    "key_1' OR '1'='1",
  ])('are not looked for under %j, which no key is called', async (keyId) => {
    const wallet = newWallet(service)
    const path = `/api-keys/${encodeURIComponent(keyId === '' ? 'key_1' : keyId)}`
    const headers = wallet.signHeaders({ action: 'get_api_key', keyId })
    await refused(await service.call(path, { headers }), 'invalidRequest')
    const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
    await refused(await service.call(path, { ...body, method: 'DELETE' }), 'invalidRequest')
  })

  it('are not reached by a signature for another of them', async () => {
    const wallet = newWallet(service)
    const [one, other] = [await createKey(service, wallet), await createKey(service, wallet)]
    const body = json(wallet.sign({ action: 'delete_api_key', keyId: one.keyId }))
    await changesNothing(service, async () => {
      await refused(
        await service.call(`/api-keys/${other.keyId}`, { ...body, method: 'DELETE' }),
        'invalidRequest',
      )
      const headers = wallet.signHeaders({ action: 'get_api_key', keyId: one.keyId })
      await refused(await service.call(`/api-keys/${other.keyId}`, { headers }), 'invalidRequest')
      await refused(await service.call('/api-keys/%00', { headers }), 'invalidRequest')
    })
  })

  it('end for ever when revoked; once more, signed anew, is answered the same', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, { keyName: "O'Brien's bot" })
    const uuid = await createOrder(service, wallet)
    const expected = (sequence: number) => ({
      status: 'success',
      message: "API key 'O'Brien's bot' has been revoked",
      auditHead: { sequence, hash: expect.any(String) },
    })
    expect(await answered(await revoke(wallet, keyId))).toEqual(expected(2))
    const [{ revokedAt } = {} as Key] = await list(wallet)
    service.clock.now += 60_000
    expect(await answered(await revoke(wallet, keyId))).toEqual(expected(3))
    expect((await list(wallet))[0]?.revokedAt).toBe(revokedAt)
    const use = () =>
      service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers: { 'X-API-Key': apiKey } })
    await refused(await use(), 'apiKeyInactive')
  })

  it('cannot be managed with a key', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const headers = { 'X-API-Key': apiKey, Authorization: `Bearer ${apiKey}` }
    for (const [method, path] of [
      ['POST', '/api-keys'],
      ['GET', '/api-keys'],
      ['GET', `/api-keys/${keyId}`],
      ['DELETE', `/api-keys/${keyId}`],
    ] as const)
      await changesNothing(service, async () =>
        refused(await service.call(path, { method, headers }), 'signatureMissing'),
      )
  })

  it('count what they did: total is successful and failed, always', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, {
      permissions: ['create', 'cancel'],
    })
    const key = { 'X-API-Key': apiKey }
    const order = wallet.order()
    await answered(await service.call('/orders/new', json(order, key)), 201)
    await answered(await service.call('/orders/new', json(order, key)), 200)
    await answered(await service.call('/orders', { headers: key }))
    const cancel = () =>
      service.call(`/orders/${order.uuid}/cancel`, { method: 'PATCH', headers: key })
    await answered(await cancel())
    await refused(await cancel(), 'orderNotOpen')
    await refused(await service.call('/orders/new', json({}, key)), 'invalidRequest')
    await refused(
      await service.call('/orders/none/cancel', { method: 'PATCH', headers: key }),
      'orderNotFound',
    )
    await refused(
      await service.call(`/orders/${order.uuid}/execute`, { method: 'POST', headers: key }),
      'permissionDenied',
    )
    await refused(await service.call('/orders?limit=0', { headers: key }), 'invalidRequest')
    const { apiKey: shown } = await answered<{ apiKey: Key }>(await get(wallet, keyId))
    expect(shown.usageStats).toEqual({
      totalRequests: 9,
      successfulRequests: 4,
      failedRequests: 5,
      creationCount: 1,
      executionCount: 0,
      cancellationCount: 1,
    })
    expect(shown.lastUsedAt).toBe(new Date(service.clock.now).toISOString())
  })

  it('show the limit of the configuration, or their own', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { rateLimit: 17 })
    expect((await list(wallet))[0]?.rateLimit).toBe(17)
    const response = await service.call('/orders', { headers: { 'X-API-Key': apiKey } })
    expect(response.headers.get('X-RateLimit-Limit')).toBe('17')
    expect(response.headers.get('X-RateLimit-Remaining')).toBe('16')
  })
})

/** An answer without what differs in every answer. */
async function anonymous(response: Response): Promise<unknown> {
  const text = await response.clone().text()
  const { requestId, timestamp } = JSON.parse(text) as Record<string, string>
  const headers = [...response.headers].filter(
    ([name]) => !/^(x-request-id|.*ratelimit.*)$/.test(name),
  )
  return [
    response.status,
    text.replace(requestId ?? '', 'req').replace(timestamp ?? '', 'time'),
    headers,
  ]
}
