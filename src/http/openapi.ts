import * as z from 'zod'
import { REFUSALS, type RefusalReason } from '../errors.ts'
import { VERSION } from '../version.ts'
import { SERVICE_HEADER } from './credentials/service.ts'
import type { Credential, Endpoint } from './endpoint.ts'
import { REPLICA_LAG } from './lagging.ts'
import { FORWARDED_REFUSAL } from './problem.ts'
import { shareSchemas } from './shared-schemas.ts'

type JsonObject = Record<string, unknown>

/** Refusals that every endpoint may return. A 500 is a defect, and no part of the contract. */
const ALWAYS: readonly RefusalReason[] = ['rateLimited', 'unavailable']

/** Refusals that every endpoint with a body may return. */
const OF_BODIES: readonly RefusalReason[] = ['unsupportedMedia']

/** Refusals of signed requests, which every endpoint that takes a key takes in place of its secret. */
const OF_KEYS: readonly RefusalReason[] = [
  'invalidRequest',
  'requestSignatureRequired',
  'requestSignatureIncomplete',
  'requestSignatureInvalid',
  'requestSignatureExpired',
  'requestReplayed',
  'contentDigestMismatch',
]

const CODES = [...new Set(Object.values(REFUSALS).map((refusal) => refusal.code))]

const ErrorSchema = z
  .object({
    error: z.string(),
    code: z.enum(CODES),
    details: z.record(z.string(), z.unknown()).optional(),
    timestamp: z.iso.datetime(),
    requestId: z.string(),
  })
  .meta({
    id: 'Error',
    example: {
      error: REFUSALS.orderNotFound.error,
      code: REFUSALS.orderNotFound.code,
      timestamp: '2026-11-21T10:00:00.000Z',
      requestId: `req_${'0'.repeat(24)}`,
    },
  })

const ProblemSchema = z
  .intersection(
    ErrorSchema,
    z.object({
      type: z.string().meta({ format: 'uri-reference' }),
      title: z.string(),
      status: z.int(),
      detail: z.string().optional(),
    }),
  )
  .meta({ id: 'Problem', description: 'An error as problem details (RFC 9457).' })

/** Headers of every response: the name, that of its component, and what it says. */
const HEADERS: readonly [name: string, component: string, description: string][] = [
  ['X-RateLimit-Limit', 'Limit', 'Requests that the binding window allows'],
  ['X-RateLimit-Remaining', 'Left', 'Requests left in it'],
  ['X-RateLimit-Reset', 'Reset', 'Unix seconds at which it starts anew'],
  ['X-RateLimit-Window', 'Window', 'Its length in seconds'],
  ['RateLimit-Policy', 'Policy', 'Every window: draft-ietf-httpapi-ratelimit-headers'],
  ['RateLimit', 'State', 'What is left of every window'],
  ['X-Request-Id', 'Id', 'Names this request in the logs'],
]
const EXTRA_HEADERS: typeof HEADERS = [
  ['Location', 'Location', 'The path of what was created'],
  ['Retry-After', 'RetryAfter', 'Seconds to wait before retrying'],
  ['WWW-Authenticate', 'Challenge', 'The missing credential (RFC 6750)'],
]
/** On every response to an API key that ends within 14 days. */
const KEY_END = { 'X-API-Key-Expires': { $ref: '#/components/headers/KeyEnd' } }
const LAG = { [REPLICA_LAG]: { $ref: '#/components/headers/ReplicaLag' } }

/** By status: what some of its refusals say beside their body. */
const REFUSAL = { [FORWARDED_REFUSAL]: { $ref: '#/components/headers/Refusal' } }
const HINTS: Record<number, JsonObject> = {
  400: REFUSAL,
  401: REFUSAL,
  403: { 'WWW-Authenticate': { $ref: '#/components/headers/Scope' }, ...REFUSAL },
  429: REFUSAL,
  503: REFUSAL,
  415: {
    Accept: { $ref: '#/components/headers/Accepted' },
    'Accept-Encoding': { $ref: '#/components/headers/Accepted' },
  },
}

/** The components of headers that a response may lack. */
const OPTIONAL_HEADERS = {
  KeyEnd: {
    description: 'When the API key ends; present in its last 14 days',
    required: false,
    schema: { type: 'string', format: 'date-time' },
  },
  Scope: {
    description: 'With PERMISSION_DENIED: the missing scope (RFC 6750)',
    required: false,
    schema: { type: 'string' },
  },
  Refusal: {
    description: 'Of /auth/forward: the body, for a proxy that passes on headers alone',
    required: false,
    schema: { type: 'string', contentMediaType: 'application/json' },
  },
  Accepted: { description: 'What is understood', required: false, schema: { type: 'string' } },
  ReplicaLag: {
    description:
      'Read from a replica: what was committed more than so many seconds ago is in it. Cache-Control: no-cache in the request asks for the primary',
    required: false,
    schema: { type: 'integer' },
  },
}

