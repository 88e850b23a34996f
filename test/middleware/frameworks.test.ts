import type { Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import express from 'express'
import Fastify from 'fastify'
import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { ErrorBody } from '../../src/errors.ts'
import { requireKey as expressKey } from '../../src/middleware/express.ts'
import { requireKey as fastifyKey, principalOf } from '../../src/middleware/fastify.ts'
import { requireKey as honoKey } from '../../src/middleware/hono.ts'
import {
  createVerifier,
  type KeyPrincipal,
  type RequireKeyOptions,
  VerificationError,
} from '../../src/middleware/index.ts'
import { unknownSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { issueCredential, unknownCredential } from '../support/service-credentials.ts'
import { createKey, newWallet } from '../support/wallet.ts'

/** A backend with one guarded route, and how often its handler ran. */
interface Backend {
  call(headers: Record<string, string>, ip?: string): Promise<Response>
  handled: KeyPrincipal[]
  close(): Promise<void>
}

type Start = (options: RequireKeyOptions) => Promise<Backend>

/** What a client is answered, where the handler runs. */
const answerOf = ({ walletAddress, keyId }: KeyPrincipal) => ({ walletAddress, keyId })

async function listening(server: Server): Promise<string> {
  if (!server.listening) await new Promise((resolve) => server.once('listening', resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}/withdrawals?a=1`
}

const closed = (server: Server) =>
  new Promise<void>((resolve) => {
    server.close(() => resolve())
    server.closeAllConnections()
  })

const FRAMEWORKS: Readonly<Record<string, Start>> = {
  async Hono(options) {
    const handled: KeyPrincipal[] = []
    const app = new Hono()
    const ipOf = (c: { req: { header(name: string): string | undefined } }) =>
      c.req.header('x-test-ip')
    app.post('/withdrawals', honoKey({ ...options, ipOf }), (c) => {
      // The principal has its type: no cast.
      const principal: KeyPrincipal = c.get('principal')
      handled.push(principal)
      return c.json(answerOf(principal), 201)
    })
    return {
      handled,
      call: async (headers, ip) =>
        app.request('/withdrawals?a=1', {
          method: 'POST',
          headers: { ...headers, ...(ip !== undefined && { 'x-test-ip': ip }) },
        }),
      close: async () => {},
    }
  },
  async Express(options) {
    const handled: KeyPrincipal[] = []
    const app = express()
    app.set('trust proxy', 'loopback')
    app.post('/withdrawals', expressKey(options), (request, response) => {
      const principal: KeyPrincipal | undefined = request.principal
      if (principal === undefined) throw new Error('not guarded')
      handled.push(principal)
      response.status(201).json(answerOf(principal))
    })
    const server = app.listen(0, '127.0.0.1')
    const url = await listening(server)
    return { handled, call: over(url), close: () => closed(server) }
  },
  async Fastify(options) {
    const handled: KeyPrincipal[] = []
    const app = Fastify({ trustProxy: true })
    app.post('/withdrawals', { onRequest: fastifyKey(options) }, async (request, reply) => {
      const principal: KeyPrincipal = principalOf(request)
      handled.push(principal)
      return reply.code(201).send(answerOf(principal))
    })
    await app.listen({ port: 0, host: '127.0.0.1' })
    const url = await listening(app.server)
    return { handled, call: over(url), close: () => app.close() }
  },
}

const over =
  (url: string): Backend['call'] =>
  (headers, ip) =>
    fetch(url, {
      method: 'POST',
      headers: { ...headers, ...(ip !== undefined && { 'X-Forwarded-For': ip }) },
    })

let service: Service
let options: RequireKeyOptions
beforeAll(async () => {
  service = await startService('PGlite', { env: { MAX_ACTIVE_KEYS_PER_WALLET: '1000' } })
  options = {
    baseUrl: 'https://dex.example',
    serviceCredential: (await issueCredential(service)).secret,
    scope: 'read',
    cost: 2,
    fetch: (url, init) => service.call(`/${new URL(url).pathname}`, init),
  }
})
afterAll(() => service.close())

describe.each(Object.entries(FRAMEWORKS))('A route of %s that requires a key', (_, start) => {
  let backend: Backend
  beforeAll(async () => {
    backend = await start(options)
  })
  afterAll(() => backend.close())

  const withKey = (apiKey: string) => ({ 'X-API-Key': apiKey })
  const newKey = (members: Record<string, unknown> = {}) =>
    createKey(service, newWallet(service), { permissions: ['read'], ...members })

  it('is reached with a key that has the scope, in either header, and knows whose it is', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, { permissions: ['read'] })
    const response = await backend.call(withKey(apiKey))
    expect([response.status, await response.json()]).toEqual([
      201,
      { walletAddress: wallet.address, keyId },
    ])
    expect(response.headers.get('X-RateLimit-Remaining')).toBe('98')
    expect(response.headers.get('RateLimit-Policy')).toContain('"hour"')
    expect(response.headers.get('Cache-Control')).toBeNull()
    expect(backend.handled.at(-1)).toMatchObject({
      keyId,
      principal: `stacks:2147483648:${wallet.address}`,
      permissions: ['read'],
    })
    const bearer = await backend.call({ Authorization: `Bearer ${apiKey}` })
    expect([bearer.status, bearer.headers.get('X-RateLimit-Remaining')]).toEqual([201, '96'])
  })

  it('refuses as the service itself does: status, body and headers', async () => {
    const revoked = await newKey()
    await service.call('/api-keys/self', { method: 'DELETE', headers: withKey(revoked.apiKey) })
    const used = await newKey({ rateLimit: 11 })
    for (let left = 5; left > 0; left--) await backend.call(withKey(used.apiKey))
    const bound = await newKey({ ipAllowlist: ['203.0.113.50'] })
    const handled = backend.handled.length
    const cases: [apiKey: string, status: number, code: ErrorBody['code']][] = [
      ['nonsense', 401, 'INVALID_API_KEY'],
      [unknownSecret(), 401, 'INVALID_API_KEY'],
      [revoked.apiKey, 401, 'API_KEY_INACTIVE'],
      [(await newKey({ permissions: ['cancel'] })).apiKey, 403, 'PERMISSION_DENIED'],
      [bound.apiKey, 403, 'IP_NOT_ALLOWED'],
      [used.apiKey, 429, 'RATE_LIMIT_EXCEEDED'],
    ]
    for (const [apiKey, status, code] of cases) {
      const response = await backend.call(withKey(apiKey), '198.51.100.7')
      const body = (await response.json()) as ErrorBody
      expect([response.status, body.code]).toEqual([status, code])
      expect(Object.keys(body).filter((name) => name !== 'details')).toEqual([
        'error',
        'code',
        'timestamp',
        'requestId',
      ])
      expect(response.headers.get('Content-Type')).toMatch(/^application\/json/)
      expect(response.headers.get('Cache-Control')).toBe('no-store')
      expect(response.headers.get('X-Request-Id')).toBe(body.requestId)
      if (status === 401) expect(response.headers.get('WWW-Authenticate')).toMatch(/^Bearer/)
      if (status === 403 && code === 'PERMISSION_DENIED')
        expect(response.headers.get('WWW-Authenticate')).toContain('scope="read"')
      if (status === 429) {
        expect(Number(response.headers.get('Retry-After'))).toBeGreaterThan(0)
        expect(response.headers.get('X-RateLimit-Remaining')).toBe('1')
      }
    }
    expect(backend.handled.length).toBe(handled)
    expect((await backend.call(withKey(bound.apiKey), '203.0.113.50')).status).toBe(201)
  })

  it('refuses a request without a key, and with two, without asking the service', async () => {
    const before = service.statements.length
    const keyless = await backend.call({})
    expect([keyless.status, await keyless.json()]).toMatchObject([401, { code: 'INVALID_API_KEY' }])
    expect(keyless.headers.get('WWW-Authenticate')).toMatch(/^Bearer/)
    for (const headers of [
      { 'X-API-Key': unknownSecret(), Authorization: `Bearer ${unknownSecret()}` },
      { 'X-API-Key': `${unknownSecret()}, ${unknownSecret()}` },
    ]) {
      const response = await backend.call(headers)
      expect([response.status, await response.json()]).toMatchObject([
        400,
        { code: 'INVALID_REQUEST' },
      ])
    }
    expect(service.statements.length).toBe(before)
  })
})

/** What a service may answer that is no decision. */
const NO_DECISIONS: readonly [title: string, fetch: () => Promise<Response>][] = [
  ['nothing', () => Promise.reject(new TypeError('fetch failed'))],
  ['never', () => new Promise(() => {})],
  ['a page', async () => new Response('<html>', { status: 200 })],
  ['an empty object', async () => Response.json({})],
  ['null', async () => Response.json(null)],
  ['a yes without a principal', async () => Response.json({ valid: true, headers: {} })],
  ['a yes that is text', async () => Response.json({ ...YES, valid: 'true' })],
  ['a yes of another status', async () => Response.json(YES, { status: 203 })],
  ['a yes of an error', async () => Response.json(YES, { status: 500 })],
  ['a redirect', async () => new Response(null, { status: 307, headers: { Location: '/yes' } })],
  ['too much', async () => new Response(`{"a":"${'x'.repeat(100_000)}"}`)],
  ['a no with a success', async () => Response.json({ ...NO, httpStatus: 200 })],
  ['an outage', async () => Response.json({ code: 'UNAVAILABLE' }, { status: 503 })],
  ['a limit of the backend', async () => Response.json({ code: 'X' }, { status: 429 })],
]
const YES = {
  valid: true,
  code: 'OK',
  keyId: 'key_1',
  walletAddress: 'ST1',
  principal: 'stacks:1:ST1',
  permissions: [],
  headers: {},
}
const NO = { valid: false, code: 'INVALID_API_KEY', headers: {} }

describe.each(Object.entries(FRAMEWORKS))('A route of %s whose service is no help', (_, start) => {
  it.each(NO_DECISIONS)('refuses with 503 where it answers %s', async (_, fetch) => {
    const failures: unknown[] = []
    const backend = await start({
      ...options,
      fetch,
      timeoutMs: 100,
      onFailure: (error) => failures.push(error),
    })
    const response = await backend.call({ 'X-API-Key': unknownSecret() })
    expect([response.status, await response.json()]).toMatchObject([503, { code: 'UNAVAILABLE' }])
    expect(response.headers.get('Retry-After')).toBe('1')
    expect(backend.handled).toEqual([])
    expect(failures).toEqual([expect.any(VerificationError)])
    await backend.close()
  })

  it('refuses with 503 where its own credential is refused', async () => {
    for (const serviceCredential of [unknownCredential(), 'ck_service_'])
      for (const scope of ['read', 'cancel']) {
        const backend = await start({ ...options, serviceCredential, scope })
        const { apiKey } = await createKey(service, newWallet(service), { permissions: ['read'] })
        expect((await backend.call({ 'X-API-Key': apiKey })).status).toBe(503)
        expect(backend.handled).toEqual([])
        await backend.close()
      }
  })
})

describe('createVerifier', () => {
  it('resolves to the decision, and rejects with the code of the service where there is none', async () => {
    const verifier = createVerifier(options)
    const { apiKey, keyId } = await createKey(service, newWallet(service), {
      permissions: ['read'],
    })
    expect(await verifier.verify({ apiKey, scope: 'read' })).toMatchObject({ valid: true, keyId })
    expect(await verifier.verify({ apiKey, scope: 'cancel' })).toMatchObject({
      valid: false,
      httpStatus: 403,
      code: 'PERMISSION_DENIED',
    })
    const other = createVerifier({ ...options, serviceCredential: unknownCredential() })
    await expect(other.verify({ apiKey, scope: 'read' })).rejects.toMatchObject({
      name: 'VerificationError',
      status: 401,
      code: 'INVALID_SERVICE_CREDENTIAL',
    })
  })

  it('sends no secret in the clear to another machine', () => {
    expect(() => createVerifier({ ...options, baseUrl: 'http://dex.example' })).toThrow(/https/)
    createVerifier({ ...options, baseUrl: 'http://127.0.0.1:8787' })
    createVerifier({ ...options, baseUrl: 'http://dex.internal', allowInsecure: true })
  })
})
