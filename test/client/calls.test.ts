import { afterEach, describe, expect, it, vi } from 'vitest'
import {
  AbortError,
  AuthenticationError,
  BadResponseError,
  type ClientOptions,
  ConflictError,
  ConnectionError,
  createClient,
  ExecutionError,
  InvalidRequestError,
  LatchkeyError,
  type LatchkeyErrorCode,
  NotFoundError,
  PermissionError,
  RateLimitError,
  SigningError,
  TimeoutError,
  UnavailableError,
} from '../../src/client/index.ts'
import { REFUSALS } from '../../src/errors.ts'
import { API_KEY, NOON, refusal, scripted, signer } from './scripted.ts'

const order = { body: { data: { uuid: 'uuid-1', status: 'open' } } }
const fail = (call: Promise<unknown>): Promise<LatchkeyError> =>
  call.then(
    () => expect.unreachable(),
    (error) => error,
  )

afterEach(() => {
  vi.unstubAllEnvs()
  vi.unstubAllGlobals()
})

describe('The class of an error', () => {
  const CLASS_OF_STATUS: Readonly<Record<number, unknown>> = {
    400: InvalidRequestError,
    401: AuthenticationError,
    403: PermissionError,
    404: NotFoundError,
    410: NotFoundError,
    405: InvalidRequestError,
    408: UnavailableError,
    409: ConflictError,
    413: InvalidRequestError,
    415: InvalidRequestError,
    429: RateLimitError,
    431: InvalidRequestError,
    500: UnavailableError,
    501: UnavailableError,
    502: ExecutionError,
    503: UnavailableError,
  }

  it.each(Object.values(REFUSALS))('of $code is that of its status, $status', async ({
    code,
    status,
  }) => {
    const { client } = scripted([refusal(status, code)], { maxRetries: 0 })
    const error = await fail(client.orders.get('uuid-1'))
    expect(error).toBeInstanceOf(LatchkeyError)
    expect(error.constructor).toBe(CLASS_OF_STATUS[status])
    expect(error).toMatchObject({ code, status, name: error.constructor.name })
  })

  it('of a code that is not known is that of its status, too', async () => {
    const { client } = scripted([refusal(418, 'TEAPOT'), refusal(409, 'LATER')])
    expect(await fail(client.orders.get('u'))).toBeInstanceOf(InvalidRequestError)
    expect(await fail(client.orders.get('u'))).toBeInstanceOf(ConflictError)
  })

  it('of what no service refused says where it went wrong', async () => {
    const client = (...script: Parameters<typeof scripted>[0]) =>
      scripted(script, { maxRetries: 0, timeoutMs: 20 }).client
    const never = () => new Promise<never>(() => {})
    expect(await fail(client(new TypeError('no')).orders.get('u'))).toBeInstanceOf(ConnectionError)
    const late = await fail(client(never).orders.get('u'))
    expect(late).toBeInstanceOf(TimeoutError)
    expect(late).toBeInstanceOf(ConnectionError)
    expect(await fail(client({ body: 'x' }).orders.get('u'))).toBeInstanceOf(BadResponseError)
    expect(await fail(client().orders.get('/'))).toBeInstanceOf(InvalidRequestError)
    expect(await fail(client().keys.list())).toBeInstanceOf(SigningError)
    const signal = AbortSignal.abort()
    expect(await fail(client().orders.get('u', { signal }))).toBeInstanceOf(AbortError)
  })

  it('gives the details of a code their type', () => {
    const error: unknown = new LatchkeyError('ORDER_NOT_OPEN', 'No', { details: { status: 'x' } })
    if (!(error instanceof LatchkeyError) || !error.is('ORDER_NOT_OPEN')) return expect.fail()
    const status: string | null | undefined = error.details?.status
    // @ts-expect-error: this code has no such member
    const limit = error.details?.limit
    expect([status, limit]).toEqual(['x', undefined])
    expect(error.is('KEY_NOT_LIVE', 'ORDER_NOT_FOUND')).toBe(false)
  })

  it('has the headers of the response and the cause of what had none, and writes itself as JSON', async () => {
    const headers = { 'x-request-id': 'req_9', 'x-more': 'yes', 'x-echo': API_KEY }
    const { client } = scripted([refusal(404, 'ORDER_NOT_FOUND', {}, headers)], { apiKey: API_KEY })
    const error = await fail(client.orders.get('uuid-1'))
    expect(error.headers?.get('x-more')).toBe('yes')
    expect(error.headers?.get('x-echo')).toBe('[redacted]')
    expect(JSON.parse(JSON.stringify(error))).toMatchObject({
      name: 'NotFoundError',
      code: 'ORDER_NOT_FOUND',
      status: 404,
      requestId: 'req_9',
      message: error.message,
    })
    const cause = Object.assign(new Error(`socket of ${API_KEY}`), { code: 'ECONNRESET' })
    const failed = Object.assign(new TypeError('fetch failed', { cause }), {
      request: { headers: { 'x-api-key': API_KEY } },
    })
    const broken = scripted([failed], { apiKey: API_KEY, maxRetries: 0 }).client
    const { cause: shown } = await fail(broken.orders.execute('uuid-1'))
    expect(shown).toMatchObject({
      name: 'TypeError',
      message: 'fetch failed',
      cause: { code: 'ECONNRESET', message: 'socket of [redacted]' },
    })
    expect(shown).not.toHaveProperty('request')
  })
})