/** Extra headers by status. */
const HEADERS_OF_STATUS: Record<string, string> = {
  201: 'Location',
  401: 'WWW-Authenticate',
  429: 'Retry-After',
  503: 'Retry-After',
}

/** A wallet's signature is none: it is in the body or in parameters, and a scheme for it would have generators send keys in its place. */
const SECURITY: Record<Credential, JsonObject[]> = {
  none: [{}],
  wallet: [{}],
  session: [{ session: [] }],
  key: [{ apiKey: [] }, { bearer: [] }],
  service: [{ service: [] }],
}

/** Names of the components of refusals, by status. */
const RESPONSES: Record<number, string> = {
  400: 'BadRequest',
  401: 'Unauthorized',
  403: 'Forbidden',
  404: 'NotFound',
  409: 'Conflict',
  410: 'Gone',
  413: 'BodyTooLarge',
  415: 'UnsupportedMediaType',
  429: 'TooManyRequests',
  501: 'NotImplemented',
  502: 'BadGateway',
  503: 'Unavailable',
}

/** Writes the OpenAPI 3.1 document of the mounted endpoints, from the schemas that validate. */
export function openApiDocument(endpoints: readonly Endpoint[]): JsonObject {
  const schemas: JsonObject = {}
  const shared: JsonObject = {}
  const schemaOf = (schema: z.ZodType, io: 'input' | 'output') => inComponents(schema, io, schemas)

  const reasons = usualReasons(endpoints)
  const paths: Record<string, JsonObject> = {}
  for (const endpoint of endpoints) {
    const path = `/api/v1${endpoint.path}`
    paths[path] ??= {}
    paths[path][endpoint.method] = operation(
      endpoint,
      schemaOf,
      { schemas, parameters: shared },
      reasons,
    )
  }
  const document = {
    openapi: '3.1.0',
    info: {
      title: 'Latchkey',
      version: VERSION,
      license: { name: 'MIT', identifier: 'MIT' },
      contact: { name: 'The operator of this service' },
      description:
        'API keys that a Stacks wallet grants by signing a message, and orders that they move. A wallet signs JSON text with stx_signMessage; a bot sends its key as X-API-Key, or signs its requests (RFC 9421).',
    },
    servers: [{ url: '/' }],
    tags: [
      { name: 'api-keys', description: 'The life of an API key' },
      { name: 'sessions', description: 'Read-only sessions for pages' },
      { name: 'audit', description: 'What happened, provable later' },
      { name: 'keys', description: 'API keys at other services of the operator' },
      { name: 'auth', description: 'API keys at other services, behind a proxy' },
      { name: 'orders', description: 'The life of an order' },
      { name: 'account', description: 'What a wallet has, and what changes' },
      { name: 'service', description: 'What a client must know' },
    ],
    paths,
    components: {
      headers: {
        ...Object.fromEntries(
          [...HEADERS, ...EXTRA_HEADERS].map(([, component, description]) => [
            component,
            { description, schema: { type: 'string' } },
          ]),
        ),
        ...OPTIONAL_HEADERS,
      },
      parameters: shared,
      responses: refusalComponents(reasons, schemaOf),
      securitySchemes: {
        apiKey: { type: 'apiKey', in: 'header', name: 'X-API-Key' },
        service: {
          type: 'apiKey',
          in: 'header',
          name: SERVICE_HEADER,
          description: 'ck_service_..., which the operator issues to another service.',
        },
        bearer: { type: 'http', scheme: 'bearer', description: 'An API key, in another header.' },
        session: {
          type: 'http',
          scheme: 'bearer',
          description: 'cs_..., from POST /sessions: reads, and changes nothing.',
        },
      },
      schemas,
    },
  }
  shareSchemas(document, schemas)
  return document
}

type SchemaOf = (schema: z.ZodType, io: 'input' | 'output') => JsonObject

