import { expect } from 'vitest'
import { z } from 'zod'
import { endpoints } from '../../src/app.ts'
import { openApiDocument } from '../../src/http/openapi.ts'
import {
  type Engine,
  type Service,
  type ServiceOptions,
  startService as startBareService,
} from '../support/service.ts'

type JsonObject = Record<string, unknown>
interface Operation {
  security: JsonObject[]
  parameters?: Parameter[]
  requestBody?: { required: boolean; content: Record<string, { schema: JsonObject }> }
  responses: Record<string, Documented>
}
interface Parameter {
  $ref?: string
  name: string
  in: string
  schema: JsonObject
}
interface Documented {
  $ref?: string
  description: string
  headers: JsonObject
  content?: Record<string, { schema: JsonObject }>
}

const document = openApiDocument(endpoints) as {
  paths: Record<string, Record<string, Operation>>
  components: {
    schemas: JsonObject
    parameters: Record<string, Parameter>
    headers: Record<string, { required?: boolean }>
    responses: Record<string, Documented>
  }
}
const schemas = new Map<JsonObject, z.ZodType>()

/**
 * Starts a service whose every answer is held against /openapi.json: its status, its code, its headers and its whole body; and of each
 * success what was sent for it.
 */
export async function startService(engine: Engine, options?: ServiceOptions): Promise<Service> {
  const service = await startBareService(engine, options)
  return {
    ...service,
    async call(path, init) {
      const response = await service.call(path, init)
      if (!path.startsWith('//'))
        await isDocumented(init?.method ?? 'GET', path.split('?')[0] ?? '', response.clone())
      if (!path.startsWith('//') && response.ok) requestIsDocumented(path, init)
      return response
    },
  }
}

/** Expects the document to know all that a request was served for: its query, its headers and its body. */
function requestIsDocumented(path: string, init: RequestInit = {}): void {
  const { pathname, searchParams } = new URL(`http://service${path}`)
  const method = init.method ?? 'GET'
  const operation = operationOf(method, pathname)
  if (operation === undefined) return
  const where = `${method} ${pathname}`
  const parameters = (operation.parameters ?? []).map(
    ({ $ref, ...one }) =>
      document.components.parameters[$ref?.replace('#/components/parameters/', '') ?? ''] ?? one,
  )
  const named = (place: string) =>
    parameters.filter((one) => one.in === place).map(({ name }) => name)
  expect(named('query'), where).toEqual(expect.arrayContaining([...searchParams.keys()]))
  const sent = [...new Headers(init.headers).keys()].filter((name) => !OF_EVERY_REQUEST.has(name))
  const schemes = operation.security.flatMap(Object.keys)
  const known = [
    ...named('header'),
    ...schemes.flatMap((scheme) => HEADERS_OF_SCHEME[scheme] ?? []),
  ]
  expect(
    known.map((name) => name.toLowerCase()),
    `${where}: headers`,
  ).toEqual(expect.arrayContaining(sent))
  // Where a wallet may sign in its place, a key needs no body, and one that it is sent with is ignored.
  const isIgnored = sent.includes('x-api-key') && operation.requestBody?.required === false
  if (typeof init.body !== 'string' || init.body === '' || isIgnored) return
  const schema = operation.requestBody?.content['application/json']?.schema
  expect(schema, `${where} takes a body`).toBeDefined()
  const parsed = zodOf(schema ?? {}).safeParse(JSON.parse(init.body))
  expect(parsed.error, `${where}: ${init.body}`).toBeUndefined()
}

/** Request headers of HTTP, and of what is before the service. */
const OF_EVERY_REQUEST = new Set(
  [
    'Accept',
    'Content-Type',
    'Origin',
    'User-Agent',
    'X-Request-Id',
    'Cache-Control',
    'Content-Encoding',
  ].map((name) => name.toLowerCase()),
)
const HEADERS_OF_SCHEME: Record<string, string[]> = {
  apiKey: ['X-API-Key'],
  bearer: ['Authorization'],
  session: ['Authorization'],
  service: ['X-Service-Credential'],
}

