import { inspect } from 'node:util'
import { describe, expect, it } from 'vitest'
import { createClient, LatchkeyError } from '../../src/client/index.ts'
import { API_KEY, DRAFT, NOON, refusal, scripted, signer } from './scripted.ts'

const fail = (call: Promise<unknown>): Promise<LatchkeyError> =>
  call.then(
    () => expect.unreachable(),
    (error) => error,
  )

describe('A refusal', () => {
  it('says what the service said, and what to do about it', async () => {
    const details = { status: 'cancelled' }
    const headers = { 'X-Request-Id': 'req_7' }
    const answer = refusal(400, 'ORDER_NOT_OPEN', { error: 'Order not open', details }, headers)
    const { client } = scripted([answer], { apiKey: API_KEY })
    const error = await fail(client.orders.execute('uuid-1'))
    expect(error).toBeInstanceOf(LatchkeyError)
    expect(error).toMatchObject({
      code: 'ORDER_NOT_OPEN',
      status: 400,
      details,
      requestId: 'req_7',
    })
    expect(error.message).toMatch(/^Order not open\. Only an open order/)
  })

  it('carries the state of the rate limit, and so does the client', async () => {
    const headers = {
      'X-RateLimit-Limit': '100',
      'X-RateLimit-Remaining': '87',
      'X-RateLimit-Reset': String(NOON / 1000 + 30),
      'X-RateLimit-Window': '60',
    }
    const { client } = scripted([refusal(404, 'ORDER_NOT_FOUND', {}, headers)])
    expect(client.rateLimit).toBeUndefined()
    const { rateLimit } = await fail(client.orders.get('uuid-1'))
    expect(rateLimit).toEqual({
      limit: 100,
      remaining: 87,
      resetAt: new Date(NOON + 30_000),
      windowSeconds: 60,
    })
    expect(client.rateLimit).toEqual(rateLimit)
  })

  it('keeps a code that this client does not know', async () => {
    const { client } = scripted([refusal(418, 'TEAPOT', { error: 'Short and stout' })])
    expect(await fail(client.orders.get('uuid-1'))).toMatchObject({
      code: 'TEAPOT',
      message: 'Short and stout.',
    })
  })
})

describe('An answer that is not the service', () => {
  it.each([
    ['a page', { body: '<html>Welcome to nginx</html>' }],
    ['the error page of a proxy', { status: 502, body: '<html>Bad Gateway</html>' }],
    ['JSON of another make', { status: 400, body: { message: 'no' } }],
    ['a redirect', { status: 302, headers: { location: 'https://elsewhere.example' } }],
  ])('is BAD_RESPONSE: %s', async (_, answer) => {
    const { client } = scripted([answer], { maxRetries: 0 })
    expect(await fail(client.orders.get('uuid-1'))).toMatchObject({ code: 'BAD_RESPONSE' })
  })

  it('is UNREACHABLE when there is none, and says why', async () => {
    const cause = new Error('connect ECONNREFUSED 127.0.0.1:1')
    const { client } = scripted([new TypeError('fetch failed', { cause })], { maxRetries: 0 })
    const error = await fail(client.orders.get('uuid-1'))
    expect(error.code).toBe('UNREACHABLE')
    expect(error.message).toContain('https://dex.example/api/v1: connect ECONNREFUSED')
  })

  it('is TIMEOUT when it takes too long', async () => {
    const never = (_: unknown, { signal }: RequestInit) =>
      new Promise<never>((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason))
      })
    const { client } = scripted([never], { timeoutMs: 1, maxRetries: 0 })
    expect(await fail(client.orders.get('uuid-1'))).toMatchObject({ code: 'TIMEOUT' })
  })

  it('does not lead the key to another host', async () => {
    const seen: (RequestInit | undefined)[] = []
    const answer = (_: unknown, init: RequestInit) => {
      seen.push(init)
      return { body: {} }
    }
    const { client } = scripted([answer], { apiKey: API_KEY })
    await client.orders.execute('uuid-1')
    expect(seen[0]?.redirect).toBe('manual')
  })
})