describe('Every call', () => {
  const headers = {
    'x-request-id': 'req_7',
    'x-ratelimit-limit': '100',
    'x-ratelimit-remaining': '87',
    'x-ratelimit-reset': String(NOON / 1000 + 30),
    'x-ratelimit-window': '60',
  }

  it('resolves with its response where that is asked for', async () => {
    const { client } = scripted([{ ...order, headers }])
    const { data, response, requestId, rateLimit, ...more } = await client.orders
      .get('uuid-1')
      .withResponse()
    expect(data).toEqual({ uuid: 'uuid-1', status: 'open' })
    expect([response.status, response.bodyUsed, requestId]).toEqual([200, true, 'req_7'])
    expect(more.headers.get('x-request-id')).toBe('req_7')
    expect(rateLimit).toMatchObject({ limit: 100, remaining: 87 })
  })

  it('rejects once, whether or not its response was asked for', async () => {
    const rejected = vi.fn()
    process.on('unhandledRejection', rejected)
    const { client } = scripted([refusal(404, 'ORDER_NOT_FOUND')])
    const asking = client.orders.get('uuid-1').withResponse()
    await expect(asking).rejects.toMatchObject({ code: 'ORDER_NOT_FOUND' })
    await new Promise((resolve) => setImmediate(resolve))
    process.off('unhandledRejection', rejected)
    expect(rejected).not.toHaveBeenCalled()
  })

  it('sends the headers of the client and its own, by the last spelling', async () => {
    const { client, sent } = scripted([order], {
      headers: { traceparent: '00-a', 'X-Tenant': 'a' },
    })
    await client.orders.get('uuid-1', { headers: { 'x-tenant': 'b', baggage: 'k=v' } })
    expect(sent[0]?.headers).toMatchObject({ traceparent: '00-a', 'x-tenant': 'b', baggage: 'k=v' })
  })

  it.each([
    { 'X-API-Key': 'x' },
    { 'x-signature': 'x' },
    { 'Content-Type': 'text/html' },
    { 'x bad': 'x' },
    { 'x-secret': 'secret-value\r\nx-api-key: stolen' },
  ])('refuses headers that are its own, or none: %o', async (headers) => {
    const { client, sent } = scripted([order])
    const error = await fail(client.orders.get('uuid-1', { headers }))
    expect(error.code).toBe('INVALID_ARGUMENT')
    expect(error.message).not.toContain('secret-value')
    expect(sent).toEqual([])
    expect(() => createClient({ baseUrl: 'https://dex.example', headers })).toThrow(LatchkeyError)
  })

  it('has a time for each response, and one for all of it', async () => {
    const never = (_: unknown, { signal }: RequestInit) =>
      new Promise<never>((_, reject) => {
        signal?.addEventListener('abort', () => reject(signal.reason))
      })
    const { client, sent } = scripted([never, order, never, never, never])
    await client.orders.get('uuid-1', { timeoutMs: 20 })
    expect(sent).toHaveLength(2)
    const late = await fail(client.orders.get('uuid-1', { deadlineMs: 20 }))
    expect(late).toBeInstanceOf(TimeoutError)
    expect(late.details).toEqual({ deadlineMs: 20 })
    expect(sent).toHaveLength(3)
    const none = await fail(client.orders.get('uuid-1', { timeoutMs: 20, maxRetries: 0 }))
    expect(none.details).toEqual({ timeoutMs: 20 })
  })

  it('does not wait for a repetition that its deadline would not reach', async () => {
    const away = refusal(503, 'UNAVAILABLE', {}, { 'Retry-After': '9' })
    const { client, waits } = scripted([away])
    const error = await fail(client.orders.get('uuid-1', { deadlineMs: 8_000 }))
    expect([error.code, waits]).toEqual(['UNAVAILABLE', []])
  })

  it.each([
    { timeoutMs: 0 },
    { timeoutMs: Number.NaN },
    { deadlineMs: -1 },
    { deadlineMs: 1e12 },
  ])('refuses a time that is none: %o', async (options) => {
    const { client } = scripted([order])
    expect(await fail(client.orders.get('uuid-1', options))).toMatchObject({
      code: 'INVALID_ARGUMENT',
    })
  })
})