/** Response headers of HTTP and CORS, which documents of an API do not list (OpenAPI 3.1 s4.8.17). */
const OF_EVERY_RESPONSE =
  /^(access-control-[a-z-]+|allow|cache-control|content-(type|length|encoding)|transfer-encoding|vary|x-accel-buffering)$/

/** Headers are of every response that has them, unless the document says otherwise. */
const isOptional = (header: unknown) => {
  const { $ref = '', required } = header as { $ref?: string; required?: boolean }
  const shared = document.components.headers[$ref.replace('#/components/headers/', '')]
  return (shared?.required ?? required) === false
}

/** Expects the document to foresee an answer. Answers to paths and methods that are not mounted are not its matter. */
export async function isDocumented(
  method: string,
  path: string,
  response: Response,
): Promise<void> {
  const operation = operationOf(method, path)
  if (operation === undefined) return
  const status = response.status
  if (status === 500) return // A defect, which no document foresees.
  const documented = resolved(operation.responses[String(status)])
  const named = Object.keys(documented?.headers ?? {}).map((name) => name.toLowerCase())
  const unnamed = [...response.headers.keys()].filter(
    (name) => !OF_EVERY_RESPONSE.test(name) && !named.includes(name),
  )
  if (documented !== undefined)
    expect(unnamed, `${method} ${path} ${status}: headers that are not documented`).toEqual([])
  const [contentType] = Object.keys(documented?.content ?? {})
  if (documented !== undefined && contentType !== 'application/json') {
    expect(response.headers.get('Content-Type') ?? undefined, `${method} ${path}`).toBe(contentType)
    void response.body?.cancel() // Settled only once the other half of the clone is cancelled, too.
    return
  }
  const body: unknown = await response.json()
  expect(
    documented,
    `${method} ${path} may answer ${status}: ${JSON.stringify(body)}`,
  ).toBeDefined()
  const missing = Object.keys(documented?.headers ?? {}).filter(
    (name) => !response.headers.has(name) && !isOptional(documented?.headers[name]),
  )
  expect(missing, `${method} ${path} ${status}: headers that are not there`).toEqual([])
  const schema = documented?.content?.['application/json']?.schema
  const parsed = zodOf(schema ?? {}).safeParse(body)
  expect(parsed.error, `${method} ${path} ${status}: ${JSON.stringify(body)}`).toBeUndefined()
  if (status >= 400)
    expect(documented?.description, `${method} ${path} ${status}`).toContain(
      (body as { code: string }).code,
    )
}

/** A refusal is a reference to its component, whose description it may replace. */
function resolved(response: Documented | undefined): Documented | undefined {
  const name = response?.$ref?.replace('#/components/responses/', '')
  return name === undefined
    ? response
    : ({ ...document.components.responses[name], ...response } as Documented)
}

function operationOf(method: string, path: string): Operation | undefined {
  const found = Object.keys(document.paths)
    .filter((template) => matches(template, `/api/v1${path}`))
    // A literal path goes before a parameter: /orders/new is not an order's uuid.
    .sort((a, b) => a.split('{').length - b.split('{').length)
    .map((template) => document.paths[template]?.[method.toLowerCase()])
  return found.find((operation) => operation !== undefined)
}

function matches(template: string, path: string): boolean {
  return new RegExp(`^${template.replaceAll(/\{\w+\}/g, '[^/]+')}$`).test(path)
}

function zodOf(schema: JsonObject): z.ZodType {
  const known = schemas.get(schema)
  if (known !== undefined) return known
  const whole = JSON.parse(
    JSON.stringify(closed({ ...schema, $defs: document.components.schemas })).replaceAll(
      '#/components/schemas/',
      '#/$defs/',
    ),
  )
  const made = z.fromJSONSchema(whole)
  schemas.set(schema, made)
  return made
}

/** The schema without room for members that it does not name: clients leave room for those of later releases, a test does not. */
function closed(schema: unknown): unknown {
  if (Array.isArray(schema)) return schema.map(closed)
  if (typeof schema !== 'object' || schema === null) return schema
  const members = Object.entries(schema).map(([name, inner]) => [name, closed(inner)])
  const isOpen = 'properties' in schema && !('additionalProperties' in schema)
  return { ...Object.fromEntries(members), ...(isOpen && { additionalProperties: false }) }
}
