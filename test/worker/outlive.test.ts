import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { freshDatabase, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, fund, newWallet } from '../support/wallet.ts'
import { openIsolate } from './isolate.ts'

/** The runtime ends what belongs to a request when its client hangs up, but for what waitUntil was given. */
describe('what a request has begun', () => {
  let service: Service
  let databaseUrl: string
  let admin: postgres.Sql
  beforeAll(async () => {
    databaseUrl = await freshDatabase('Postgres')
    service = await startService('Postgres', { databaseUrl })
    admin = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  })
  afterAll(async () => {
    await Promise.all([service.close(), admin.end()])
  })

  it('is in the hands of waitUntil: an order that is sent is recorded, and the session is closed', async () => {
    const wallet = newWallet(service)
    await fund(service, wallet)
    const { apiKey } = await createKey(service, wallet)
    const uuid = await createOrder(service, wallet)
    const before = await sessions()

    const isolate = openIsolate(service, { databaseUrl })
    const answer = isolate.fetch(`/orders/${uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
    })
    answer.catch(() => {})
    await expect.poll(() => isolate.outliving.length).toBeGreaterThan(0)
    await Promise.all(isolate.outliving)

    const [order] = await admin`SELECT status FROM orders WHERE uuid = ${uuid}`
    expect(order).toEqual({ status: 'broadcasted' })
    await expect.poll(sessions).toBe(before)
  })

  async function sessions(): Promise<number> {
    const [row] = await admin`SELECT count(*)::int AS open FROM pg_stat_activity
      WHERE datname = current_database()`
    return row?.open
  }
})