describe('The quota', () => {
  const quota = (remaining: number, policy: string) => ({
    'x-ratelimit-limit': '100',
    'x-ratelimit-remaining': String(remaining),
    'x-ratelimit-reset': String(NOON / 1000 + 30),
    'x-ratelimit-window': '60',
    'ratelimit-policy': policy,
  })
  const KEYS = '"minute";q=100;w=60, "hour";q=1000;w=3600, "day";q=10000;w=86400'
  const ADDRESS = '"minute";q=300;w=60'

  it('of a key is apart from that of the address', async () => {
    const executed = { body: { status: 'success', txid: 'ab', data: {} }, headers: quota(87, KEYS) }
    const unknown = refusal(401, 'INVALID_API_KEY', {}, quota(250, ADDRESS))
    const { client } = scripted([executed, { ...order, headers: quota(299, ADDRESS) }, unknown], {
      apiKey: API_KEY,
    })
    await client.orders.execute('uuid-1')
    await client.orders.get('uuid-1')
    expect(client.rateLimit?.remaining).toBe(87)
    expect(client.rateLimits.address?.remaining).toBe(299)
    await fail(client.orders.execute('uuid-1'))
    expect(client.rateLimits).toMatchObject({
      apiKey: { remaining: 87 },
      address: { remaining: 250 },
    })
  })

  it('of two keys in one process does not mix', async () => {
    const executed = (remaining: number) => ({
      body: { status: 'success', txid: 'ab', data: {} },
      headers: quota(remaining, KEYS),
    })
    const one = scripted([executed(87)], { apiKey: API_KEY }).client
    const other = scripted([executed(12)], {
      apiKey: API_KEY.replace('k'.repeat(9), 'j'.repeat(9)),
    })
    await Promise.all([one.orders.execute('u'), other.client.orders.execute('u')])
    expect([one.rateLimit?.remaining, other.client.rateLimit?.remaining]).toEqual([87, 12])
  })
})

describe('Hooks and loggers', () => {
  const away = refusal(503, 'UNAVAILABLE', {}, { 'Retry-After': '2', 'x-request-id': 'req_1' })

  it('see each request, response and repetition, and no secret', async () => {
    const seen: [string, object][] = []
    const note = (name: string) => (facts: object) => void seen.push([name, facts])
    const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
    const { client, sent } = scripted([away, { body: { message: 'done' } }, { body: {} }], {
      signer,
      apiKey: API_KEY,
      headers: { authorization: 'Basic c2VjcmV0OnNlY3JldA==' },
      hooks: {
        onRequest: note('request'),
        onResponse: note('response'),
        onRetry: note('retry'),
      },
      logger,
      logLevel: 'debug',
    })
    await client.keys.delete('key_1')
    await client.keys.me()
    const deleted = seen.filter(([, facts]) => (facts as { path: string }).path.includes('key_1'))
    expect(deleted).toMatchObject([
      ['request', { method: 'DELETE', path: '/api-keys/key_1', attempt: 1 }],
      ['response', { status: 503, requestId: 'req_1', durationMs: 0 }],
      ['retry', { waitMs: 2_000, attempt: 1, error: { code: 'UNAVAILABLE' } }],
      ['request', { attempt: 2 }],
      ['response', { status: 200, attempt: 2 }],
    ])
    const logged = [logger.debug, logger.info].flatMap(({ mock }) => mock.calls)
    expect(logger.info).toHaveBeenCalledOnce()
    const everything = JSON.stringify([seen, logged])
    for (const secret of [API_KEY, sent[0]?.body.signature, 'c2VjcmV0'])
      expect(everything).not.toContain(secret)
  })

  it('break nothing when they throw', async () => {
    const boom = () => {
      throw new Error('boom')
    }
    const { client } = scripted([away, order], {
      hooks: { onRequest: boom, onResponse: boom, onRetry: boom },
      logger: { debug: boom, info: boom, warn: boom, error: boom },
      logLevel: 'debug',
    })
    expect((await client.orders.get('uuid-1')).uuid).toBe('uuid-1')
  })

  it.each([
    ['debug', 5, 1],
    ['info', 0, 1],
    ['warn', 0, 0],
    ['off', 0, 0],
    [undefined, 0, 0],
  ] as const)('log from the level %s on', async (logLevel, debugs, infos) => {
    const logger = { debug: vi.fn(), info: vi.fn(), warn: vi.fn(), error: vi.fn() }
    const { client } = scripted([away, order], { logger, ...(logLevel && { logLevel }) })
    await client.orders.get('uuid-1')
    expect(logger.info).toHaveBeenCalledTimes(infos)
    expect(logger.debug.mock.calls.length > 0).toBe(debugs > 0)
  })

  it('have levels that are known', () => {
    const options = { baseUrl: 'https://dex.example', logLevel: 'loud' as 'warn' }
    expect(() => createClient(options)).toThrow(/logLevel/)
  })
})

