import { readFileSync } from 'node:fs'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'
import { type CachingProxy, openCachingProxy } from './caching.ts'

/** What happens to whoever leaves query caching on: `npm run deploy` does not let them. */
describe('behind a cache of answers, as Hyperdrive has unless it is told otherwise,', () => {
  let direct: Service
  let cached: Service
  let proxy: CachingProxy
  let wallet: Wallet
  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    await setAsDocumented(databaseUrl)
    direct = await startService('Postgres', { databaseUrl })
    const behind = new URL(databaseUrl)
    proxy = await openCachingProxy(Number(behind.port))
    behind.port = String(proxy.port)
    cached = await startService('workerd', {
      databaseUrl: behind.href,
      maxConnections: 1,
      env: { ...secretsOf(direct), RATE_LIMIT_PER_MINUTE: '5' },
    })
    wallet = newWallet(cached)
  })
  afterAll(async () => {
    await cached.close()
    await Promise.all([direct.close(), proxy.close()])
  })

  const use = (apiKey: string) =>
    cached.call('/orders/unknown/execute', { method: 'POST', headers: { 'X-API-Key': apiKey } })

  it('an order that was cancelled still looks open: that is how a cache is noticed', async () => {
    const uuid = await createOrder(cached, wallet)
    const statusSeen = async (service: Service) => {
      const response = await service.call(`/orders/${uuid}`)
      return ((await response.json()) as { data: { status: string } }).data.status
    }
    expect(await statusSeen(cached)).toBe('open')
    const { status } = await direct.call(`/orders/${uuid}/cancel`, {
      ...json(wallet.sign({ action: 'cancel_order', uuid })),
      method: 'PATCH',
    })
    expect(status).toBe(200)
    expect(await statusSeen(direct)).toBe('cancelled')
    expect(await statusSeen(cached)).toBe('open')
    expect(proxy.served).toBeGreaterThan(0)
  })

  it('a cancelled order is not executed all the same, for the guard is in the statement that changes it', async () => {
    await fund(direct, wallet)
    const uuid = await createOrder(cached, wallet)
    await cached.call(`/orders/${uuid}`)
    await direct.call(`/orders/${uuid}/cancel`, {
      ...json(wallet.sign({ action: 'cancel_order', uuid })),
      method: 'PATCH',
    })
    const execute = wallet.sign({ action: 'execute_order', uuid })
    const { status } = await cached.call(`/orders/${uuid}/execute`, json(execute))
    expect(status).toBe(400)
  })

  it('the gate is never answered from it: a limit holds, and a revoked key is dead at once', async () => {
    const { apiKey } = await createKey(direct, wallet)
    const statuses = []
    for (let request = 0; request < 7; request++) statuses.push((await use(apiKey)).status)
    expect(statuses).toEqual([404, 404, 404, 404, 404, 429, 429])

    const other = await createKey(direct, wallet)
    expect((await use(other.apiKey)).status).toBe(404)
    await direct.call(`/api-keys/${other.keyId}`, {
      ...json(wallet.sign({ action: 'delete_api_key', keyId: other.keyId })),
      method: 'DELETE',
    })
    expect((await use(other.apiKey)).status).toBe(401)
  })
})

/** The settings of docs/workers.md. Without them each statement has a transaction, which no cache keeps. */
async function setAsDocumented(databaseUrl: string): Promise<void> {
  const page = readFileSync(new URL('../../docs/workers.md', import.meta.url), 'utf8')
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  for (const [, setting] of page.matchAll(/ALTER ROLE latchkey (SET .+);/g))
    await client.unsafe(`ALTER DATABASE ${new URL(databaseUrl).pathname.slice(1)} ${setting}`)
  await client.end()
}
