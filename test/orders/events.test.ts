import { get } from 'node:http'
import { setTimeout as pause } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { listen } from '../../src/node/listen.ts'
import { type FeedOptions, type OrderFeed, openOrderFeed } from '../../src/orders/feed.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from '../settlement/chain.ts'
import { refused } from '../support/assertions.ts'
import { ENGINES, type Engine, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, newWallet } from '../support/wallet.ts'

interface Told {
  id: number
  data: Record<string, unknown>
}

/** Reads a stream of events: the next one, all until its end, or its raw text. */
function reader(response: Response) {
  const decoder = new TextDecoder()
  const chunks = (response.body as ReadableStream<Uint8Array>).getReader()
  let text = ''
  let isOver = false
  const more = async () => {
    const { done, value } = await chunks.read()
    text += decoder.decode(value, { stream: true })
    isOver = done
  }
  const events = (): Told[] =>
    [...text.matchAll(/^id: (\d+)\ndata: (.*)\n\n/gm)].map(([, id, data]) => ({
      id: Number(id),
      data: JSON.parse(data ?? ''),
    }))
  return {
    async until(enough: (text: string) => boolean) {
      while (!isOver && !enough(text)) await more()
      return text
    },
    async next(count: number) {
      while (!isOver && events().length < count) await more()
      return events()
    },
    async all() {
      while (!isOver) await more()
      return events()
    },
    leave: () => chunks.cancel(),
  }
}

const statuses = (events: Told[]) => events.map(({ data }) => data.status)

/** Polls when the test says so. */
function byHand() {
  let tick = () => {}
  return {
    pause: () =>
      new Promise<void>((resolve) => {
        tick = resolve
      }),
    tick: () => tick(),
  }
}

const opened: Service[] = []
afterEach(async () => {
  for (const service of opened.splice(0)) {
    feedOf(service).close()
    await service.close()
  }
})

async function start(engine: Engine, options: Partial<FeedOptions> = {}): Promise<Service> {
  const service = await startService(engine, {
    change: (world) => ({
      ...world,
      feed: openOrderFeed(world.db, world.log, { now: world.now, pause, pollMs: 10, ...options }),
    }),
  })
  opened.push(service)
  return service
}

function feedOf(service: Pick<Service, 'world'>): OrderFeed {
  return service.world.feed as OrderFeed
}

const cancel = (service: Service, uuid: string, apiKey: string) =>
  service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers: { 'X-API-Key': apiKey } })

describe("an order's events", () => {
  let chain: OwnChain
  let settling: Settling
  beforeAll(async () => {
    chain = await startOwnChain()
    settling = await startSettling(chain, { engine: 'Postgres' })
  })
  afterAll(async () => {
    feedOf(settling).close()
    await settling.close()
    await chain.stop()
  })

  it('are told as they happen, each with its id, until the order has ended', async () => {
    const uuid = await createOrder(settling, settling.wallet)
    const response = await settling.call(`/orders/${uuid}/events`)
    expect(response.status).toBe(200)
    expect(response.headers.get('Content-Type')).toBe('text/event-stream')
    expect(response.headers.get('X-Request-Id')).toMatch(/^req_/)
    const events = reader(response)
    expect(statuses(await events.next(1))).toEqual(['open'])
    const { body } = await settling.execute(uuid)
    expect(statuses(await events.next(3))).toEqual(['open', 'executing', 'broadcasted'])
    const order = await settling.until(uuid, 'confirmed')
    const told = await events.all()
    expect(statuses(told)).toEqual(['open', 'executing', 'broadcasted', 'confirmed'])
    expect(told.map(({ id }) => id)).toEqual(told.map(({ id }) => id).toSorted((a, b) => a - b))
    expect(told.at(-1)?.data).toEqual({
      uuid,
      status: 'confirmed',
      at: order.confirmedAt,
      txid: body.txid,
      blockHeight: order.blockHeight,
      amountOut: order.amountOut,
    })
    expect(feedOf(settling).taken()).toBe(0)

    const resume = (id: number | undefined) =>
      settling.call(`/orders/${uuid}/events`, { headers: { 'Last-Event-ID': String(id) } })
    for (const [at, { id }] of told.slice(0, -1).entries())
      expect(await reader(await resume(id)).all()).toEqual(told.slice(at + 1))
    const known = await resume(told.at(-1)?.id)
    expect(known.status).toBe(204)
    expect(known.body).toBeNull()
  })

  it('say why it failed', async () => {
    const uuid = await createOrder(settling, settling.wallet)
    await chain.plan({ on: '/v2/transactions', do: 'reject', reason: 'NoSuchContract', times: 2 })
    await settling.execute(uuid)
    await settling.until(uuid, 'failed')
    const told = await reader(await settling.call(`/orders/${uuid}/events`)).all()
    expect(told.at(-1)?.data).toMatchObject({ status: 'failed', failureReason: 'NoSuchContract' })
  })
})

