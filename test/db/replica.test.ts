import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest'
import { type Cluster, startCluster } from '../support/cluster.ts'
import { GENEROUS } from '../support/process.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, createOrder, newWallet, type Wallet } from '../support/wallet.ts'

const START_MS = 120_000
const MAX_LAG_SECONDS = 4

describe('a service with a replica', () => {
  let cluster: Cluster
  let service: Service
  let wallet: Wallet
  let key: { apiKey: string; keyId: string }
  beforeAll(async () => {
    cluster = await startCluster()
    const both = await cluster.freshDatabase()
    const at = (host: string) => both.replace(/@[^/]+/, `@${host}`)
    service = await startService('Postgres', {
      databaseUrl: at(cluster.primary.host),
      env: {
        ...GENEROUS,
        READ_DATABASE_URL: at(cluster.standby.host),
        MAX_REPLICA_LAG_SECONDS: String(MAX_LAG_SECONDS),
      },
    })
    wallet = newWallet(service)
    key = await createKey(service, wallet)
    await createOrder(service, wallet)
    await cluster.caughtUp()
  }, START_MS)
  afterAll(async () => {
    await service.world.replica?.close()
    await service.close()
    await cluster.close()
  })
  beforeEach(async () => {
    await cluster.caughtUp()
    await until(async () => (await lagOf('/orders')) !== undefined)
  })

  const signed = (members: Record<string, unknown>) => ({ headers: wallet.signHeaders(members) })
  /** In seconds; undefined of a response of the primary. */
  async function lagOf(path: string, init: RequestInit = {}): Promise<number | undefined> {
    const response = await service.call(path, init)
    expect(response.status, path).toBe(200)
    const lag = response.headers.get('X-Replica-Lag')
    return lag === null ? undefined : Number(lag)
  }
  async function list(init: RequestInit = {}): Promise<{ orders: number; lag: string | null }> {
    const response = await service.call(`/orders?owner=${wallet.address}&limit=100`, init)
    const { data } = (await response.json()) as { data: unknown[] }
    return { orders: data.length, lag: response.headers.get('X-Replica-Lag') }
  }
  async function until(holds: () => Promise<boolean>): Promise<void> {
    const began = performance.now()
    while (!(await holds())) if (performance.now() - began > 20_000) throw new Error('never')
  }
  const onStandby = (text: string) => cluster.ask(cluster.standby, text)

  const LAGGING: [string, () => [string, RequestInit?]][] = [
    ['GET /orders without a credential', () => ['/orders']],
    [
      'GET /api-keys/{keyId}/usage',
      () => [`/api-keys/${key.keyId}/usage`, signed({ action: 'get_api_key', keyId: key.keyId })],
    ],
    ['GET /usage', () => ['/usage', signed({ action: 'list_api_keys' })]],
    ['GET /audit', () => ['/audit', signed({ action: 'list_audit' })]],
  ]
  it.each(LAGGING)('reads %s there, and names the lag in whole seconds', async (_, request) => {
    const lag = await lagOf(...request())
    expect(lag).toBeGreaterThanOrEqual(1)
    expect(lag).toBeLessThanOrEqual(MAX_LAG_SECONDS + 1)
  })

  it.each(LAGGING)('reads %s on the primary where the request asks for it', async (_, request) => {
    const [path, init = {}] = request()
    const headers = { ...init.headers, 'Cache-Control': 'no-cache' }
    expect(await lagOf(path, { ...init, headers })).toBeUndefined()
  })

  it.each<[string, () => [string, RequestInit?]]>([
    ['GET /orders with a key', () => ['/orders', { headers: { 'X-API-Key': key.apiKey } }]],
    ['GET /orders, signed', () => ['/orders', signed({ action: 'list_orders' })]],
    ['GET /me', () => ['/me', { headers: { 'X-API-Key': key.apiKey } }]],
    ['GET /api-keys', () => ['/api-keys', signed({ action: 'list_api_keys' })]],
    [
      'GET /api-keys/{keyId}',
      () => [`/api-keys/${key.keyId}`, signed({ action: 'get_api_key', keyId: key.keyId })],
    ],
  ])('reads %s, by which its caller decides, on the primary', async (_, request) => {
    expect(await lagOf(...request())).toBeUndefined()
  })

  it('whose replay is paused names how old its answer is, and reads the primary once that is too old', async () => {
    await onStandby('SELECT pg_wal_replay_pause()')
    const before = await list()
    const pausedAt = performance.now()
    await createOrder(service, wallet)
    const seen = new Set<number>()
    for (;;) {
      const ageSeconds = (performance.now() - pausedAt) / 1_000
      const { orders, lag } = await list()
      if (lag === null) break
      // Everything that was committed longer ago than the lag is in the answer. The order is not.
      expect(Number(lag)).toBeGreaterThanOrEqual(Math.floor(ageSeconds))
      expect(orders).toBe(before.orders)
      seen.add(Number(lag))
    }
    expect(performance.now() - pausedAt).toBeGreaterThan((MAX_LAG_SECONDS - 2) * 1_000)
    expect(seen.size).toBeGreaterThan(1)
    expect(await list()).toEqual({ orders: before.orders + 1, lag: null })
    await onStandby('SELECT pg_wal_replay_resume()')
  })

  it('shows no page of an audit whose events before it has not replayed yet', async () => {
    await onStandby('SELECT pg_wal_replay_pause()')
    await createKey(service, wallet)
    const whole = await service.call('/audit', {
      headers: { ...signed({ action: 'list_audit' }).headers, 'Cache-Control': 'no-cache' },
    })
    const { events } = (await whole.json()) as { events: { sequence: number }[] }
    const newest = events.at(-1)?.sequence ?? 0
    expect(await lagOf('/audit', signed({ action: 'list_audit' }))).toBeDefined()
    const rest = await service.call(`/audit?after=${newest}`, signed({ action: 'list_audit' }))
    expect(rest.headers.get('X-Replica-Lag')).toBeNull()
    const { keys } = (await rest.json()) as { keys: unknown[] }
    expect(keys.length).toBeGreaterThan(1)
    await onStandby('SELECT pg_wal_replay_resume()')
  })

  it('is the primary alone while the replica is away, and reads it again when it is back', async () => {
    await cluster.standby.stop('fast')
    expect(await lagOf('/orders')).toBeUndefined()
    await cluster.standby.start()
    await until(async () => (await lagOf('/orders')) !== undefined)
  })

  it('reads no replica that has been promoted: it is no copy of the primary any more', async () => {
    await cluster.promote()
    await createOrder(service, wallet)
    expect(await lagOf('/orders')).toBeUndefined()
    expect(await list()).toEqual(await list({ headers: { 'Cache-Control': 'no-cache' } }))
  })
})
