import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { EVERYWHERE, type Service, startService } from '../support/service.ts'
import { createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

describe.each(EVERYWHERE)('the whole story on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  const secrets: string[] = []
  beforeAll(async () => {
    service = await startService(engine)
    wallet = newWallet(service)
  })
  afterAll(() => service.close())

  it('tells a wallet that signs, a key that trades, and a key that is no more', async () => {
    await fund(service, wallet)

    const granted = await service.call(
      '/api-keys',
      json(
        wallet.sign({
          action: 'create_api_key',
          keyName: 'My Trading Bot',
          permissions: ['create', 'execute', 'cancel'],
        }),
      ),
    )
    expect(granted.status).toBe(201)
    const created = (await granted.json()) as Record<string, string>
    const { apiKey = '', keyId = '' } = created
    expect(created).toMatchObject({ status: 'success', name: 'My Trading Bot', rateLimit: 100 })
    expect(apiKey).toMatch(/^ck_live_[0-9A-Za-z]{49}$/)
    secrets.push(apiKey)
    const key = { 'X-API-Key': apiKey }

    const first = wallet.order()
    secrets.push(first.signature)
    const made = await service.call('/orders/new', json(first, key))
    expect(made.status).toBe(201)
    const { data } = (await made.json()) as { data: Record<string, unknown> }
    expect(data).toMatchObject({ uuid: first.uuid, status: 'open', recipient: wallet.address })
    expect(data).not.toHaveProperty('signature')

    const before = await balanceOf(service, wallet)
    const executed = await service.call(`/orders/${first.uuid}/execute`, {
      method: 'POST',
      headers: key,
    })
    expect(await executed.json()).toMatchObject({
      status: 'success',
      txid: expect.stringMatching(/^[0-9a-f]{64}$/),
      data: { status: 'broadcasted' },
    })
    expect(executed.status).toBe(200)
    expect(await balanceOf(service, wallet)).toBeGreaterThan(before)

    const second = await createOrder(service, wallet)
    const cancelled = await service.call(`/orders/${second}/cancel`, {
      method: 'PATCH',
      headers: key,
    })
    expect(await cancelled.json()).toMatchObject({
      status: 'success',
      data: { status: 'cancelled' },
    })
    const tooLate = await service.call(`/orders/${second}/execute`, {
      method: 'POST',
      headers: key,
    })
    expect(tooLate.status).toBe(400)
    expect(await tooLate.json()).toMatchObject({
      error: 'Order not open',
      code: 'ORDER_NOT_OPEN',
      details: { status: 'cancelled' },
    })

    const listed = await service.call('/api-keys', {
      headers: wallet.signHeaders({ action: 'list_api_keys' }),
    })
    expect(await listed.json()).toMatchObject({
      apiKeys: [
        {
          id: keyId,
          status: 'active',
          usageStats: {
            totalRequests: 4,
            successfulRequests: 3,
            failedRequests: 1,
            creationCount: 1,
            executionCount: 1,
            cancellationCount: 1,
          },
        },
      ],
    })

    const revoked = await service.call(`/api-keys/${keyId}`, {
      ...json(wallet.sign({ action: 'delete_api_key', keyId })),
      method: 'DELETE',
    })
    expect(await revoked.json()).toMatchObject({
      message: "API key 'My Trading Bot' has been revoked",
    })
    const refused = await service.call(`/orders/${first.uuid}/execute`, {
      method: 'POST',
      headers: key,
    })
    expect(refused.status).toBe(401)
    expect(await refused.json()).toMatchObject({
      error: 'API key inactive',
      code: 'API_KEY_INACTIVE',
      details: { reason: 'revoked' },
    })
  })

  it('leaves no key and no order signature in any table or log line', async () => {
    const tables = await rows<{ name: string }>(
      service.world.db,
      sql`SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'`,
    )
    expect(tables.length).toBeGreaterThan(4)
    let stored = ''
    for (const { name } of tables) {
      const dump = await rows<{ row: string }>(
        service.world.db,
        sql.raw(`SELECT to_jsonb(t)::text AS row FROM "${name}" AS t`),
      )
      stored += dump.map(({ row }) => row).join('\n')
    }
    expect(stored).toContain(wallet.address)
    expect(service.logged.length).toBeGreaterThan(0)
    for (const secret of secrets)
      for (const form of formsOf(secret)) {
        expect(stored.toLowerCase()).not.toContain(form.toLowerCase())
        expect(service.logged.join('\n').toLowerCase()).not.toContain(form.toLowerCase())
      }
  })
})

/** A secret as text, as the bytes of that text, and as the bytes that it writes. */
function formsOf(secret: string): string[] {
  const hex = secret.replace(/^0x/, '')
  const bytes = Buffer.from(hex, /^[0-9a-f]+$/i.test(hex) ? 'hex' : 'utf8')
  return [
    hex,
    Buffer.from(secret).toString('hex'),
    bytes.toString('base64').slice(0, -4),
    // In a transaction, r and s stand together whatever surrounds them.
    hex.slice(0, 64),
  ]
}

async function balanceOf(service: Service, wallet: Wallet): Promise<bigint> {
  const url = `${service.world.config.STACKS_API_URL}/balances/${wallet.address}`
  const held = (await (await fetch(url)).json()) as { tokens: Record<string, string> }
  return BigInt(held.tokens[OUTPUT_TOKEN] ?? '0')
}
