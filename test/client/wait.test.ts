import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createClient,
  LatchkeyError,
  type Order,
  privateKeySigner,
} from '../../src/client/index.ts'
import { type Service, startService } from '../support/server.ts'
import { API_KEY, refusal, type Script, scripted } from './scripted.ts'

const order = (status: string, more: object = {}) => ({
  body: { data: { uuid: 'uuid-1', status, ...more } },
})
const unsupported = refusal(501, 'EVENTS_UNSUPPORTED')
const event = (id: number, status: string) => `id: ${id}\ndata: {"status":"${status}"}\n\n`

/** What `onUpdate` was told, and what became of the waiting. */
async function wait(script: Script, options: object = {}) {
  const told: string[] = []
  const { client, sent, waits, left } = scripted(script, { apiKey: API_KEY, maxRetries: 0 })
  const onUpdate = ({ status }: Order) => void told.push(status)
  const ended = await client.orders
    .waitFor('uuid-1', { onUpdate, ...options })
    .catch((error: unknown) => error)
  expect(left).toEqual([])
  return { ended, told, sent, waits }
}

function streamOf(pieces: Uint8Array[]): ReadableStream {
  return new ReadableStream({
    pull(controller) {
      const piece = pieces.shift()
      if (piece === undefined) controller.close()
      else controller.enqueue(piece)
    },
  })
}

describe('Waiting for an order', () => {
  it('ends at once when there is nothing to wait for', async () => {
    const { ended, told, sent } = await wait([order('confirmed', { blockHeight: 7 })])
    expect(ended).toMatchObject({ status: 'confirmed', blockHeight: 7 })
    expect(told).toEqual(['confirmed'])
    expect(sent).toHaveLength(1)
  })

  it('looks whenever the stream has news, and leaves it when it has seen enough', async () => {
    const { ended, told, sent } = await wait([
      order('executing'),
      {
        body: `retry: 2000\n\n${event(1, 'open')}${event(2, 'executing')}${event(3, 'broadcasted')}`,
      },
      order('broadcasted'),
      order('broadcasted'),
      { body: event(9, 'confirmed') },
      order('confirmed'),
    ])
    expect(ended).toMatchObject({ status: 'confirmed' })
    expect(told).toEqual(['executing', 'broadcasted', 'confirmed'])
    const streams = sent.filter(({ url }) => url.pathname.endsWith('/events'))
    expect(streams.map(({ headers }) => headers['last-event-id'])).toEqual([undefined, '3'])
    expect(streams.some(({ headers }) => 'x-api-key' in headers)).toBe(false)
  })

  it.each([
    1, 2, 5, 9, 40,
  ])('understands events that arrive in pieces of %i bytes', async (size) => {
    const text = `: hello\n\n${event(1, 'open')}${event(2, 'confirmed')}`
    const pieces = Array.from({ length: Math.ceil(text.length / size) }, (_, at) =>
      new TextEncoder().encode(text.slice(at * size, (at + 1) * size)),
    )
    let asked = 0
    const client = createClient({
      baseUrl: 'https://dex.example',
      async fetch(url) {
        if (url.endsWith('/events')) return new Response(streamOf(pieces))
        asked += 1
        const status = asked < 3 ? 'open' : 'confirmed'
        return Response.json({ data: { uuid: 'uuid-1', status } })
      },
      clock: { now: () => 0, wait: () => Promise.reject(new Error('the stream was not enough')) },
    })
    expect(await client.orders.waitFor('uuid-1')).toMatchObject({ status: 'confirmed' })
  })

  it('looks more and more seldom where there is no stream, and often again after a change', async () => {
    const { ended, waits, sent } = await wait([
      order('open'),
      unsupported,
      ...Array.from({ length: 8 }, () => order('open')),
      order('executing'),
      order('executing'),
      order('broadcasted'),
      order('confirmed'),
    ])
    expect(ended).toMatchObject({ status: 'confirmed' })
    const seldom = [500, 750, 1125, 1687.5, 2531.25, 3796.875, 5000, 5000]
    expect(waits).toEqual([...seldom, 500, 750, 500])
    expect(sent.filter(({ url }) => url.pathname.endsWith('/events'))).toHaveLength(1)
  })

  it.each([
    ['executing', ['open', 'executing']],
    ['broadcasted', ['open', 'executing', 'broadcasted']],
  ])('goes as far as it is told: %s', async (until, expected) => {
    const script = expected.map((status) => order(status))
    const { told } = await wait([script[0] ?? {}, unsupported, ...script.slice(1)], { until })
    expect(told).toEqual(expected)
  })

  it.each([
    ['failed', { failureReason: 'abort_by_response', txid: 'ab' }],
    ['cancelled', {}],
    ['expired', {}],
  ])('is refused with a code when the order is %s', async (status, more) => {
    const { ended } = await wait([order('open'), unsupported, order(status, more)])
    expect(ended).toBeInstanceOf(LatchkeyError)
    expect(ended).toMatchObject({
      code: 'ORDER_NOT_SETTLED',
      details: { uuid: 'uuid-1', status, ...more },
    })
  })

  it('is refused when the order opens again: nobody settles it any more', async () => {
    const { ended } = await wait([order('executing'), unsupported, order('open')])
    expect(ended).toMatchObject({ code: 'ORDER_NOT_SETTLED', details: { status: 'open' } })
  })

  it('outlasts an outage, and comes back when it was told to', async () => {
    const { ended, waits } = await wait([
      order('executing'),
      new TypeError('fetch failed'),
      new TypeError('fetch failed'),
      new TypeError('fetch failed'),
      refusal(503, 'UNAVAILABLE', {}, { 'retry-after': '3' }),
      new TypeError('fetch failed'),
      order('confirmed'),
    ])
    expect(ended).toMatchObject({ status: 'confirmed' })
    expect(waits).toEqual([500, 3_000])
  })

  it('does not begin for an order that is not there', async () => {
    const { ended } = await wait([refusal(404, 'ORDER_NOT_FOUND')])
    expect(ended).toMatchObject({ code: 'ORDER_NOT_FOUND' })
  })

  it('ends with the reason of its signal', async () => {
    const leaving = new AbortController()
    const reason = new Error('enough')
    const { client } = scripted([
      order('open'),
      unsupported,
      () => {
        leaving.abort(reason)
        return order('open')
      },
    ])
    await expect(client.orders.waitFor('uuid-1', { signal: leaving.signal })).rejects.toMatchObject(
      {
        code: 'ABORTED',
        cause: reason,
      },
    )
  })
})

