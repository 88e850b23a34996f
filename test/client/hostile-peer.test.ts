import { createServer, type RequestListener, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { inspect } from 'node:util'
import { brotliCompressSync, constants } from 'node:zlib'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { systemClock } from '../../src/client/clock.ts'
import { createClient, type LatchkeyError, type Order } from '../../src/client/index.ts'
import {
  API_KEY,
  DRAFT,
  info,
  NOON,
  PRIVATE_KEY,
  refusal,
  type Script,
  scripted,
  signer,
} from './scripted.ts'

const fail = (call: Promise<unknown>): Promise<LatchkeyError> =>
  call.then(
    () => expect.unreachable(),
    (error) => error,
  )

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) {
    server.closeAllConnections()
    server.close()
  }
})

/** The base URL of a service that answers everything with the listener. */
async function listening(listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  servers.push(server)
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/** Writes a piece again and again, as fast as the reader takes it, until the connection is closed. */
function pour(response: ServerResponse, piece: string | Buffer): Promise<number> {
  let pieces = 0
  return new Promise((resolve) => {
    response.on('close', () => resolve(pieces))
    const write = () => {
      if (response.destroyed) return
      pieces += 1
      if (response.write(piece)) setImmediate(write)
      else response.once('drain', write)
    }
    write()
  })
}

/** The bytes by which the process grows while a call runs. */
async function growthOf(call: () => Promise<unknown>): Promise<number> {
  let most = 0
  const before = process.memoryUsage().rss
  const timer = setInterval(() => {
    most = Math.max(most, process.memoryUsage().rss - before)
  }, 5)
  await call()
  clearInterval(timer)
  return Math.max(most, process.memoryUsage().rss - before)
}

describe('A response that does not end', () => {
  it.each([200, 500])('is left once it is larger than any is, with status %i', async (status) => {
    let poured: Promise<number> | undefined
    const baseUrl = await listening((_, response) => {
      response.writeHead(status, { 'content-type': 'application/json' })
      poured = pour(response, `"${'x'.repeat(65_533)}",`)
    })
    const error = await fail(createClient({ baseUrl }).orders.get('uuid-1'))
    expect(error).toMatchObject({ code: 'BAD_RESPONSE', message: /larger than \d+ bytes/ })
    expect(await poured).toBeLessThan(1_000)
  })

  it('is left once it is larger than any is, however well it was compressed', async () => {
    const body = brotliCompressSync(Buffer.alloc(400 * 2 ** 20, ' '), {
      params: { [constants.BROTLI_PARAM_QUALITY]: 5, [constants.BROTLI_PARAM_LGWIN]: 24 },
    })
    expect(body.length).toBeLessThan(10_000)
    const baseUrl = await listening((_, response) => {
      response.writeHead(200, { 'content-encoding': 'br' }).end(body)
    })
    const growth = await growthOf(async () => {
      expect(await fail(createClient({ baseUrl }).orders.get('uuid-1'))).toMatchObject({
        code: 'BAD_RESPONSE',
      })
    })
    expect(growth).toBeLessThan(150 * 2 ** 20)
  })

  it('is a TIMEOUT when it trickles, even for a fetch that heeds no signal', async () => {
    const baseUrl = await listening((_, response) => {
      response.writeHead(200)
      const timer = setInterval(() => response.write(' '), 10)
      response.on('close', () => clearInterval(timer))
    })
    const deaf = (url: string, { signal: _, ...init }: RequestInit) => fetch(url, init)
    for (const own of [fetch, deaf]) {
      const client = createClient({ baseUrl, fetch: own as typeof deaf, timeoutMs: 200 })
      expect(await fail(client.orders.get('uuid-1'))).toMatchObject({ code: 'TIMEOUT' })
    }
  })

  it('is not JSON when it is nested deeper than any is', async () => {
    for (const open of ['[', '{"a":']) {
      const { client } = scripted([{ body: open.repeat(1_000_000) }])
      expect(await fail(client.orders.get('uuid-1'))).toMatchObject({ code: 'BAD_RESPONSE' })
    }
    const deep = `{"data":${'['.repeat(63)}${']'.repeat(63)}}`
    await scripted([{ body: deep }]).client.orders.get('uuid-1')
    const { client } = scripted([{ body: deep.replace('[', '[[').replace(']', ']]') }])
    expect(await fail(client.orders.get('uuid-1'))).toMatchObject({ code: 'BAD_RESPONSE' })
  })
})

describe('A stream of events', () => {
  const order = { data: { uuid: 'uuid-1', status: 'open' } }

  /** Follows an order at a service whose streams are written by `write`, until the client pauses for the fourth time. */
  async function follow(write: (response: ServerResponse) => void) {
    const leaving = new AbortController()
    const waits: number[] = []
    let requests = 0
    const baseUrl = await listening((request, response) => {
      requests += 1
      if (request.url?.endsWith('/events') !== true) return void response.end(JSON.stringify(order))
      response.writeHead(200, { 'content-type': 'text/event-stream' })
      write(response)
    })
    const clock = {
      now: () => NOON,
      async wait(ms: number) {
        if (waits.push(ms) === 4) leaving.abort(new Error('enough'))
        leaving.signal.throwIfAborted()
      },
    }
    const client = createClient({ baseUrl, clock })
    const growth = await growthOf(async () => {
      const waiting = client.orders.waitFor('uuid-1', { signal: leaving.signal })
      await expect(waiting).rejects.toMatchObject({ cause: new Error('enough') })
    })
    return { waits, requests, growth }
  }

  it.each([
    ['a line without end', 'x'.repeat(65_536)],
    ['an event without end', `data: ${'x'.repeat(1_000)}\n`],
    ['comments without end', `: ${'x'.repeat(1_000)}\n\n`],
  ])('is left when it is %s', async (_, piece) => {
    const { waits, growth } = await follow((response) => void pour(response, piece))
    expect(waits).toEqual([500, 750, 1_125, 1_687.5])
    expect(growth).toBeLessThan(100 * 2 ** 20)
  })

  it('is left when it has more events than an order, and each round is later', async () => {
    let id = 0
    const { waits, requests } = await follow((response) => {
      const timer = setInterval(() => response.write(`id: ${++id}\ndata: {}\n\n`), 0)
      response.on('close', () => clearInterval(timer))
    })
    expect(waits).toEqual([500, 750, 1_125, 1_687.5])
    expect(requests).toBeLessThan(4 * 60)
  })

  it('sends no id back that is longer than any is', async () => {
    const ids: (string | undefined)[] = []
    const script: Script = [
      { body: order },
      { body: `id: ${'9'.repeat(10_000)}\n\n` },
      { body: order },
      (sent) => {
        ids.push(sent.headers['last-event-id'])
        return { body: 'id: 2\n\n' }
      },
      { body: { data: { ...order.data, status: 'confirmed' } } },
    ]
    await scripted(script).client.orders.waitFor('uuid-1')
    expect(ids).toEqual([undefined])
  })
})

describe('Retry-After', () => {
  const away = (seconds: string) => refusal(503, 'UNAVAILABLE', {}, { 'Retry-After': seconds })

  it.each([
    '2592000',
    '99999999999',
    '999999999999999999999',
  ])('of %s s is no storm of requests, and no wait of a month', async (seconds) => {
    const order = { body: { data: { uuid: 'uuid-1', status: 'open' } } }
    const script = [order, refusal(501, 'EVENTS_UNSUPPORTED'), away(seconds), away(seconds)]
    const settled = { body: { data: { uuid: 'uuid-1', status: 'confirmed' } } }
    const { client, waits } = scripted([...script, settled], { maxRetries: 0 })
    await client.orders.waitFor('uuid-1')
    expect(waits).toHaveLength(2)
    for (const ms of waits) expect(ms).toBeLessThanOrEqual(60_000)
  })

  it.each([
    '-5',
    '-2592000',
    '1e9',
    'NaN',
    'Infinity',
    '0x10',
    '5 May',
    ' ',
    'Thu, 32 Foo 2026 00:00:00 GMT',
  ])('of %j is none', async (text) => {
    const { client } = scripted([away(text)], { maxRetries: 3 })
    expect((await fail(client.orders.get('uuid-1'))).retryAfterSeconds).toBeUndefined()
  })

  it('as a date of another century is too long a wait', async () => {
    const { client, waits } = scripted([away('Fri, 31 Dec 9999 23:59:59 GMT')])
    expect(await fail(client.orders.get('uuid-1'))).toMatchObject({ code: 'UNAVAILABLE' })
    expect(waits).toEqual([])
  })

  it('is waited for by the clock of the system, for longer than a timer lasts', async () => {
    vi.useFakeTimers()
    try {
      let isOver = false
      const month = 30 * 86_400_000
      const { signal } = new AbortController()
      const waiting = systemClock.wait(month, signal).then(() => {
        isOver = true
      })
      await vi.advanceTimersByTimeAsync(month - 1)
      expect(isOver).toBe(false)
      await vi.advanceTimersByTimeAsync(1)
      await waiting
    } finally {
      vi.useRealTimers()
    }
  })
})

describe('A time of the service', () => {
  it('that is no time of a calendar is refused', async () => {
    const { client } = scripted([], { serviceAheadMs: 8.64e15 })
    expect(await fail(client.time())).toMatchObject({ code: 'BAD_RESPONSE' })
  })

  it('in its rate limit is a date, or none', async () => {
    const headers = {
      'X-RateLimit-Limit': '1',
      'X-RateLimit-Remaining': '1',
      'X-RateLimit-Window': '60',
      'X-RateLimit-Reset': '999999999999999',
    }
    const { client } = scripted([{ headers, body: { data: {} } }])
    await client.orders.get('uuid-1')
    expect(client.rateLimit).toBeUndefined()
  })
})

describe('Pages that do not advance', () => {
  const order = (amountIn: string) => ({ createdAt: '2026-11-21T12:00:00Z', amountIn })
  async function listAll(script: Script) {
    const { client, sent } = scripted(script)
    const orders: Order[] = []
    const error = await fail(
      (async () => {
        for await (const one of client.orders.listAll()) orders.push(one)
      })(),
    )
    expect(error).toMatchObject({ code: 'BAD_RESPONSE', message: /do not advance/ })
    return { orders, sent }
  }

  it.each<[string, Script, number]>([
    [
      'with one cursor',
      [1, 2, 3].map((at) => ({ body: { data: [order(`${at}`)], nextCursor: 'a' } })),
      2,
    ],
    [
      'with cursors in a circle',
      ['a', 'b', 'a', 'b'].map((nextCursor, at) => ({
        body: { data: [order(`${at}`)], nextCursor },
      })),
      3,
    ],
    [
      'with the same orders',
      [1, 2, 3].map((at) => ({ body: { data: [order('1')], nextCursor: `${at}` } })),
      2,
    ],
    [
      'without orders',
      [1, 2, 3].map((at) => ({
        body: { data: at === 1 ? [order('1')] : [], nextCursor: `${at}` },
      })),
      2,
    ],
    [
      'with a cursor that fills memory',
      [1, 2].map((at) => ({
        body: { data: [order(`${at}`)], nextCursor: 'c'.repeat(10_000 * at) },
      })),
      1,
    ],
  ])('end a list of orders: %s', async (_, script, requests) => {
    expect((await listAll(script)).sent).toHaveLength(requests)
  })

  it('end a list of keys', async () => {
    const script = [1, 2, 3].map((at) => ({ body: { apiKeys: [{ at }], nextCursor: 'a' } }))
    const { client, sent } = scripted(script, { signer })
    expect(await fail(client.keys.list())).toMatchObject({ code: 'BAD_RESPONSE' })
    expect(sent).toHaveLength(2)
  })

  it.each([
    ['stay', { nextAfter: 5 }, { nextAfter: 5 }],
    ['go back', { nextAfter: 5 }, { nextAfter: 4 }],
    ['are empty', { nextAfter: 5 }, { nextAfter: 6, events: [] }],
    ['are no numbers', { nextAfter: 5 }, { nextAfter: 'x' }],
  ])('end an audit, whose pages %s', async (_, first, second) => {
    const page = { network: 'devnet', walletAddress: '', events: [{}], keys: [], unrecorded: [] }
    const script = [first, second].map((more) => ({ body: { ...page, ...more } }))
    const { client, sent } = scripted(script, { signer })
    expect(await fail(client.audit.export())).toMatchObject({ code: 'BAD_RESPONSE' })
    expect(sent).toHaveLength(2)
  })
})

describe('What an error carries', () => {
  const everything = (error: Error) =>
    `${inspect(error, { depth: 20 })} ${error.stack} ${JSON.stringify({ ...error, m: error.message })}`
  const session = `cs_${'s'.repeat(43)}`
  const escaped = (text: string) =>
    [...text].map((unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`).join('')

  it('is no credential, wherever and however the service repeats it', async () => {
    const echo = (secret: string) => ({
      status: 400,
      headers: { 'X-Request-Id': secret },
      body: `{"error":"${escaped(secret)} ${secret.toUpperCase()}","code":"INVALID_REQUEST","details":{"${secret}":["${escaped(secret)}",{"x":"a${encodeURIComponent(secret)}b"}]}}`,
    })
    for (const secret of [API_KEY, session]) {
      const { client } = scripted([echo(secret)], { apiKey: API_KEY, session })
      const text = everything(await fail(client.orders.execute('uuid-1')))
      expect(text).toContain('[redacted]')
      expect(text.toLowerCase()).not.toContain(secret.toLowerCase())
    }
  })

  it('is no signature, in any case, with or without 0x', async () => {
    const { client, sent } = scripted(
      [
        ({ body }) => refusal(400, body.signature.toUpperCase().slice(0, 20), {}),
        ({ body }) =>
          refusal(
            400,
            'INVALID_SIGNATURE',
            { error: body.signature.toUpperCase(), details: { is: `0X${body.signature}` } },
            { 'X-Request-Id': body.signature },
          ),
        ({ body }) => refusal(400, 'INVALID_REQUEST', { error: body.signature }),
      ],
      { signer },
    )
    const certificate = {
      keyId: 'key_1',
      message: '{}',
      walletAddress: '',
      signature: 'ab'.repeat(65),
    }
    const errors = [
      await fail(client.orders.create(DRAFT)),
      await fail(client.orders.create({ ...DRAFT, uuid: 'uuid-2' })),
      await fail(client.keys.useCertificate(certificate)),
    ]
    for (const [at, error] of errors.entries()) {
      const { signature } = sent[at]?.body ?? {}
      expect(signature).toMatch(/^[0-9a-f]{130}$/)
      expect(everything(error).toLowerCase()).not.toContain(signature)
    }
  })

  it.each<[string, string]>([
    ['a line feed', `${API_KEY.slice(0, 20)}\n${API_KEY.slice(20)}`],
    ['what is no byte', `${API_KEY}\u{1f511}`],
    ['a zero', `${API_KEY}\0`],
  ])('is no credential that a header cannot carry: %s', async (_, broken) => {
    for (const options of [{ apiKey: broken }, { session: broken }]) {
      const create = async () => createClient({ baseUrl: 'http://127.0.0.1:1', ...options })
      const error = await fail(create())
      expect(error.code).toBe('INVALID_ARGUMENT')
      for (const part of broken.split('\n')) expect(everything(error)).not.toContain(part)
    }
  })

  it('is no credential that a fetch of the caller puts into its own error', async () => {
    const own = (url: string, init: RequestInit) => {
      const cause = new Error(`${url} ${JSON.stringify(init)}`)
      return Promise.reject(Object.assign(new TypeError(cause.message, { cause }), { init }))
    }
    const client = createClient({
      baseUrl: 'https://dex.example',
      apiKey: API_KEY,
      session,
      maxRetries: 0,
      fetch: own as typeof fetch,
    })
    for (const call of [client.orders.execute('uuid-1'), client.keys.list()]) {
      const text = everything(await fail(call))
      expect(text).toContain('Cannot reach')
      for (const secret of [API_KEY, session]) expect(text).not.toContain(secret)
    }
  })

  it('is no part of a client or a signer that is printed', () => {
    const { client } = scripted([], { apiKey: API_KEY, session, signer })
    for (const printed of [client, signer])
      for (const text of [
        inspect(printed, { depth: 20, showHidden: true }),
        JSON.stringify(printed),
      ])
        for (const secret of [API_KEY, session, PRIVATE_KEY]) expect(text).not.toContain(secret)
  })

  it('is no credential that the service has put into its description', async () => {
    const said = {
      ...info,
      signedDomain: API_KEY,
      routers: [{ contract: API_KEY, commits: false }],
    }
    const { client } = scripted([], { apiKey: API_KEY, signer, info: said })
    for (const call of [client.keys.list(), client.orders.create(DRAFT)])
      expect(everything(await fail(call))).not.toContain(API_KEY)
  })

  it('is bounded, on one line, and steers no terminal', async () => {
    const hostile = `\u001b[2J\u009b31m\r\nok: true\u2028\u202e\u200b${'x'.repeat(100_000)}`
    const many = Object.fromEntries(
      Array.from({ length: 5_000 }, (_, at) => [`${at}${hostile.slice(0, 50)}`, at]),
    )
    const nested = JSON.parse(`${'{"a":'.repeat(40)}1${'}'.repeat(40)}`)
    for (const details of [
      { hostile },
      { list: Array(50).fill(hostile.slice(0, 10_000)) },
      many,
      nested,
    ]) {
      const answer = refusal(400, 'INVALID_REQUEST', { error: hostile, details })
      const { client } = scripted([answer])
      const error = await fail(client.orders.get('uuid-1'))
      expect(error.code).toBe('INVALID_REQUEST')
      expect(error.message.length).toBeLessThan(1_200)
      expect(JSON.stringify(error.details).length).toBeLessThan(100_000)
      expect(error.message + JSON.stringify(error.details)).not.toMatch(/[\p{Cc}\p{Cf}\u2028]/u)
    }
  })

  it('keeps the details of a refusal as they are', async () => {
    const details = {
      issues: [{ path: ['limits', 0], message: 'é' }],
      serverTime: NOON,
      none: null,
      ok: false,
    }
    const { client } = scripted([refusal(400, 'INVALID_REQUEST', { details })])
    expect((await fail(client.orders.get('uuid-1'))).details).toEqual(details)
  })

  it.each([
    'x',
    'lower_case',
    `A${'B'.repeat(64)}`,
    'A\u001b[2J',
    'INVALID_ARGUMENT',
    'SIGNING_FAILED',
    '__proto__',
  ])('has no code that no service has: %j', async (code) => {
    const { client } = scripted([refusal(400, code)])
    expect(await fail(client.orders.get('uuid-1'))).toMatchObject({ code: 'BAD_RESPONSE' })
  })

  it.each(['a b', 'x'.repeat(129), 'é'])('has no id of a request that is none: %j', async (id) => {
    const { client } = scripted([refusal(400, 'INVALID_REQUEST', {}, { 'X-Request-Id': id })])
    expect((await fail(client.orders.get('uuid-1'))).requestId).toBeUndefined()
  })
})

it('a redirect to another origin gets no request, and so no credential', async () => {
  const stolen: unknown[] = []
  const thief = await listening((request, response) => {
    stolen.push(request.headers)
    response.end('{"data":{}}')
  })
  for (const status of [301, 302, 303, 307, 308]) {
    const baseUrl = await listening((_, response) => {
      response.writeHead(status, { location: `${thief}/api/v1/orders/uuid-1` }).end()
    })
    const client = createClient({ baseUrl, apiKey: API_KEY })
    for (const call of [
      client.orders.get('uuid-1'),
      client.orders.execute('uuid-1'),
      client.keys.me(),
    ])
      expect(await fail(call)).toMatchObject({ code: 'BAD_RESPONSE', status })
  }
  expect(stolen).toEqual([])
})
