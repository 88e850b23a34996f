import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { z } from 'zod'
import { ACTIONS } from '../../src/actions/action.ts'
import { createApp, endpoints } from '../../src/app.ts'
import { REFUSALS } from '../../src/errors.ts'
import { honoPath } from '../../src/http/endpoint.ts'
import type { Service } from '../support/service.ts'
import { newWallet } from '../support/wallet.ts'
import { startService } from './documented.ts'
import { useEverything } from './everything.ts'

interface Operation {
  operationId: string
  tags: string[]
  security: Record<string, unknown>[]
  parameters?: Parameter[]
  requestBody?: { required: boolean; content: Record<string, { schema: object }> }
  responses: Record<string, DocumentedResponse>
}
interface DocumentedResponse {
  $ref?: string
  description?: string
  content?: Record<string, { schema: object }>
}
interface Parameter {
  $ref?: string
  name: string
  in: string
  required?: boolean
  schema: object
}
interface Document {
  openapi: string
  info: { title: string; version: string }
  paths: Record<string, Record<string, Operation>>
  components: Record<
    'parameters' | 'headers' | 'schemas' | 'securitySchemes',
    Record<string, object>
  > & { responses: Record<string, DocumentedResponse> }
}

let service: Service
let document: Document
beforeAll(async () => {
  service = await startService('Postgres')
  const response = await service.call('//openapi.json')
  expect(response.status).toBe(200)
  expect(response.headers.get('Content-Type')).toBe('application/json')
  document = (await response.json()) as Document
})
afterAll(() => service.close())

const operations = () =>
  Object.entries(document.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => ({ path, method, operation })),
  )

function responseOf(response: DocumentedResponse): DocumentedResponse {
  const name = response.$ref?.replace('#/components/responses/', '')
  return name === undefined ? response : { ...document.components.responses[name], ...response }
}

function parametersOf({ parameters = [] }: Operation): Parameter[] {
  return parameters.map((parameter) => {
    const name = parameter.$ref?.replace('#/components/parameters/', '')
    return name === undefined ? parameter : (document.components.parameters[name] as Parameter)
  })
}

