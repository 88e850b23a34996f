import { createServer } from 'node:http'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient, type OrderUpdate, privateKeySigner } from '../../src/client/index.ts'
import { type BreakingProxy, startBreakingProxy } from '../support/breaking-proxy.ts'
import { type Service, startService } from '../support/server.ts'
import { NOON, refusal, scripted } from './scripted.ts'

const page = (...uuids: string[]) => uuids.map((uuid) => ({ uuid }))

describe('A list', () => {
  const script = () => [
    { body: { data: page('a', 'b'), nextCursor: '2' } },
    { body: { data: page('c', 'd'), nextCursor: '4' } },
    { body: { data: page('e') } },
  ]

  it('is iterated over item by item, or page by page, with a request a page', async () => {
    const items = scripted(script())
    const seen: unknown[] = []
    for await (const { uuid } of items.client.orders.listAll()) seen.push(uuid)
    expect(seen).toEqual(['a', 'b', 'c', 'd', 'e'])
    const pages = scripted(script())
    const lengths: number[] = []
    for await (const { items } of pages.client.orders.listAll({ limit: 2 }).pages())
      lengths.push(items.length)
    expect(lengths).toEqual([2, 2, 1])
    const queries = pages.sent.map(({ url }) => url.search)
    expect(queries).toEqual(['?limit=2', '?limit=2&cursor=2', '?limit=2&cursor=4'])
  })

  it('is read page by page, from any of them, to the last', async () => {
    const { client, sent } = scripted(script())
    const first = await client.orders.listAll().page()
    const second = await first.nextPage()
    const third = await client.orders.listAll().page(second?.nextCursor).withResponse()
    expect(sent.map(({ url }) => url.searchParams.get('cursor'))).toEqual([null, '2', '4'])
    expect([first.nextCursor, third.data.nextCursor]).toEqual(['2', undefined])
    expect(third.response.status).toBe(200)
    expect(await third.data.nextPage()).toBeUndefined()
  })

  it('requests nothing before it is used, and nothing after it was left', async () => {
    const { client, sent } = scripted(script())
    const list = client.orders.listAll()
    expect(sent).toEqual([])
    for await (const _ of list) break
    expect(sent).toHaveLength(1)
  })

  it('of events is oldest first, with the place of the next page', async () => {
    const event = (sequence: number) => ({ sequence, body: '{}', hash: '0'.repeat(64) })
    const { client, sent } = scripted(
      [{ body: { events: [event(1), event(2)], nextAfter: 2 } }, { body: { events: [event(3)] } }],
      { session: 'cs_1' },
    )
    const sequences: number[] = []
    for await (const { sequence } of client.audit.events()) sequences.push(sequence)
    expect(sequences).toEqual([1, 2, 3])
    expect(sent.map(({ url }) => url.searchParams.get('after'))).toEqual(['0', '2'])
  })
})

