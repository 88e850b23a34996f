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
  responses: Record<string, Documented>
}
interface Documented {
  $ref?: string
  description: string
  headers: JsonObject
  content?: Record<string, { schema: JsonObject }>
}

const document = openApiDocument(endpoints) as {
  paths: Record<string, Record<string, Operation>>
  components: { schemas: JsonObject; responses: Record<string, Documented> }
}
const schemas = new Map<JsonObject, z.ZodType>()

/** Starts a service whose every answer is held against /openapi.json: its status, its code and its whole body. */
export async function startService(engine: Engine, options?: ServiceOptions): Promise<Service> {
  const service = await startBareService(engine, options)
  return {
    ...service,
    async call(path, init) {
      const response = await service.call(path, init)
      if (!path.startsWith('//'))
        await isDocumented(init?.method ?? 'GET', path.split('?')[0] ?? '', response.clone())
      return response
    },
  }
}

/** Headers are of every response that has them, unless the document says otherwise. */
const isOptional = (header: unknown) => (header as { required?: boolean }).required === false

/** Expects the document to foresee an answer. Answers to paths and methods that are not mounted are not its matter. */
export async function isDocumented(
  method: string,
  path: string,
  response: Response,
): Promise<void> {
  const operation = operationOf(method, path)
  if (operation === undefined) return
  const status = response.status
  const documented = resolved(operation.responses[String(status)])
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