describe('Against the service itself, waiting', () => {
  let service: Service
  beforeAll(async () => {
    service = await startService({ RECONCILE_INTERVAL_MS: '100' })
  }, 60_000)
  afterAll(() => service?.stop())

  async function newOrder() {
    const privateKey = `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}01`
    const signer = privateKeySigner(privateKey, 'devnet')
    const owner = createClient({ baseUrl: service.url, signer })
    await owner.devnet.faucet(signer.address)
    const { devnet: { inputToken = '', outputToken = '' } = {} } = await owner.info()
    const { uuid = '' } = await owner.orders.create({
      inputToken,
      outputToken,
      amountIn: '1000000',
    })
    return { owner, uuid }
  }

  it.each([
    'its events',
    'asking again',
  ])('follows an order from its creation to its block, by %s', async (way) => {
    const { owner, uuid } = await newOrder()
    const asked: string[] = []
    const bare = createClient({
      baseUrl: service.url,
      fetch: (url, init) => {
        asked.push(new URL(url).pathname.split('/').at(-1) ?? '')
        return way === 'its events' || !url.endsWith('/events')
          ? fetch(url, init)
          : Promise.resolve(Response.json({ error: 'No', code: 'NOT_FOUND' }, { status: 404 }))
      },
    })
    const told: string[] = []
    const waiting = bare.orders.waitFor(uuid, { onUpdate: ({ status }) => told.push(status) })
    const { txid } = await owner.orders.execute(uuid)
    expect(await waiting).toMatchObject({
      status: 'confirmed',
      txid,
      amountOut: expect.any(String),
    })
    expect(told[0]).toMatch(/open|executing/)
    expect(told.at(-1)).toBe('confirmed')
    expect(asked.filter((path) => path === 'events')).toHaveLength(1)
  })

  it('ends when the order is cancelled, or when one has waited enough', async () => {
    const { owner, uuid } = await newOrder()
    const impatient = owner.orders.waitFor(uuid, { signal: AbortSignal.timeout(300) })
    const waiting = owner.orders.waitFor(uuid)
    await expect(impatient).rejects.toMatchObject({
      code: 'ABORTED',
      cause: { name: 'TimeoutError' },
    })
    await owner.orders.cancel(uuid)
    await expect(waiting).rejects.toMatchObject({
      code: 'ORDER_NOT_SETTLED',
      details: { status: 'cancelled' },
    })
  })
})