describe('The changes of an order', () => {
  const uuid = 'uuid-1'
  const event = (id: number, status: string) =>
    `id: ${id}\ndata: ${JSON.stringify({ uuid, status, at: '2026-11-21T10:00:00.000Z' })}\n\n`
  const order = (status: string) => ({ body: { data: { uuid, status } } })
  const all = async (updates: AsyncIterable<OrderUpdate>) => {
    const seen: string[] = []
    for await (const { id, status } of updates) seen.push(`${id} ${status}`)
    return seen
  }

  it('end once the order has', async () => {
    const { client } = scripted([{ body: event(1, 'open') + event(2, 'cancelled') }])
    expect(await all(client.orders.events(uuid))).toEqual(['1 open', '2 cancelled'])
  })

  it('go on after the last one when the connection has ended', async () => {
    const { client, sent } = scripted([
      { body: event(1, 'open') + event(2, 'executing') + event(3, 'broad').slice(0, 20) },
      order('executing'),
      new TypeError('reset'),
      order('executing'),
      { body: event(3, 'broadcasted') + event(4, 'confirmed') },
    ])
    const expected = ['1 open', '2 executing', '3 broadcasted', '4 confirmed']
    expect(await all(client.orders.events(uuid))).toEqual(expected)
    const asked = sent.filter(({ url }) => url.pathname.endsWith('/events'))
    expect(asked.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '2', '2'])
  })

  it('begin after one that is known, and end where there is none after it', async () => {
    const { client, sent } = scripted([{ status: 204, body: '' }])
    expect(await all(client.orders.events(uuid, { lastEventId: '4' }))).toEqual([])
    expect(sent[0]?.headers['last-event-id']).toBe('4')
  })

  it('are seen by requests where there is no stream', async () => {
    const unsupported = refusal(501, 'EVENTS_UNSUPPORTED')
    const script = [unsupported, order('open'), order('open'), order('executing'), order('failed')]
    const { client } = scripted(script)
    const seen: (OrderUpdate & { id?: string })[] = []
    for await (const update of client.orders.events(uuid)) seen.push(update)
    expect(seen.map(({ status, id }) => [status, id])).toEqual([
      ['open', undefined],
      ['executing', undefined],
      ['failed', undefined],
    ])
    expect(Date.parse(seen[0]?.at ?? '')).toBe(NOON)
  })

  it('are those of this order, and no other text', async () => {
    const foreign = 'id: 1\ndata: {"uuid":"other","status":"open","at":"x"}\n\nid: 2\ndata: [\n\n'
    const { client } = scripted([{ body: foreign + event(3, 'confirmed') }])
    expect(await all(client.orders.events(uuid))).toEqual(['3 confirmed'])
  })

  it('end where a stream of an order that has ended brings nothing more', async () => {
    const { client, waits } = scripted([
      { body: '' },
      order('failed'),
      { body: '' },
      order('failed'),
    ])
    expect(await all(client.orders.events(uuid))).toEqual(['undefined failed'])
    expect(waits.every((ms) => ms > 0)).toBe(true)
  })

  it.each(['break', 'abort'])('hold no socket after a %s', async (end) => {
    let open = 0
    const server = createServer((_, response) => {
      open += 1
      response.on('close', () => {
        open -= 1
        closed()
      })
      response.writeHead(200, { 'content-type': 'text/event-stream' }).write(event(1, 'open'))
    })
    let closed = () => {}
    const ended = new Promise<void>((resolve) => {
      closed = resolve
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    const address = server.address()
    const port = typeof address === 'object' ? address?.port : 0
    const client = createClient({ baseUrl: `http://127.0.0.1:${port}` })
    const leaving = new AbortController()
    const reason = new Error('enough')
    const follow = async () => {
      for await (const _ of client.orders.events(uuid, { signal: leaving.signal })) {
        expect(open).toBe(1)
        if (end === 'break') return
        leaving.abort(reason)
      }
    }
    if (end === 'break') await follow()
    else await expect(follow()).rejects.toMatchObject({ code: 'ABORTED', cause: reason })
    await ended
    expect(open).toBe(0)
    await new Promise((resolve) => server.close(resolve))
  })
})

describe('Against the service itself', () => {
  let service: Service
  let proxy: BreakingProxy
  beforeAll(async () => {
    service = await startService()
    proxy = await startBreakingProxy(service.url)
  }, 240_000)
  afterAll(async () => {
    await proxy?.close()
    await service?.stop()
  })

  it('the changes of an order are each seen once, though the stream is cut', async () => {
    const privateKey = `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}01`
    const signer = privateKeySigner(privateKey, 'devnet')
    const owner = createClient({ baseUrl: service.url, signer })
    await owner.devnet.faucet(signer.address)
    const { inputToken = '', outputToken = '' } = (await owner.info()).devnet ?? {}
    const draft = { inputToken, outputToken, amountIn: '1000000', minAmountOut: '490000' }
    const { uuid = '' } = await owner.orders.create(draft)
    proxy.breakNext('within the answer')
    const follower = createClient({ baseUrl: proxy.url })
    const seen: string[] = []
    for await (const { status } of follower.orders.events(uuid)) {
      seen.push(status)
      if (status === 'open') await owner.orders.execute(uuid, { auth: 'signature' })
    }
    expect(proxy.broken).toBe(1)
    expect(seen).toEqual(['open', 'executing', 'broadcasted', 'confirmed'])
  })
})