describe('/openapi.json', () => {
  it('is OpenAPI 3.1 and says whose', () => {
    expect(document.openapi).toBe('3.1.0')
    expect(document.info).toMatchObject({ title: 'Latchkey', version: expect.any(String) })
  })

  it('is less than 160 KiB', () => {
    expect(JSON.stringify(document).length).toBeLessThan(163_840)
  })

  it('documents a number as a number, and a signed message as the JSON text that it is', () => {
    const list = document.paths['/api/v1/api-keys']?.get
    const named = (name: string) => list?.parameters?.find((one) => one.name === name)?.schema
    expect(named('limit')).toEqual({ type: 'integer', minimum: 1, maximum: 100, default: 100 })
    expect(named('live')).toMatchObject({ type: 'boolean' })
    const contentSchema = { $ref: '#/components/schemas/list_api_keys_message' }
    expect(named('X-Message')).toMatchObject({
      contentMediaType: 'application/json',
      contentSchema,
    })
    for (const { operation } of operations()) {
      const body = JSON.stringify(operation.requestBody ?? {})
      const [, signed] = /schemas\/signed_(\w+)"/.exec(body) ?? []
      if (signed === undefined) continue
      expect(JSON.stringify(document.components.schemas[`signed_${signed}`])).toContain(
        `"contentSchema":{"$ref":"#/components/schemas/${signed}_message"}`,
      )
    }
  })

  it('has no scheme by which a generated client would send a key as a signature', () => {
    const schemes = Object.values(document.components.securitySchemes) as { name?: string }[]
    expect(schemes.map(({ name }) => name).filter(Boolean)).toEqual([
      'X-API-Key',
      'X-Service-Credential',
    ])
    const create = document.paths['/api/v1/api-keys']?.post
    expect(create?.security).toEqual([])
    expect(document.paths['/api/v1/api-keys']?.get?.security).toEqual([{}, { session: [] }])
  })

  it('has each example fit its schema', () => {
    for (const [name, schema] of Object.entries(document.components.schemas))
      for (const example of (schema as { examples?: unknown[] }).examples ?? [])
        expect(zodOf(schema).safeParse(example).error, name).toBeUndefined()
  })

  it('has every route that is mounted, and no other', () => {
    const app = createApp({
      worldOf: () => expect.unreachable(),
      addressOf: () => expect.unreachable(),
      allowedOrigins: ['*'],
    })
    const mounted = app.routes
      .filter(({ method, path }) => method !== 'ALL' && path.startsWith('/api/'))
      .map(({ method, path }) => `${method} ${path}`)
    const documented = operations().map(
      ({ path, method }) => `${method.toUpperCase()} ${honoPath(path)}`,
    )
    expect(new Set(documented)).toEqual(new Set(mounted))
    expect(documented.length).toBe(mounted.length)
    expect(documented.length).toBe(endpoints.length)
    const besides = app.routes.filter(({ path }) => !path.startsWith('/api/') && path !== '/*')
    expect(besides.map(({ method, path }) => `${method} ${path}`)).toEqual([
      'GET /health',
      'GET /ready',
      'GET /openapi.json',
    ])
  })

  it('names each operation once and declares each parameter of its path', () => {
    const ids = operations().map(({ operation }) => operation.operationId)
    expect(new Set(ids).size).toBe(ids.length)
    for (const { path, operation } of operations()) {
      const inPath = [...path.matchAll(/\{(\w+)\}/g)].map(([, name]) => name)
      const declared = parametersOf(operation).filter((parameter) => parameter.in === 'path')
      expect(declared.map(({ name }) => name)).toEqual(inPath)
      expect(declared.every(({ required }) => required)).toBe(true)
    }
  })

  it('has something to point at for each reference, and a scheme for each credential', () => {
    const text = JSON.stringify(document)
    const references = [...text.matchAll(/"\$ref":"([^"]+)"/g)].map(([, reference]) => reference)
    expect(references.length).toBeGreaterThan(20)
    for (const reference of new Set(references)) {
      const [, kind = '', name = ''] =
        /^#\/components\/(\w+)\/([\w-]+)$/.exec(reference ?? '') ?? []
      expect(document.components, reference).toHaveProperty([kind, name])
    }
    expect(text).not.toContain('$defs')
    for (const { operation } of operations())
      for (const scheme of operation.security.flatMap(Object.keys))
        expect(document.components.securitySchemes).toHaveProperty(scheme)
  })

  it('writes schemas that are JSON Schema', () => {
    for (const schema of Object.values(document.components.schemas))
      expect(() => zodOf(schema)).not.toThrow()
    for (const { operation } of operations())
      for (const { schema } of parametersOf(operation)) expect(() => zodOf(schema)).not.toThrow()
  })

  it('says of each operation how it refuses, and never a code that the service does not have', () => {
    const codes = new Set<string>(Object.values(REFUSALS).map(({ code }) => code))
    for (const { path, method, operation } of operations()) {
      const where = `${method} ${path}`
      for (const status of ['429', '503']) expect(operation.responses, where).toHaveProperty(status)
      for (const [status, response] of Object.entries(operation.responses)) {
        const { description, content } = responseOf(response)
        if (status === '204' || status === '101') expect(content, where).toBeUndefined()
        else expect(Object.values(content ?? {})[0]?.schema, where).toBeDefined()
        if (Number(status) < 400) continue
        expect(content, where).toHaveProperty('application/json')
        const named = description?.match(/\b[A-Z]+(_[A-Z]+)+\b|\b(INTERNAL|UNAVAILABLE)\b/g) ?? []
        expect(named.length, where).toBeGreaterThan(0)
        for (const code of named) expect(codes, where).toContain(code)
      }
    }
  })

  it('describes requests as strictly as they are read', () => {
    const wallet = newWallet(service)
    const order = wallet.order({
      targetPrice: '1.5',
      direction: 'gt',
      conditionToken: '*',
      validTo: '2099-01-01T00:00:00Z',
    })
    const body = (path: string, method: string) =>
      zodOf(document.paths[path]?.[method]?.requestBody?.content['application/json']?.schema ?? {})
    const create = body('/api/v1/orders/new', 'post')
    expect(create.safeParse(order).success).toBe(true)
    for (const changed of [
      { amountIn: '0' },
      { amountIn: 1 },
      { uuid: 'a'.repeat(37) },
      { signature: 'x' },
      { direction: 'up' },
      { unknown: 1 },
      { owner: undefined },
    ]) {
      const wrong = JSON.parse(JSON.stringify({ ...order, ...changed }))
      expect(create.safeParse(wrong).success, JSON.stringify(changed)).toBe(false)
    }
    const cancel = body('/api/v1/orders/{uuid}/cancel', 'patch')
    for (const given of [{}, { onChain: true }, wallet.sign({ action: 'cancel_order' })])
      expect(cancel.safeParse(given).success, JSON.stringify(given)).toBe(true)
    for (const given of [{ onChain: 'yes' }, { onchain: true }, { message: 'a' }])
      expect(cancel.safeParse(given).success, JSON.stringify(given)).toBe(false)

    const grant = body('/api/v1/api-keys', 'post')
    const signed = wallet.sign({ action: 'list_api_keys' })
    expect(grant.safeParse(signed).success).toBe(true)
    // A reader that takes allOf apart finds the strictness in its first part.
    const base = zodOf(document.components.schemas.SignedMessage ?? {})
    expect(base.safeParse(signed).success).toBe(true)
    expect(base.safeParse({ ...signed, extra: 1 }).success).toBe(false)

    const message = zodOf(document.components.schemas.create_api_key_message ?? {})
    const members = { action: 'create_api_key', keyName: 'a', permissions: [], timestamp: 1 }
    expect(message.safeParse(members).success).toBe(true)
    for (const changed of [
      { permissions: ['All'] },
      { permissions: 'create' },
      { rateLimit: 10.5 },
      { tokens: [] },
      { maxAmountIn: { '.stx': { perHour: '1' } } },
      { ownOrdersOnly: null },
      { label: '' },
      { unknown: 1 },
    ])
      expect(message.safeParse({ ...members, ...changed }).success, JSON.stringify(changed)).toBe(
        false,
      )
  })
})

