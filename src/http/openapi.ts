import * as z from 'zod'
import { REFUSALS, type RefusalReason } from '../errors.ts'
import { VERSION } from '../version.ts'
import type { Credential, Endpoint } from './endpoint.ts'
import { REPLICA_LAG } from './lagging.ts'

type JsonObject = Record<string, unknown>

/** Refusals that every endpoint may return. */
const ALWAYS: readonly RefusalReason[] = ['rateLimited', 'internal', 'unavailable']

/** Refusals that every endpoint with a body may return. */
const OF_BODIES: readonly RefusalReason[] = ['unsupportedMedia']

const CODES = [...new Set(Object.values(REFUSALS).map((refusal) => refusal.code))]

const ErrorSchema = z
  .object({
    error: z.string(),
    code: z.enum(CODES),
    details: z.record(z.string(), z.unknown()).optional(),
    timestamp: z.iso.datetime(),
    requestId: z.string(),
  })
  .meta({ id: 'Error' })

const headers = (described: [string, string][]) =>
  Object.fromEntries(
    described.map(([name, description]) => [name, { description, schema: { type: 'string' } }]),
  )

const HEADERS = headers([
  ['X-RateLimit-Limit', 'Requests that the binding window allows'],
  ['X-RateLimit-Remaining', 'Requests left in it'],
  ['X-RateLimit-Reset', 'Unix seconds at which it starts anew'],
  ['X-RateLimit-Window', 'Its length in seconds'],
  ['RateLimit-Policy', 'Every window: draft-ietf-httpapi-ratelimit-headers'],
  ['RateLimit', 'What is left of every window'],
  ['X-Request-Id', 'Names this request in the logs'],
])
const LAG = {
  [REPLICA_LAG]: {
    description:
      'Present where the response was read from a replica: everything that was committed more than so many seconds ago is in it. Cache-Control: no-cache in the request asks for the primary',
    required: false,
    schema: { type: 'integer' },
  },
}
const RETRY_AFTER = headers([['Retry-After', 'Seconds to wait before retrying']])
const CHALLENGE = headers([['WWW-Authenticate', 'The missing credential or scope (RFC 6750)']])

/** Extra headers of refusals by status. */
const HEADERS_OF_STATUS: Record<string, JsonObject> = {
  401: CHALLENGE,
  429: RETRY_AFTER,
  503: RETRY_AFTER,
}

const SECURITY: Record<Credential, JsonObject[]> = {
  none: [{}],
  wallet: [{ walletSignature: [] }],
  session: [{ session: [] }],
  key: [{ apiKey: [] }, { bearer: [] }],
}

/** Writes the OpenAPI 3.1 document of the mounted endpoints, from the schemas that validate. */
export function openApiDocument(endpoints: readonly Endpoint[]): JsonObject {
  const components: JsonObject = {}
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') =>
    inComponents(schema, io, components)

  const paths: Record<string, JsonObject> = {}
  for (const endpoint of endpoints) {
    const path = `/api/v1${endpoint.path}`
    paths[path] ??= {}
    paths[path][endpoint.method] = operation(endpoint, schemaOf)
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Latchkey',
      version: VERSION,
      license: { name: 'MIT', identifier: 'MIT' },
      description:
        'API keys that a Stacks wallet grants by signing a message, and orders that they move. A wallet signs JSON text with stx_signMessage; a bot sends its key as X-API-Key.',
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'api-keys', description: 'The life of an API key' },
      { name: 'sessions', description: 'Read-only sessions for pages' },
      { name: 'audit', description: 'What happened, provable later' },
      { name: 'orders', description: 'The life of an order' },
      { name: 'service', description: 'What a client must know' },
    ],
    paths,
    components: {
      schemas: components,
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        bearer: { type: 'http', scheme: 'bearer' },
        session: {
          type: 'http',
          scheme: 'bearer',
          description: 'cs_..., from POST /sessions: reads, and changes nothing.',
        },
        walletSignature: {
          type: 'apiKey',
          in: 'header',
          name: 'X-Signature',
          description:
            'A message signed with stx_signMessage. In GET it travels as X-Message, X-Signature and X-Wallet-Address; elsewhere as message, signature and walletAddress in the JSON body.',
        },
      },
    },
  }
}

type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => JsonObject

