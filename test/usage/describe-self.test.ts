import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import type { Me } from '../../src/keys/key.ts'
import { startService } from '../http/documented.ts'
import { answered } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'

describe.each(ENGINES)('A key that asks what it may do, on %s,', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  const me = async (apiKey: string) =>
    answered<Me & Record<string, unknown>>(
      await service.call('/me', { headers: { 'X-API-Key': apiKey } }),
    )

  it('learns whose it is, what it may do, and what is left', async () => {
    const wallet = newWallet(service)
    const expiresAt = service.clock.now + 3_600_000
    const limits = {
      tokens: [INPUT_TOKEN, OUTPUT_TOKEN],
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '100' } },
    }
    const { apiKey, keyId } = await createKey(service, wallet, {
      keyName: 'bot',
      permissions: ['create'],
      rateLimit: 20,
      expiresAt,
      ...limits,
    })
    const order = wallet.order({ amountIn: '60' })
    await answered(await service.call('/orders/new', json(order, { 'X-API-Key': apiKey })), 201)
    const seen = await me(apiKey)
    expect(seen).toEqual({
      status: 'success',
      owner: wallet.address,
      ownerCaip10: `stacks:2147483648:${wallet.address}`,
      keyId,
      name: 'bot',
      permissions: ['create'],
      limits,
      spentToday: { [INPUT_TOKEN]: '60' },
      rateLimit: 20,
      windows: [
        expect.objectContaining({ name: 'minute', limit: 20, remaining: 18 }),
        expect.objectContaining({ name: 'hour', limit: 1_000, remaining: 998 }),
        expect.objectContaining({ name: 'day', limit: 10_000, remaining: 9_998 }),
      ],
      expiresAt: new Date(expiresAt).toISOString(),
      createdAt: new Date(service.clock.now).toISOString(),
    })
    expect(JSON.stringify(seen)).not.toContain(apiKey.slice(12, -4))
  })

  it('that is not limited learns so', async () => {
    const { apiKey } = await createKey(service, newWallet(service))
    expect(await me(apiKey)).toMatchObject({ limits: {}, spentToday: {}, rateLimit: 100 })
  })
})
