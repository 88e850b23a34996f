import { once } from 'node:events'
import { connect } from 'node:net'
import type { HttpBindings } from '@hono/node-server'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createApp } from '../../src/app.ts'
import { type Listening, listen } from '../../src/node/listen.ts'
import { trustProxies } from '../../src/node/proxies.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, newWallet } from '../support/wallet.ts'

/** What no HTTP library sends, byte by byte. */
describe('On a socket', () => {
  let service: Service
  let listening: Listening
  let apiKey: string
  beforeAll(async () => {
    service = await startService('Postgres', { env: { IP_RATE_LIMIT_PER_MINUTE: '100' } })
    const clientAddress = trustProxies(['127.0.0.1'])
    const app = createApp({
      worldOf: () => service.world,
      addressOf: (c) => {
        const { incoming } = c.env as HttpBindings
        return clientAddress(incoming.socket.remoteAddress ?? '', c.req.header('x-forwarded-for'))
      },
      allowedOrigins: ['*'],
    })
    listening = await listen(
      app,
      { HOST: '127.0.0.1', PORT: 0, KEEP_ALIVE_SECONDS: 65 },
      { log: service.world.log },
    )
    ;({ apiKey } = await createKey(service, newWallet(service)))
  })
  afterAll(async () => {
    await listening.finish()
    await service.close()
  })

  let senders = 0
  /** Sends bytes on a connection of their own and answers all that comes back. */
  async function send(text: string, end?: 'end'): Promise<string> {
    const socket = connect(listening.port, '127.0.0.1')
    let answer = ''
    socket.setEncoding('latin1').on('data', (more) => {
      answer += more
    })
    socket.on('error', () => {})
    socket.write(text, 'latin1')
    if (end !== undefined) socket.end()
    await once(socket, 'close')
    return answer
  }
  const request = (line: string, headers: string[] = [], body = '', end?: 'end') =>
    send(
      `${line} HTTP/1.1\r\nHost: service\r\nConnection: close\r\nX-Forwarded-For: 192.0.2.${++senders}\r\n${headers.map((header) => `${header}\r\n`).join('')}\r\n${body}`,
      end,
    )
  const statusOf = (answer: string) => Number(/^HTTP\/1\.1 (\d+)/.exec(answer)?.[1])
  const internal = () => service.logged.filter((line) => line.includes('internal_error'))

  it.each([
    ['a key in bytes beyond ASCII', 'GET /api/v1/orders', ['X-API-Key: \xff\xfe\x80'], 401],
    ['an empty key', 'GET /api/v1/orders', ['X-API-Key:'], 401],
    ['a key twice', 'GET /api/v1/orders', ['X-API-Key: a', 'X-API-Key: b'], 400],
    [
      'a message in UTF-8',
      'GET /api/v1/api-keys',
      ['X-Message: {"é":1}', 'X-Signature: 1', 'X-Wallet-Address: 1'],
      400,
    ],
    ['a path with half an escape', 'GET /api/v1/orders/%', [], 404],
    ['a path that climbs', 'GET /api/v1/../../etc/passwd', [], 404],
    ['a path that begins twice', 'GET //api/v1/info', [], 404],
    ['a query of noise', 'GET /api/v1/orders?%&=&&a=%FF', [], 400],
    ['another host', 'GET http://evil.example/api/v1/info', [], 200],
    ['a method that HTTP has and this API has not', 'TRACE /api/v1/info', [], 405],
    ['a body where none belongs', 'GET /api/v1/info', ['Content-Length: 3'], 200],
  ] as const)('%s is answered and nothing more', async (_, line, headers, status) => {
    const answer = await request(
      line,
      [...headers],
      headers.some((h) => /length/i.test(h)) ? 'abc' : '',
    )
    expect(statusOf(answer), answer).toBe(status)
    expect(internal()).toEqual([])
  })

  it.each([
    ['no HTTP', 'hello\r\n\r\n'],
    ['no host', 'GET /api/v1/info HTTP/1.1\r\n\r\n'],
    ['a host that is none', 'GET /api/v1/info HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n'],
    ['a host with a path', 'GET /api/v1/info HTTP/1.1\r\nHost: a/b\r\nConnection: close\r\n\r\n'],
    [
      'a path in bytes beyond ASCII',
      'GET /api/v1/\xe4 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
    ],
    ['NUL in a header', 'GET /api/v1/info HTTP/1.1\r\nHost: a\r\nX-API-Key: a\0b\r\n\r\n'],
    [
      'two lengths',
      'POST /api/v1/orders/new HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n{}',
    ],
    [
      'a length and chunks',
      'POST /api/v1/orders/new HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n',
    ],
    [
      'a negative length',
      'POST /api/v1/orders/new HTTP/1.1\r\nHost: a\r\nContent-Length: -1\r\n\r\n',
    ],
    [
      'headers without an end',
      `GET /api/v1/info HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`,
    ],
  ])('%s is refused by its status, and the service goes on', async (_, text) => {
    expect(String(statusOf(await send(text)))).toMatch(/^4\d\d$/)
    expect(internal()).toEqual([])
    expect(statusOf(await request('GET /api/v1/info'))).toBe(200)
  })

  it.each([
    ['no HTTP', 'hello\r\n\r\n', 400, 'INVALID_REQUEST'],
    ['no host', 'GET /api/v1/info HTTP/1.1\r\n\r\n', 400, 'INVALID_REQUEST'],
    [
      'a host that is none',
      'GET /api/v1/info HTTP/1.1\r\nHost: a b\r\nConnection: close\r\n\r\n',
      400,
      'INVALID_REQUEST',
    ],
    [
      'a backslash in its path',
      'GET /api\\v1/info HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n',
      400,
      'INVALID_REQUEST',
    ],
    [
      'headers that are too long',
      `GET /api/v1/info HTTP/1.1\r\nHost: a\r\nX-Long: ${'x'.repeat(20_000)}\r\n\r\n`,
      431,
      'HEADERS_TOO_LARGE',
    ],
    [
      'chunk extensions that are too long',
      `POST /api/v1/orders/new HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n2;${'x'.repeat(20_000)}\r\n{}\r\n0\r\n\r\n`,
      413,
      'BODY_TOO_LARGE',
    ],
    ['a tunnel', 'CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n', 405, 'METHOD_NOT_ALLOWED'],
  ] as const)('%s is refused in the form of every other refusal', async (_, text, status, code) => {
    const answer = await send(text)
    const [head = '', body = ''] = answer.split('\r\n\r\n')
    expect(statusOf(answer), answer).toBe(status)
    expect(head.toLowerCase()).toContain('content-type: application/json')
    const requestId = /x-request-id: (\S+)/i.exec(head)?.[1]
    const refusal = JSON.parse(body.replace(/^[0-9a-f]+\r\n|\r\n0$/g, ''))
    expect(refusal).toMatchObject({ code, requestId, error: expect.any(String) })
    expect(Date.parse(refusal.timestamp)).toBeGreaterThan(0)
    expect(service.logged.some((line) => line.includes(String(requestId)))).toBe(true)
  })

  it.each([
    ['no length', []],
    ['the length 0', ['Content-Length: 0']],
    ['a type and no length', ['Content-Type: application/json']],
  ] as const)('a DELETE with its message in headers and %s revokes the key', async (_, extra) => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const signed = wallet.signHeaders({ action: 'delete_api_key', keyId })
    const headers = Object.entries(signed).map(([name, value]) => `${name}: ${value}`)
    const answer = await send(
      `DELETE /api/v1/api-keys/${keyId} HTTP/1.1\r\nHost: a\r\nConnection: close\r\n${[...headers, ...extra].map((one) => `${one}\r\n`).join('')}\r\n`,
    )
    expect(statusOf(answer), answer).toBe(200)
  })

  it('an expectation that is not met is ignored, and HTTP/1.0 needs no host', async () => {
    expect(statusOf(await request('GET /api/v1/info', ['Expect: coffee']))).toBe(200)
    expect(statusOf(await send('GET /api/v1/info HTTP/1.0\r\n\r\n'))).toBe(200)
  })

  it('a body that ends early, or never, harms nobody', async () => {
    const head = 'POST /api/v1/orders/new HTTP/1.1\r\nHost: a\r\nContent-Length: 100\r\n\r\n{"a":'
    const ended = connect(listening.port, '127.0.0.1')
    ended.on('error', () => {}).resume()
    ended.end(head)
    await once(ended, 'close')
    const socket = connect(listening.port, '127.0.0.1')
    socket.on('error', () => {})
    socket.write(head)
    await once(socket, 'connect')
    socket.destroy()
    const reset = connect(listening.port, '127.0.0.1')
    reset.on('error', () => {})
    reset.write(head)
    await once(reset, 'connect')
    reset.resetAndDestroy()
    expect(statusOf(await request('GET /api/v1/info'))).toBe(200)
    expect(internal()).toEqual([])
    expect(service.logged.filter((line) => line.includes('database_unavailable'))).toEqual([])
  })

  it('a body in malformed chunks is refused, and is no fault of the service', async () => {
    for (const body of ['5\r\n{"a":', 'zz\r\n{}\r\n0\r\n\r\n', '2\r\n{}XX0\r\n\r\n'])
      expect(
        String(
          statusOf(
            await request('POST /api/v1/orders/new', ['Transfer-Encoding: chunked'], body, 'end'),
          ),
        ),
      ).toMatch(/^(4\d\d|NaN)$/)
    expect(internal()).toEqual([])
    expect(service.logged.filter((line) => line.includes('database_unavailable'))).toEqual([])
  })

  it('a body in chunks is read up to the limit and no further', async () => {
    const chunk = `400\r\n${' '.repeat(1_024)}\r\n`
    const answer = await request(
      'POST /api/v1/api-keys',
      ['Transfer-Encoding: chunked'],
      `${chunk.repeat(80)}0\r\n\r\n`,
    )
    expect(statusOf(answer), answer).toBe(413)
    expect(answer).toContain('BODY_TOO_LARGE')
  })

  it('the address is what the proxy saw, not what the client wrote before it', async () => {
    const guess = (forwarded: string) =>
      send(
        `GET /api/v1/orders HTTP/1.1\r\nHost: a\r\nConnection: close\r\nX-API-Key: no\r\nX-Forwarded-For: ${forwarded}\r\n\r\n`,
      )
    for (let time = 0; time < 100; time++)
      expect(statusOf(await guess(`10.0.0.${time}, 198.51.100.1`))).toBe(401)
    expect(statusOf(await guess('10.0.0.200, 198.51.100.1'))).toBe(429)
    expect(statusOf(await guess('198.51.100.1, 198.51.100.2'))).toBe(401)
  })

  it('a good key is good in any case of the header name', async () => {
    for (const header of [`x-api-key: ${apiKey}`, `AUTHORIZATION: BEARER ${apiKey}`])
      expect(statusOf(await request('GET /api/v1/orders', [header]))).toBe(200)
  })
})