function operation(endpoint: Endpoint, schemaOf: SchemaOf): JsonObject {
  const { operationId, summary, description, body, messages = [] } = endpoint
  for (const message of messages) schemaOf(message, 'input')
  return {
    operationId,
    summary,
    ...(description !== undefined && { description }),
    tags: [tagOf(endpoint.path)],
    security: endpoint.credentials.flatMap((credential) => SECURITY[credential]),
    parameters: [
      ...parameters('path', endpoint.params, schemaOf),
      ...parameters('query', endpoint.query, schemaOf),
      ...parameters('header', endpoint.headers, schemaOf),
    ],
    ...(body !== undefined && {
      requestBody: {
        required: body.optional !== true,
        content: { 'application/json': { schema: schemaOf(body.schema, 'input') } },
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(endpoint.responses).map(([status, response]) => [
          status,
          {
            description: response.description,
            headers: endpoint.mayLag === true ? { ...HEADERS, ...LAG } : HEADERS,
            ...(response.schema !== undefined && {
              content: {
                [response.contentType ?? 'application/json']: {
                  schema: schemaOf(response.schema, 'output'),
                },
              },
            }),
          },
        ]),
      ),
      ...refusals(
        [...endpoint.refusals, ...(body === undefined ? [] : OF_BODIES), ...ALWAYS],
        schemaOf,
      ),
    },
  }
}

const ROOMS = new Set(['api-keys', 'sessions', 'audit', 'orders'])

function tagOf(path: string): string {
  const room = path.split('/')[1]
  return room !== undefined && ROOMS.has(room) ? room : 'service'
}

function parameters(
  where: string,
  object: z.ZodObject | undefined,
  schemaOf: SchemaOf,
): JsonObject[] {
  return Object.entries(object?.shape ?? {}).map(([name, schema]) => ({
    name,
    in: where,
    required: where === 'path' || !(schema as z.ZodType).safeParse(undefined).success,
    schema: schemaOf(schema as z.ZodType, 'input'),
  }))
}

function refusals(reasons: readonly RefusalReason[], schemaOf: SchemaOf): JsonObject {
  const byStatus = Map.groupBy(new Set(reasons), (reason) => REFUSALS[reason].status)
  return Object.fromEntries(
    [...byStatus].map(([status, those]) => [
      String(status),
      {
        description: [
          ...new Set(those.map((r) => `${REFUSALS[r].error} (${REFUSALS[r].code})`)),
        ].join('; '),
        headers: { ...HEADERS, ...HEADERS_OF_STATUS[status] },
        content: {
          'application/json': {
            schema: schemaOf(ErrorSchema, 'output'),
            examples: Object.fromEntries(those.map((r) => [REFUSALS[r].code, exampleOf(r)])),
          },
        },
      },
    ]),
  )
}

function exampleOf(reason: RefusalReason): { value: z.output<typeof ErrorSchema> } {
  const { error, code } = REFUSALS[reason]
  const requestId = `req_${'0'.repeat(24)}`
  return { value: { error, code, timestamp: '2026-11-21T10:00:00.000Z', requestId } }
}

/** A schema as JSON Schema 2020-12, which is what OpenAPI 3.1 speaks. Named ones move into `components`. */
function inComponents(
  schema: z.ZodType,
  io: 'input' | 'output',
  components: JsonObject,
): JsonObject {
  const { $schema, $defs, ...json } = z.toJSONSchema(schema, {
    io,
    unrepresentable: 'any',
    reused: 'inline',
    // The format says it; the pattern is a page long, and readers make noise of it.
    override: ({ jsonSchema }) => {
      if (jsonSchema.format === 'date-time') delete jsonSchema.pattern
    },
  }) as JsonObject
  const local = (value: unknown): unknown => {
    if (Array.isArray(value)) return value.map(local)
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).map(([name, inner]) =>
        name === '$ref' && typeof inner === 'string'
          ? [name, inner.replace('#/$defs/', '#/components/schemas/')]
          : [name, local(inner)],
      ),
    )
  }
  for (const [name, definition] of Object.entries(($defs ?? {}) as JsonObject)) {
    const { id, ...rest } = definition as JsonObject
    components[name] = local(rest)
  }
  const { id, ...whole } = json
  if (typeof id !== 'string') return local(whole) as JsonObject
  components[id] = local(whole)
  return { $ref: `#/components/schemas/${id}` }
}
