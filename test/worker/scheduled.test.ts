import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { SILENCE_MARGIN_MS } from '../../src/keys/watches.ts'
import { freshDatabase, type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'
import { ROOT, startWorker } from './workerd.ts'

const MINUTE = 60_000

describe('a tick of the cron', () => {
  let service: Service
  let worker: Awaited<ReturnType<typeof startWorker>>
  let wallet: Wallet
  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    service = await startService('Postgres', { databaseUrl })
    worker = await startWorker(inject('runFolder'), databaseUrl, {
      ...secretsOf(service),
      STACKS_API_URL: inject('devnetUrl'),
      QUOTE_URL: `${inject('devnetUrl')}/quote`,
    })
    wallet = newWallet(service)
    await fund(service, wallet)
  })
  afterAll(async () => {
    await worker.stop()
    await service.close()
  })

  const statusOf = async (uuid: string) => {
    const { data } = (await (await service.call(`/orders/${uuid}`)).json()) as {
      data: { status: string }
    }
    return data.status
  }

  it('follows a transaction until its order is confirmed', async () => {
    const { apiKey } = await createKey(service, wallet)
    const uuid = await createOrder(service, wallet)
    const executed = await worker.call(`/api/v1/orders/${uuid}/execute`, {
      method: 'POST',
      headers: { 'X-API-Key': apiKey },
      now: service.clock.now,
    })
    expect(executed.response.status).toBe(200)
    expect(await statusOf(uuid)).toBe('broadcasted')
    expect(await worker.tick(service.clock.now + MINUTE)).toBe('ok')
    expect(await statusOf(uuid)).toBe('confirmed')
  })

  it('expires an order whose time has passed, and leaves the others alone', async () => {
    const validTo = new Date(service.clock.now + MINUTE).toISOString()
    const [late, open] = [
      await createOrder(service, wallet, { validTo }),
      await createOrder(service, wallet),
    ]
    const stored = async () =>
      (await service.database.db.execute(
        `SELECT status FROM orders WHERE uuid IN ('${late}', '${open}') ORDER BY sequence`,
      )) as unknown as { status: string }[]
    expect(await worker.tick(service.clock.now + MINUTE - 1)).toBe('ok')
    expect((await stored()).map(({ status }) => status)).toEqual(['open', 'open'])
    expect(await worker.tick(service.clock.now + MINUTE)).toBe('ok')
    expect((await stored()).map(({ status }) => status)).toEqual(['expired', 'open'])
  })

  it('cancels what a silent key left open, at its time and not before', async () => {
    const { apiKey } = await createKey(service, wallet, {
      heartbeat: { seconds: 10, then: 'cancel' },
    })
    const order = wallet.order()
    expect((await service.call('/orders/new', json(order, { 'X-API-Key': apiKey }))).status).toBe(
      201,
    )
    const actsAt = service.clock.now + 10_000 + SILENCE_MARGIN_MS
    expect(await worker.tick(actsAt - 1)).toBe('ok')
    expect(await statusOf(order.uuid)).toBe('open')
    // Looked at again when it is due, which is the next millisecond.
    expect(await worker.tick(actsAt)).toBe('ok')
    expect(await statusOf(order.uuid)).toBe('cancelled')
  })

  it('that fails is logged, with the job and the cause', async () => {
    const broken = await startWorker(inject('runFolder'), 'postgres://a:a@127.0.0.1:1/none', {
      ...secretsOf(service),
      STACKS_API_URL: inject('devnetUrl'),
      QUOTE_URL: `${inject('devnetUrl')}/quote`,
    })
    expect(await broken.tick(service.clock.now)).not.toBe('ok')
    const { trace } = await broken.call('/health', { now: service.clock.now })
    const [line = '{}'] = trace.logged.filter((text) => text.includes('"job_failed"'))
    expect(JSON.parse(line)).toMatchObject({ level: 'error', fault: expect.stringMatching(/./) })
    await broken.stop()
  })

  it('comes every minute', async () => {
    const toml = await readFile(join(ROOT, 'wrangler.toml'), 'utf8')
    expect(toml).toContain('crons = ["* * * * *"]')
  })
})