describe.each(ENGINES)('a stream of events on %s', (engine) => {
  it('hears every change exactly once, however often it comes back', async () => {
    const service = await start(engine)
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { permissions: ['cancel'] })
    const uuid = await createOrder(service, wallet)
    const first = reader(await service.call(`/orders/${uuid}/events`))
    const [open] = await first.next(1)
    await first.leave()
    expect((await cancel(service, uuid, apiKey)).status).toBe(200)
    const headers = { 'Last-Event-ID': String(open?.id) }
    const rest = await reader(await service.call(`/orders/${uuid}/events`, { headers })).all()
    expect(statuses(rest)).toEqual(['cancelled'])
  })

  it('tells all of it to a client whose last event is none of its own, ended or open', async () => {
    const service = await start(engine)
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { permissions: ['cancel'] })
    const uuid = await createOrder(service, wallet)
    const headers = { 'Last-Event-ID': '999999999' }
    const events = reader(await service.call(`/orders/${uuid}/events`, { headers }))
    expect(statuses(await events.next(1))).toEqual(['open'])
    expect((await cancel(service, uuid, apiKey)).status).toBe(200)
    expect(statuses(await events.all())).toEqual(['open', 'cancelled'])
    const again = reader(await service.call(`/orders/${uuid}/events`, { headers }))
    expect(statuses(await again.all())).toEqual(['open', 'cancelled'])
  })

  it('hears something now and then although nothing happens', async () => {
    const service = await start(engine, { heartbeatMs: 30 })
    const uuid = await createOrder(service, newWallet(service))
    const events = reader(await service.call(`/orders/${uuid}/events`))
    const text = await events.until((text) => text.split(': heartbeat\n\n').length > 3)
    expect(text.startsWith('retry: 2000\n\nid: ')).toBe(true)
    await events.leave()
  })

  it('costs one statement for all of them, and none while nobody listens', async () => {
    const hand = byHand()
    const service = await start(engine, { pause: hand.pause })
    const uuid = await createOrder(service, newWallet(service))
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet)
    const streams = await Promise.all(
      Array.from({ length: 40 }, (_, at) =>
        service.call(`/orders/${uuid}/events`, {
          headers: at % 2 === 0 ? { 'X-API-Key': apiKey } : {},
        }),
      ),
    )
    const readers = streams.map(reader)
    for (const events of readers) expect(statuses(await events.next(1))).toEqual(['open'])
    for (let polls = 0; polls < 3; polls++) {
      const before = service.statements.length
      hand.tick()
      await pause(20)
      expect(service.statements.slice(before)).toHaveLength(1)
    }
    await Promise.all(readers.map((events) => events.leave()))
    expect(feedOf(service).taken()).toBe(0)
    const before = service.statements.length
    for (let polls = 0; polls < 3; polls++) {
      hand.tick()
      await pause(10)
    }
    expect(service.statements.slice(before)).toEqual([])
  })

  it('ends when the key that it came with does', async () => {
    const service = await start(engine)
    const wallet = newWallet(service)
    const uuid = await createOrder(service, wallet)
    const [one, other] = [await createKey(service, wallet), await createKey(service, wallet)]
    const open = async (headers: Record<string, string>) => {
      const events = reader(await service.call(`/orders/${uuid}/events`, { headers }))
      await events.next(1)
      return events
    }
    const ending = await open({ 'X-API-Key': one.apiKey })
    const staying = [await open({ 'X-API-Key': other.apiKey }), await open({})]
    const revoked = await service.call('/api-keys/self', {
      method: 'DELETE',
      headers: { 'X-API-Key': one.apiKey },
    })
    expect(revoked.status).toBe(200)
    await ending.all()
    expect(feedOf(service).taken()).toBe(2)
    await refused(
      await service.call(`/orders/${uuid}/events`, { headers: { 'X-API-Key': one.apiKey } }),
      'apiKeyInactive',
    )
    for (const events of staying) await events.leave()
  })

  it('may not be transformed or buffered by what is between', async () => {
    const service = await start(engine)
    const uuid = await createOrder(service, newWallet(service))
    const response = await service.call(`/orders/${uuid}/events`)
    expect(response.headers.get('Cache-Control')).toBe('no-store, no-transform')
    expect(response.headers.get('X-Accel-Buffering')).toBe('no')
    await response.body?.cancel()
  })

  it('ends at its maximum age, and its client resumes without a loss', async () => {
    const service = await start(engine, { maxAgeMs: 30 })
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { permissions: ['cancel'] })
    const uuid = await createOrder(service, wallet)
    const first = await reader(await service.call(`/orders/${uuid}/events`)).all()
    expect(statuses(first)).toEqual(['open'])
    expect(feedOf(service).taken()).toBe(0)
    const headers = { 'Last-Event-ID': String(first.at(-1)?.id) }
    const again = await service.call(`/orders/${uuid}/events`, { headers })
    expect((await cancel(service, uuid, apiKey)).status).toBe(200)
    const last = await reader(again).all()
    const rest =
      last.length > 0
        ? last
        : await reader(await service.call(`/orders/${uuid}/events`, { headers })).all()
    expect(statuses(rest)).toEqual(['cancelled'])
  })

  it('takes no place of a key when it has none', async () => {
    const service = await start(engine, { maxStreams: 6, maxKeylessStreams: 3, maxOfKey: [2, 3] })
    const wallet = newWallet(service)
    const uuid = await createOrder(service, wallet)
    const open = (ip: string, apiKey?: string) =>
      service.call(`/orders/${uuid}/events`, {
        ip,
        headers: apiKey === undefined ? {} : { 'X-API-Key': apiKey },
      })
    const streams = []
    for (const ip of ['192.0.2.1', '198.51.100.1', '203.0.113.1']) streams.push(await open(ip))
    await refused(await open('233.252.0.1'), 'unavailable')
    const [one, other] = [await createKey(service, wallet), await createKey(service, wallet)]
    for (let time = 0; time < 2; time++) streams.push(await open('192.0.2.1', one.apiKey))
    await refused(await open('192.0.2.1', one.apiKey), 'tooManyStreams')
    streams.push(await open('192.0.2.1', other.apiKey))
    for (const stream of streams) expect(stream.status).toBe(200)
    for (const stream of streams) await stream.body?.cancel()
    streams.length = 0
    for (let time = 0; time < 3; time++)
      streams.push(await open('192.0.2.1', time < 2 ? one.apiKey : other.apiKey))
    await refused(await open('192.0.2.9', other.apiKey), 'tooManyStreams')
    for (const stream of streams) await stream.body?.cancel()
  })

  it('is counted by the /64 of its address, and by the wider networks around it', async () => {
    const service = await start(engine, { maxOfNetwork: [2, 3, 4] })
    const uuid = await createOrder(service, newWallet(service))
    const open = (ip: string) => service.call(`/orders/${uuid}/events`, { ip })
    const streams = []
    for (const last of ['1', '2']) streams.push(await open(`2001:db8:1:1::${last}`))
    await refused(await open('2001:db8:1:1:ffff::3'), 'tooManyStreams')
    streams.push(await open('2001:db8:1:2::1'))
    await refused(await open('2001:db8:1:3::1'), 'tooManyStreams')
    streams.push(await open('2001:db8:2:1::1'))
    const { details } = await refused(await open('2001:db8:3:1::1'), 'tooManyStreams')
    expect(details).toEqual({ most: 4 })
    streams.push(await open('2001:db9::1'))
    for (const stream of streams) expect(stream.status).toBe(200)
    for (const stream of streams) await stream.body?.cancel()
    expect(feedOf(service).taken()).toBe(0)
    expect((await open('2001:db8:1:1::3')).status).toBe(200)
  })

  it('is one of so many for each caller, and of so many in all', async () => {
    const service = await start(engine, { maxStreams: 5, maxOfNetwork: [2] })
    const uuid = await createOrder(service, newWallet(service))
    const open = (ip: string) => service.call(`/orders/${uuid}/events`, { ip })
    const streams = [await open('192.0.2.1'), await open('192.0.2.1')]
    const tooMany = await open('192.0.2.1')
    expect(tooMany.headers.get('Retry-After')).toBe('5')
    await refused(tooMany, 'tooManyStreams')
    for (const ip of ['192.0.2.2', '192.0.2.3', '192.0.2.4']) streams.push(await open(ip))
    await refused(await open('192.0.2.5'), 'unavailable')
    for (const stream of streams) expect(stream.status).toBe(200)
    await streams[0]?.body?.cancel()
    await streams[2]?.body?.cancel()
    expect((await open('192.0.2.1')).status).toBe(200)
  })

  it('is refused, and takes no place, for what is no order and no event', async () => {
    const service = await start(engine)
    const uuid = await createOrder(service, newWallet(service))
    await refused(await service.call('/orders/nothing/events'), 'orderNotFound')
    const headers = { 'Last-Event-ID': 'x' }
    await refused(await service.call(`/orders/${uuid}/events`, { headers }), 'invalidRequest')
    const head = await service.call(`/orders/${uuid}/events`, { method: 'HEAD' })
    expect(head.status).toBe(200)
    expect(feedOf(service).taken()).toBe(0)
  })

  it('ends with the process, which then takes no more', async () => {
    const service = await start(engine)
    const uuid = await createOrder(service, newWallet(service))
    const events = reader(await service.call(`/orders/${uuid}/events`))
    await events.next(1)
    feedOf(service).close()
    await events.all()
    await refused(await service.call(`/orders/${uuid}/events`), 'unavailable')
    expect(feedOf(service).taken()).toBe(0)
  })
})

