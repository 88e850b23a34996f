import { Hono } from 'hono'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AppEnv } from '../../src/http/context.ts'
import { announceDeprecation } from '../../src/http/deprecation.ts'
import type { Endpoint } from '../../src/http/endpoint.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import { wantsProblemDetails } from '../../src/http/problem-details.ts'
import { EVERYWHERE, type Service, startService } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'

describe.each(EVERYWHERE)('HTTP manners on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  it('a 201 names the path of what was created, which can be read there', async () => {
    const wallet = newWallet(service)
    const members = { action: 'create_api_key', keyName: 'found again', permissions: [] }
    const created = await service.call('/api-keys', json(wallet.sign(members)))
    expect(created.status).toBe(201)
    const { keyId } = (await created.json()) as { keyId: string }
    const keyPath = created.headers.get('Location') ?? ''
    expect(keyPath).toBe(`/api/v1/api-keys/${keyId}`)
    const headers = wallet.signHeaders({ action: 'get_api_key', keyId })
    expect((await service.call(`/${keyPath}`, { headers })).status).toBe(200)

    const order = wallet.order()
    const placed = await service.call('/orders/new', json(order))
    const orderPath = placed.headers.get('Location') ?? ''
    expect(orderPath).toBe(`/api/v1/orders/${order.uuid}`)
    expect((await service.call(`/${orderPath}`)).status).toBe(200)
    const again = await service.call('/orders/new', json(order))
    expect([again.status, again.headers.get('Location')]).toEqual([200, null])

    const opened = await service.call(
      '/sessions',
      json(wallet.sign({ action: 'create_session', ttlSeconds: 60 })),
    )
    const { session } = (await opened.json()) as { session: string }
    const ended = await service.call(`/${opened.headers.get('Location')}`, {
      method: 'DELETE',
      headers: { Authorization: `Bearer ${session}` },
    })
    expect(ended.status).toBe(200)
  })

  it('a key is deleted by a message in headers, once and by its owner only', async () => {
    const wallet = newWallet(service)
    const { keyId, apiKey } = await createKey(service, wallet)
    const other = await createKey(service, wallet)
    const remove = (headers: Record<string, string>) =>
      service.call(`/api-keys/${keyId}`, { method: 'DELETE', headers })
    const codeOf = async (response: Response) => ((await response.json()) as { code: string }).code

    const stranger = newWallet(service).signHeaders({ action: 'delete_api_key', keyId })
    expect(await codeOf(await remove(stranger))).toBe('KEY_NOT_FOUND')
    const foreign = wallet.signHeaders({ action: 'delete_api_key', keyId: other.keyId })
    expect(await codeOf(await remove(foreign))).toBe('INVALID_REQUEST')
    const read = wallet.signHeaders({ action: 'get_api_key', keyId })
    expect(await codeOf(await remove(read))).toBe('INVALID_REQUEST')
    const { 'X-Signature': _, ...unsigned } = wallet.signHeaders({
      action: 'delete_api_key',
      keyId,
    })
    expect(await codeOf(await remove(unsigned))).toBe('INVALID_SIGNATURE')

    const headers = wallet.signHeaders({ action: 'delete_api_key', keyId })
    expect((await remove(headers)).status).toBe(200)
    expect(await codeOf(await remove(headers))).toBe('MESSAGE_REPLAYED')
    const used = await service.call('/me', { headers: { 'X-API-Key': apiKey } })
    expect(await codeOf(used)).toBe('API_KEY_INACTIVE')
  })

  it('what a body proves is not replaced by what headers say', async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const response = await service.call(`/api-keys/${keyId}`, {
      ...json(newWallet(service).sign({ action: 'delete_api_key', keyId }), {
        ...wallet.signHeaders({ action: 'delete_api_key', keyId }),
      }),
      method: 'DELETE',
    })
    expect(response.status).toBe(404)
  })

  it.each([
    ['X-API-Key', (key: string) => key],
    ['Authorization', (key: string) => `Bearer ${key}`],
  ])('%s sent twice is named, also with one key', async (name, write) => {
    const { apiKey } = await createKey(service, newWallet(service))
    const headers = new Headers({ [name]: write(apiKey) })
    headers.append(name, write(apiKey))
    const response = await service.call('/me', { headers })
    expect(response.status).toBe(400)
    expect(await response.json()).toMatchObject({
      code: 'INVALID_REQUEST',
      details: { problem: `${name} is sent twice: send it once` },
    })
  })

  it('credentials of another scheme, which have commas, are not taken for keys', async () => {
    const digest = { Authorization: 'Digest username="a", realm="b"' }
    expect((await service.call('/orders', { headers: digest })).status).toBe(200)
    const both = { ...digest, 'X-API-Key': 'ck_live_mistyped' }
    expect((await service.call('/me', { headers: both })).status).toBe(401)
  })

  it.each(['X-Signature', 'X-Wallet-Address'])('%s sent twice is named', async (name) => {
    const signed = newWallet(service).signHeaders({ action: 'list_api_keys' })
    const headers = new Headers(signed)
    headers.append(name, signed[name] ?? '')
    const response = await service.call('/api-keys', { headers })
    expect(await response.json()).toMatchObject({
      details: { problem: `${name} is sent twice: send it once` },
    })
  })

  it('an error is problem details where those are accepted, with every member it has otherwise', async () => {
    const plain = await service.call('/orders/none')
    expect(plain.headers.get('Content-Type')).toBe('application/json')
    const problem = await service.call('/orders/none', {
      headers: { Accept: 'application/problem+json, application/json' },
    })
    expect(problem.headers.get('Content-Type')).toBe('application/problem+json')
    const volatile = { timestamp: expect.any(String), requestId: expect.any(String) }
    expect(await problem.json()).toEqual({
      ...((await plain.json()) as object),
      ...volatile,
      type: '/docs#ORDER_NOT_FOUND',
      title: 'Order not found',
      status: 404,
    })
    const malformed = await service.call('/orders/new', {
      method: 'POST',
      body: '{',
      headers: { Accept: 'application/problem+json' },
    })
    expect(await malformed.json()).toMatchObject({
      status: 400,
      detail: 'body is not I-JSON (RFC 7493)',
      details: { problem: 'body is not I-JSON (RFC 7493)' },
    })
    const success = await service.call('/time', {
      headers: { Accept: 'application/problem+json' },
    })
    expect(success.headers.get('Content-Type')).toBe('application/json')
  })
})

