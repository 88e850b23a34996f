import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { openWalletFeed, type WalletFeed, type WalletVersion } from '../../src/wallets/feed.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

/** Polls when the test says so. */
function byHand() {
  let tick = () => {}
  return {
    pause: () =>
      new Promise<void>((resolve) => {
        tick = resolve
      }),
    poll: () => tick(),
  }
}

describe.each(ENGINES)('The stream of a wallet on %s', (engine) => {
  let service: Service
  let hand: ReturnType<typeof byHand>
  let feed: WalletFeed
  beforeAll(async () => {
    service = await startService(engine, {
      change: (world) => {
        hand = byHand()
        feed = openWalletFeed(world.db, world.log, { now: world.now, pause: hand.pause })
        return { ...world, walletFeed: feed }
      },
    })
  })
  const open: (() => Promise<void>)[] = []
  afterEach(async () => {
    for (const close of open.splice(0)) await close()
  })
  afterAll(() => service.close())

  async function openSession(wallet: Wallet, ttlSeconds = 60): Promise<string> {
    const body = json(wallet.sign({ action: 'create_session', ttlSeconds }))
    const { session } = await answered<{ session: string }>(
      await service.call('/sessions', body),
      201,
    )
    return session
  }

  async function follow(session: string, lastEventId?: string) {
    const response = await service.call('/events', {
      headers: {
        Authorization: `Bearer ${session}`,
        ...(lastEventId !== undefined && { 'Last-Event-ID': lastEventId }),
      },
    })
    expect(response.status).toBe(200)
    const chunks = (response.body as ReadableStream<Uint8Array>).getReader()
    open.push(() => chunks.cancel())
    const decoder = new TextDecoder()
    let text = ''
    const events = () =>
      [...text.matchAll(/^id: (\S+)\ndata: (.*)\n\n/gm)].map(([, id, data]) => ({
        id: id ?? '',
        version: JSON.parse(data ?? '') as WalletVersion,
      }))
    return {
      /** Polls until there are so many events. */
      async next(count: number) {
        while (events().length < count) {
          hand.poll()
          const { done, value } = await chunks.read()
          if (done) break
          text += decoder.decode(value, { stream: true })
        }
        return events()
      },
      async untilClosed() {
        for (;;) {
          hand.poll()
          if ((await chunks.read()).done) return
        }
      },
    }
  }

  it('has the version of the wallet at first, and one more for each change of a key or an order of it', async () => {
    const wallet = newWallet(service)
    const stream = await follow(await openSession(wallet))
    const [first] = await stream.next(1)
    expect(first?.version).toEqual({ audit: 1, orders: '' })
    await createKey(service, wallet)
    const [, second] = await stream.next(2)
    expect(second?.version).toEqual({ audit: 2, orders: '' })
    await createKey(service, newWallet(service))
    const uuid = await createOrder(service, wallet)
    const [, , third] = await stream.next(3)
    expect(third?.version.audit).toBe(2)
    expect(third?.version.orders).toMatch(/^[0-9a-f]{32}$/)
    await answered(
      await service.call(`/orders/${uuid}/cancel`, {
        ...json(wallet.sign({ action: 'cancel_order', uuid })),
        method: 'PATCH',
      }),
    )
    const [, , , fourth] = await stream.next(4)
    expect(fourth?.version.orders).not.toBe(third?.version.orders)
    expect(new Set([first, second, third, fourth].map((event) => event?.id)).size).toBe(4)
  })

  it('leaves out the version that a client has', async () => {
    const wallet = newWallet(service)
    const session = await openSession(wallet)
    const [known] = await (await follow(session)).next(1)
    const again = await follow(session, known?.id)
    await createKey(service, wallet)
    const [event] = await again.next(1)
    expect(event?.version.audit).toBe(2)
  })

  it('ends with its session', async () => {
    const wallet = newWallet(service)
    const session = await openSession(wallet)
    const stream = await follow(session)
    await stream.next(1)
    const headers = { Authorization: `Bearer ${session}` }
    await answered(await service.call('/sessions/self', { method: 'DELETE', headers }))
    await stream.untilClosed()
    await refused(await service.call('/events', { headers }), 'sessionInvalid')
  })

  it('is for a session only, and takes no id that is none', async () => {
    await refused(await service.call('/events'), 'sessionInvalid')
    const headers = { Authorization: `Bearer ${await openSession(newWallet(service))}` }
    for (const id of ['x y', 'drop', '1'.repeat(65)])
      await refused(
        await service.call('/events', { headers: { ...headers, 'Last-Event-ID': id } }),
        'invalidRequest',
      )
  })

  it('costs one statement for all that follow, and none without any', async () => {
    const wallet = newWallet(service)
    const streams = [
      await follow(await openSession(wallet)),
      await follow(await openSession(wallet, 61)),
    ]
    for (const stream of streams) await stream.next(1)
    const before = service.statements.length
    await createKey(service, wallet)
    const own = service.statements.length - before
    await Promise.all(streams.map((stream) => stream.next(2)))
    expect(service.statements.length - before - own).toBeLessThanOrEqual(3)
    for (const close of open.splice(0)) await close()
    hand.poll()
    const after = service.statements.length
    for (let time = 0; time < 5; time++) hand.poll()
    await new Promise((resolve) => setImmediate(resolve))
    expect(service.statements.length).toBe(after)
  })

  it('takes one of the limited places, and gives it back', async () => {
    const session = await openSession(newWallet(service))
    const before = service.world.feed?.taken() ?? 0
    const stream = await follow(session)
    await stream.next(1)
    expect(service.world.feed?.taken()).toBe(before + 1)
    for (const close of open.splice(0)) await close()
    expect(service.world.feed?.taken()).toBe(before)
    const head = await service.call('/events', {
      method: 'HEAD',
      headers: { Authorization: `Bearer ${session}` },
    })
    expect(head.status).toBe(200)
    expect(service.world.feed?.taken()).toBe(before)
  })
})

it('on Workers there is none, and clients are told to read again', async () => {
  const service = await startService('workerd')
  try {
    const wallet = newWallet(service)
    const body = json(wallet.sign({ action: 'create_session', ttlSeconds: 60 }))
    const { session } = await answered<{ session: string }>(
      await service.call('/sessions', body),
      201,
    )
    const headers = { Authorization: `Bearer ${session}` }
    await refused(await service.call('/events', { headers }), 'eventsUnsupported')
  } finally {
    await service.close()
  }
})