it('misses no change that was committed after a later one of another order', async () => {
  const service = await start('Postgres')
  const wallet = newWallet(service)
  const [early, late] = [await createOrder(service, wallet), await createOrder(service, wallet)]
  const [one, other] = await Promise.all(
    [early, late].map(async (uuid) => reader(await service.call(`/orders/${uuid}/events`))),
  )
  await Promise.all([one?.next(1), other?.next(1)])
  const tell = (uuid: string) => sql`INSERT INTO order_events (order_uuid, status, at)
    VALUES (${uuid}, 'cancelled', now())`
  await service.world.db.transaction(async (tx) => {
    await tx.execute(tell(early))
    await service.world.db.execute(tell(late))
    expect(statuses((await other?.all()) ?? [])).toEqual(['open', 'cancelled'])
  })
  expect(statuses((await one?.all()) ?? [])).toEqual(['open', 'cancelled'])
})

it('leaves nothing behind when clients come and go on real sockets', {
  timeout: 60_000,
}, async () => {
  const service = await start('Postgres')
  const app = createApp({
    worldOf: () => service.world,
    addressOf: () => String(Math.random()),
    allowedOrigins: ['*'],
  })
  const { port, finish } = await listen(
    app,
    { HOST: '127.0.0.1', PORT: 0, KEEP_ALIVE_SECONDS: 65 },
    { log: service.world.log },
  )
  const uuid = await createOrder(service, newWallet(service))
  const url = `http://127.0.0.1:${port}/api/v1/orders/${uuid}/events`
  let heard = 0
  /** Leaves when it has heard something, or before. */
  const visit = (leaveAfterMs: number | undefined) =>
    new Promise<void>((resolve) => {
      const request = get(url, { agent: false }, (response) => {
        response.once('data', () => {
          heard += 1
          request.destroy()
        })
        response.on('error', () => {})
      })
      request.on('error', () => {})
      request.once('close', resolve)
      if (leaveAfterMs !== undefined) setTimeout(() => request.destroy(), leaveAfterMs)
    })
  await Promise.all(
    Array.from({ length: 20 }, async () => {
      for (let visits = 0; visits < 20; visits++)
        await visit(visits % 2 === 0 ? Math.random() * 30 : undefined)
    }),
  )
  expect(heard).toBeGreaterThanOrEqual(200)
  for (let waited = 0; waited < 100 && feedOf(service).taken() > 0; waited++) await pause(20)
  expect(feedOf(service).taken()).toBe(0)
  await finish()
})

it('is not given on Workers, which say so', async () => {
  const service = await startService('workerd')
  const uuid = await createOrder(service, newWallet(service))
  await refused(await service.call(`/orders/${uuid}/events`), 'eventsUnsupported')
  await service.close()
})