describe.each(['PGlite', 'workerd'] as const)('Where headers are configured, on %s', (engine) => {
  it('a page may send those of the API and the configured ones, and no others', async () => {
    const service = await startService(engine, {
      env: { ALLOWED_ORIGINS: 'https://dex.example', ALLOWED_HEADERS: 'traceparent, baggage' },
    })
    const answer = await service.call('/orders/x/execute', {
      method: 'OPTIONS',
      headers: {
        Origin: 'https://dex.example',
        'Access-Control-Request-Method': 'POST',
        'Access-Control-Request-Headers': 'x-api-key,traceparent,x-forwarded-for',
      },
    })
    const allowed = answer.headers.get('Access-Control-Allow-Headers')?.toLowerCase().split(',')
    for (const name of ['x-api-key', 'content-type', 'x-message', 'traceparent', 'baggage'])
      expect(allowed).toContain(name)
    expect(allowed).not.toContain('x-forwarded-for')
    await service.close()
  })
})

it.each([
  ['application/problem+json', true],
  ['Application/Problem+JSON; charset=utf-8', true],
  ['application/json, application/problem+json', true],
  ['application/problem+json;q=0.5, application/json', false],
  ['application/problem+json;q=0', false],
  ['application/problem+json;q=x', false],
  ['*/*', false],
  ['application/json', false],
  ['', false],
  [undefined, false],
])('Accept: %s asks for problem details: %s', (accept, wants) => {
  expect(wantsProblemDetails(accept)).toBe(wants)
})

describe('A deprecated endpoint', () => {
  const endpoint: Endpoint = {
    method: 'get',
    path: '/old',
    operationId: 'getOld',
    summary: 'Old',
    credentials: ['none'],
    responses: { 200: { description: 'Old' } },
    refusals: [],
    handle: () => new Response('{}'),
  }
  const deprecation = {
    since: '2027-01-01T00:00:00Z',
    sunset: '2027-07-01T00:00:00Z',
    see: '/docs#getNew',
  }

  it('says since when, until when and what to use, in its responses and in the document', async () => {
    const app = new Hono<AppEnv>()
    app.get('/old', announceDeprecation({ ...endpoint, deprecation }).handle)
    const { headers } = await app.request('/old')
    expect(headers.get('Deprecation')).toBe('@1798761600')
    expect(headers.get('Sunset')).toBe('Thu, 01 Jul 2027 00:00:00 GMT')
    expect(headers.get('Link')).toBe('</docs#getNew>; rel="deprecation"')
    const { paths } = openApiDocument([{ ...endpoint, deprecation }]) as {
      paths: Record<string, Record<string, { deprecated?: boolean }>>
    }
    expect(paths['/api/v1/old']?.get?.deprecated).toBe(true)
  })

  it('is the exception: another one has no such header', () => {
    expect(announceDeprecation(endpoint)).toBe(endpoint)
  })
})