it('No signed message takes a member that it does not name, but for the tokens of maxAmountIn', () => {
  const messages = Object.entries(document.components.schemas).filter(([name]) =>
    name.endsWith('_message'),
  )
  expect(messages.length).toBe(ACTIONS.length)
  const open = messages.flatMap(([name, schema]) => openObjects(schema, name))
  expect(open.sort()).toEqual([
    'create_api_key_message/properties/maxAmountIn',
    'update_api_key_message/properties/maxAmountIn/anyOf/0',
  ])
})

describe('A story told through every operation', () => {
  it('gets each success that is documented, in the documented form', async () => {
    const seen = await useEverything(service)
    const documented = operations().flatMap(({ path, method, operation }) =>
      Object.keys(operation.responses)
        .filter((status) => Number(status) < 300)
        .map((status) => `${method} ${path} ${status}`),
    )
    // 202 needs a node that does not answer: test/settlement. A report needs GitHub's signature: test/leaks. A WebSocket needs a
    // connection: test/node.
    const told = documented.filter(
      (answer) => !/(execute 202|leaks\/github 200|stream 101)$/.test(answer),
    )
    expect([...seen].sort()).toEqual(told.sort())
  })
})

/** The paths of the objects in a JSON schema that take members which it does not name. */
function openObjects(schema: unknown, path = ''): string[] {
  if (typeof schema !== 'object' || schema === null) return []
  const { type, additionalProperties } = schema as Record<string, unknown>
  const isOpen = type === 'object' && additionalProperties !== false
  return [
    ...(isOpen ? [path] : []),
    ...Object.entries(schema).flatMap(([name, inner]) => openObjects(inner, `${path}/${name}`)),
  ]
}

function zodOf(schema: object): z.ZodType {
  const whole = JSON.stringify({ ...schema, $defs: document.components.schemas })
  return z.fromJSONSchema(JSON.parse(whole.replaceAll('#/components/schemas/', '#/$defs/')))
}