function operation(
  endpoint: Endpoint,
  schemaOf: SchemaOf,
  { schemas, parameters: shared }: { schemas: JsonObject; parameters: JsonObject },
  usual: ReadonlyMap<number, readonly RefusalReason[]>,
): JsonObject {
  const { operationId, summary, description, body, deprecation, messages = [] } = endpoint
  const signed = messages.map((message) => refOf(schemaOf(message, 'input')))
  return {
    operationId,
    summary,
    description: [description, authorizationOf(endpoint, signed)].filter(Boolean).join('\n\n'),
    ...(deprecation !== undefined && { deprecated: true }),
    tags: [tagOf(endpoint.path)],
    security: securityOf(endpoint.credentials),
    ...listed(
      [
        ...parameters('path', endpoint.params, schemaOf),
        ...parameters('query', endpoint.query, schemaOf),
        ...parameters('header', endpoint.headers, schemaOf).map((parameter) =>
          parameter.name === 'X-Message'
            ? { ...parameter, schema: { type: 'string', ...contentOf(signed) } }
            : parameter,
        ),
      ].map((parameter) => shareParameter(parameter, shared)),
    ),
    ...(body !== undefined && {
      requestBody: {
        required: body.optional !== true,
        content: {
          'application/json': {
            schema: eitherOf(
              signedBody(schemaOf(body.schema, 'input'), signed, schemas),
              body.byKey && schemaOf(body.byKey, 'input'),
            ),
          },
        },
      },
    }),
    responses: {
      ...Object.fromEntries(
        Object.entries(endpoint.responses).map(([status, response]) => [
          status,
          {
            description: response.description,
            headers: {
              ...headersOf(status),
              ...(endpoint.credentials.some((one) => one === 'key' || one === 'service') &&
                KEY_END),
              ...(endpoint.mayLag === true && LAG),
              ...textHeaders(endpoint.responseHeaders),
            },
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
      ...refusals(reasonsOf(endpoint), usual),
    },
  }
}

/** Headers that a success of one operation has. */
function textHeaders(descriptions: Readonly<Record<string, string>> = {}): JsonObject {
  return Object.fromEntries(
    Object.entries(descriptions).map(([name, description]) => [
      name,
      { description, schema: { type: 'string' } },
    ]),
  )
}

function reasonsOf({ refusals, body, credentials }: Endpoint): RefusalReason[] {
  const takesKeys = credentials.includes('key') || refusals.includes('apiKeyInvalid')
  const ofKeys = takesKeys ? OF_KEYS : []
  const ofBodies = body === undefined ? [] : OF_BODIES
  return [...new Set([...refusals, ...ofKeys, ...ofBodies, ...ALWAYS])]
}

/** Any of the credentials. Where a wallet's signature is one, a generated client sends no other header by itself. */
function securityOf(credentials: readonly Credential[]): JsonObject[] {
  const schemes = credentials.flatMap((credential) => SECURITY[credential])
  const isOpen = schemes.some((scheme) => Object.keys(scheme).length === 0)
  const named = schemes.filter((scheme) => Object.keys(scheme).length > 0)
  return isOpen && named.length > 0 ? [{}, ...named] : named
}

const CREDENTIALS: Record<Credential, (messages: string) => string> = {
  none: () => 'none',
  wallet: (messages) => `the wallet's signature of ${messages}`,
  session: () => 'a session',
  key: () => 'an API key',
  service: () => 'a service credential',
}

function authorizationOf({ credentials }: Endpoint, signed: readonly string[]): string {
  const messages = signed.map((name) => `\`${name}\``).join(' or ')
  const any = credentials.map((credential) => CREDENTIALS[credential](messages))
  return `Credential: ${any.join(', or ')}.`
}

function contentOf(signed: readonly string[]): JsonObject {
  const [name] = signed
  return name === undefined
    ? {}
    : {
        contentMediaType: 'application/json',
        contentSchema: { $ref: `#/components/schemas/${name}` },
      }
}

/** A signed body of one action, as a component of its own: its message is the text of that action's schema. */
function signedBody(
  schema: JsonObject,
  signed: readonly string[],
  schemas: JsonObject,
): JsonObject {
  const [name] = signed
  if (name === undefined || refOf(schema) !== 'SignedMessage') return schema
  const own = `signed_${name.replace(/_message$/, '')}`
  schemas[own] = { allOf: [schema, { properties: { message: contentOf(signed) } }] }
  return { $ref: `#/components/schemas/${own}` }
}

function eitherOf(schema: JsonObject, other: JsonObject | undefined): JsonObject {
  return other === undefined ? schema : { anyOf: [schema, other] }
}

function refOf(schema: JsonObject): string {
  return String(schema.$ref ?? '').replace('#/components/schemas/', '')
}

function headersOf(status: string): JsonObject {
  const extra = EXTRA_HEADERS.filter(([name]) => name === HEADERS_OF_STATUS[status])
  return Object.fromEntries(
    [...HEADERS, ...extra].map(([name, component]) => [
      name,
      { $ref: `#/components/headers/${component}` },
    ]),
  )
}

const ROOMS = new Set(['api-keys', 'sessions', 'audit', 'orders', 'keys', 'auth'])
/** Paths of what a wallet has and what changes. */
const OF_ACCOUNT = new Set(['account', 'events', 'stream'])

function tagOf(path: string): string {
  const room = path.split('/')[1]
  if (room !== undefined && OF_ACCOUNT.has(room)) return 'account'
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
    ...(isRequired(where, schema as z.ZodType) && { required: true }),
    schema: schemaOf(schema as z.ZodType, 'input'),
  }))
}

function listed(given: JsonObject[]): { parameters?: JsonObject[] } {
  return given.length === 0 ? {} : { parameters: given }
}

function isRequired(where: string, schema: z.ZodType): boolean {
  return where === 'path' || !schema.safeParse(undefined).success
}

/** Parameters that several operations have. */
const SHARED_PARAMETERS: ReadonlySet<unknown> = new Set([
  'keyId',
  'uuid',
  'X-Signature',
  'X-Wallet-Address',
  'X-Public-Key',
])

function shareParameter(parameter: JsonObject, shared: JsonObject): JsonObject {
  if (!SHARED_PARAMETERS.has(parameter.name)) return parameter
  shared[String(parameter.name)] = parameter
  return { $ref: `#/components/parameters/${parameter.name}` }
}

/** Each status refers to its component. Where an operation has other codes, its description says which (OpenAPI 3.1 s4.8.23). */
function refusals(
  reasons: readonly RefusalReason[],
  usual: ReadonlyMap<number, readonly RefusalReason[]>,
): JsonObject {
  return Object.fromEntries(
    [...byStatus(reasons)].map(([status, those]) => {
      const [own, whole] = [codesOf(those), codesOf(usual.get(status) ?? [])]
      const reference = { $ref: `#/components/responses/${RESPONSES[status]}` }
      return [String(status), { ...reference, ...(own !== whole && { description: own }) }]
    }),
  )
}

function refusalComponents(
  reasons: ReadonlyMap<number, readonly RefusalReason[]>,
  schemaOf: SchemaOf,
): JsonObject {
  return Object.fromEntries(
    [...reasons].map(([status, those]) => [
      RESPONSES[status],
      {
        description: describe(those),
        headers: { ...headersOf(String(status)), ...KEY_END, ...HINTS[status] },
        content: {
          'application/json': { schema: schemaOf(ErrorSchema, 'output') },
          'application/problem+json': { schema: schemaOf(ProblemSchema, 'output') },
        },
      },
    ]),
  )
}

/** Of each status, the reasons that most operations have: those of its component. */
function usualReasons(endpoints: readonly Endpoint[]): Map<number, RefusalReason[]> {
  const all = endpoints.flatMap((endpoint) => [...byStatus(reasonsOf(endpoint))])
  const usual = new Map<number, RefusalReason[]>()
  for (const [status, sets] of Map.groupBy(all, ([of]) => of)) {
    const byCodes = Map.groupBy(sets, ([, those]) => codesOf(those))
    const [most] = [...byCodes.values()].sort((a, b) => b.length - a.length)
    usual.set(status, most?.[0]?.[1] ?? [])
  }
  return usual
}

function byStatus(reasons: readonly RefusalReason[]): Map<number, RefusalReason[]> {
  return Map.groupBy(new Set(reasons), (reason) => REFUSALS[reason].status)
}

function codesOf(reasons: readonly RefusalReason[]): string {
  return [...new Set(reasons.map((reason) => REFUSALS[reason].code))].join(', ')
}

function describe(reasons: readonly RefusalReason[]): string {
  return [
    ...new Set(reasons.map((reason) => `${REFUSALS[reason].error} (${REFUSALS[reason].code})`)),
  ].join('; ')
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
      if ('wire' in jsonSchema) writeWire(jsonSchema)
      if ('sample' in jsonSchema) {
        jsonSchema.examples = [jsonSchema.sample]
        delete jsonSchema.sample
      }
      // A later release may add members to a response.
      if (io === 'output' && jsonSchema.additionalProperties === false)
        delete jsonSchema.additionalProperties
      // What every integer of JSON is bound to (RFC 7493 s2.2) says nothing of this one.
      if (jsonSchema.minimum === Number.MIN_SAFE_INTEGER) delete jsonSchema.minimum
      if (jsonSchema.maximum === Number.MAX_SAFE_INTEGER) delete jsonSchema.maximum
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

/** A parameter that is parsed from text is documented as what clients write. */
function writeWire(jsonSchema: JsonObject): void {
  const { wire, description } = jsonSchema
  for (const name of Object.keys(jsonSchema)) delete jsonSchema[name]
  Object.assign(jsonSchema, wire, description !== undefined && { description })
}