describe('The environment', () => {
  const seen: Request[] = []
  const fetch = async (url: string, init: RequestInit) => {
    seen.push(new Request(url, { method: init.method ?? 'GET', headers: init.headers ?? {} }))
    return Response.json({ status: 'success', txid: 'ab', data: {}, keyId: 'key_1' })
  }
  const keyOf = async (options: ClientOptions) => {
    seen.length = 0
    await createClient({ fetch, ...options }).keys.me()
    return seen[0]?.headers.get('x-api-key') ?? undefined
  }

  it('names the service and the key of a client that has no other', async () => {
    vi.stubEnv('LATCHKEY_URL', 'https://dex.example/')
    vi.stubEnv('LATCHKEY_API_KEY', API_KEY)
    expect(await keyOf({})).toBe(API_KEY)
    expect(seen[0]?.url).toBe('https://dex.example/api/v1/me')
    expect(await keyOf({ apiKey: `${API_KEY}2` })).toBe(`${API_KEY}2`)
    expect(await keyOf({ apiKey: null })).toBeUndefined()
    expect(await keyOf({ signer })).toBeUndefined()
    expect(await keyOf({ baseUrl: 'https://dex.example' })).toBe(API_KEY)
  })

  it('gives its key to no other service than its own', async () => {
    vi.stubEnv('LATCHKEY_URL', 'https://dex.example')
    vi.stubEnv('LATCHKEY_API_KEY', API_KEY)
    expect(await keyOf({ baseUrl: 'https://other.example' })).toBeUndefined()
    vi.stubEnv('LATCHKEY_URL', '')
    expect(await keyOf({ baseUrl: 'https://other.example' })).toBe(API_KEY)
  })

  it('is not read in a browser, whatever a bundler calls process', async () => {
    vi.stubEnv('LATCHKEY_URL', 'https://dex.example')
    vi.stubEnv('LATCHKEY_API_KEY', API_KEY)
    vi.stubGlobal('document', {})
    expect(() => createClient()).toThrow(/LATCHKEY_URL/)
    expect(await keyOf({ baseUrl: 'https://dex.example' })).toBeUndefined()
  })

  it('is named in the user agent, and not by a browser', async () => {
    const agentOf = async (options: ClientOptions = {}) => {
      seen.length = 0
      await createClient({ baseUrl: 'https://dex.example', fetch, ...options }).keys.me()
      return seen[0]?.headers.get('user-agent') ?? undefined
    }
    expect(await agentOf()).toMatch(/^latchkey-js\/\d+\.\d+\.\d+ node\/\d+\.\d+\.\d+ \(\w+; \w+\)$/)
    const appInfo = { name: 'grid-bot', version: '2', url: 'https://bot.example' }
    expect(await agentOf({ appInfo })).toMatch(/\) grid-bot\/2 \(https:\/\/bot\.example\)$/)
    vi.stubGlobal('navigator', { userAgent: 'Cloudflare-Workers' })
    expect(await agentOf()).toMatch(/ workerd$/)
    vi.stubGlobal('document', {})
    expect(await agentOf()).toBeUndefined()
  })

  it.each([
    'grid\nbot',
    'bot\r\nx-api-key: a',
    'böt',
  ])('is not named by what no header can carry: %j', (name) => {
    const options = { baseUrl: 'https://dex.example', appInfo: { name } }
    expect(() => createClient(options)).toThrow(/appInfo/)
  })
})

/** A code that the union has not is an error of the compiler. */
true satisfies 'UNREACHABLE' extends LatchkeyErrorCode ? true : never
// @ts-expect-error: no such code
true satisfies 'NO_SUCH_CODE' extends LatchkeyErrorCode ? true : never