describe('A secret', () => {
  const everything = (error: Error) =>
    `${inspect(error, { depth: 9 })} ${error.stack} ${JSON.stringify({ ...error, m: error.message })}`

  it('is in no error, even when the service repeats what it was sent', async () => {
    const echo = (code: string) => (sent: { headers: object; body: { signature?: string } }) =>
      refusal(400, code, { error: `Bad: ${JSON.stringify(sent.body)}`, details: { sent } })
    const { client, sent } = scripted([echo('INVALID_REQUEST'), echo('INVALID_SIGNATURE')], {
      apiKey: API_KEY,
      signer,
    })
    const ofOrder = await fail(client.orders.create({ ...DRAFT, recipient: ROUTER_OWNER }))
    const ofKey = await fail(client.keys.create({ name: 'bot', permissions: [] }))
    const secrets = [
      API_KEY,
      sent[0]?.body.signature,
      sent[0]?.body.messageSignature,
      sent[1]?.body.signature,
    ]
    for (const secret of secrets) {
      expect(secret?.length).toBeGreaterThan(16)
      expect(everything(ofOrder)).not.toContain(secret)
      expect(everything(ofKey)).not.toContain(secret)
    }
    expect(ofOrder.message).toContain('[redacted]')
  })

  it('is in no error, even when fetch quotes the request that failed', async () => {
    const { client } = scripted([new Error(`cannot send x-api-key: ${API_KEY}`)], {
      apiKey: API_KEY,
    })
    expect(everything(await fail(client.orders.execute('uuid-1')))).not.toContain(API_KEY)
  })

  it('is not quoted when it cannot be a header', () => {
    const apiKey = `${API_KEY}\n`
    const create = () => createClient({ baseUrl: 'https://dex.example', apiKey })
    expect(create).toThrow(/apiKey/)
    expect(create).not.toThrow(new RegExp(API_KEY))
  })

  it('cannot be read from the client or the signer', () => {
    const client = createClient({ baseUrl: 'https://dex.example', apiKey: API_KEY, signer })
    for (const thing of [client, client.keys, client.orders, signer]) {
      expect(inspect(thing, { depth: 9, showHidden: true })).not.toMatch(/ck_live_|1cf4469c/)
      expect(JSON.stringify(thing)).not.toMatch(/ck_live_|1cf4469c/)
    }
  })

  it('never becomes part of a URL', async () => {
    const { client, sent } = scripted([], { apiKey: API_KEY, signer })
    for (const call of [
      () => client.orders.get(API_KEY),
      () => client.orders.execute(API_KEY),
      () => client.orders.cancel('../api-keys'),
      () => client.keys.get(API_KEY),
      () => client.keys.delete(''),
    ])
      expect(await fail(call())).toMatchObject({ code: 'INVALID_ARGUMENT' })
    expect(sent).toEqual([])
  })
})

const ROUTER_OWNER = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM'

describe('A base URL', () => {
  const at = (baseUrl: string, allowInsecure = false) => createClient({ baseUrl, allowInsecure })

  it.each([
    'http://dex.example',
    'http://localhost.example',
    'http://127.0.0.1.example',
    'http://10.0.0.1:8787',
    'ftp://dex.example',
    'https://user:pass@dex.example',
    'https://dex.example?key=1',
    'https://dex.example#x',
    '/api/v1',
    '',
  ])('is refused: %s', (baseUrl) => {
    expect(() => at(baseUrl)).toThrow(LatchkeyError)
  })

  it.each([
    'https://dex.example',
    'http://localhost:8787',
    'http://latchkey.localhost',
    'http://127.0.0.1:8787',
    'http://[::1]:8787',
  ])('is taken: %s', (baseUrl) => {
    expect(() => at(baseUrl)).not.toThrow()
  })

  it('may be plain http to any host when that is said', () => {
    expect(() => at('http://10.0.0.1:8787', true)).not.toThrow()
  })

  it.each([
    ['https://dex.example', '/api/v1/orders/u'],
    ['https://dex.example/', '/api/v1/orders/u'],
    ['https://dex.example/api/v1', '/api/v1/orders/u'],
    ['https://dex.example/latchkey/', '/latchkey/api/v1/orders/u'],
  ])('leads to the API: %s', async (baseUrl, path) => {
    const { client, sent } = scripted([{ body: { data: {} } }], { baseUrl })
    await client.orders.get('u')
    expect(sent[0]?.url.pathname).toBe(path)
  })
})
