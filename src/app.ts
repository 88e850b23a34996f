import { Hono } from 'hono'
import { toHex } from './crypto/bytes.ts'
import { type AppContext, type AppEnv, headerOf, RequestState, stateOf } from './http/context.ts'
import { allowOrigins, preflight } from './http/cors.ts'
import { limitByAddress } from './http/credentials/address.ts'
import { announceDeprecation } from './http/deprecation.ts'
import { DOCS_HEADERS, openDocs, type ReadDocsFile } from './http/docs.ts'
import { type Endpoint, honoPath } from './http/endpoint.ts'
import type { ObserveRequest } from './http/observe.ts'
import { openApiDocument } from './http/openapi.ts'
import { onError, unwrap } from './http/problem.ts'
import { referencePage } from './http/reference-page.ts'
import { baseHeaders } from './http/respond.ts'
import { RouteTable } from './http/router.ts'
import {
  type Gzip,
  respondWithDocument,
  type SharedDocument,
  shareDocument,
} from './http/shared-document.ts'
import { type Refused, refuse } from './result.ts'
import { auditEndpoints } from './routes/audit.ts'
import { health, ready, serviceEndpoints } from './routes/info.ts'
import { keyEndpoints } from './routes/keys.ts'
import { leakEndpoints } from './routes/leaks.ts'
import { orderEndpoints } from './routes/orders.ts'
import { otherServiceEndpoints } from './routes/other-services.ts'
import { sessionEndpoints } from './routes/sessions.ts'
import { walletEndpoints } from './routes/wallets.ts'
import { webhookEndpoints } from './routes/webhooks.ts'
import { canonicalAddress } from './wire/ip.ts'
import type { World } from './world.ts'

export const endpoints: readonly Endpoint[] = [
  ...keyEndpoints,
  ...orderEndpoints,
  ...sessionEndpoints,
  ...walletEndpoints,
  ...auditEndpoints,
  ...webhookEndpoints,
  ...leakEndpoints,
  ...otherServiceEndpoints,
  ...serviceEndpoints,
]

export interface AppOptions {
  /** The world of a request: on Node one for the process, on Workers one per request. */
  worldOf: (c: AppContext) => World
  /** The client address, as reported by the platform or by trusted proxies. */
  addressOf: (c: AppContext) => string
  /** Whether the connection is of a trusted proxy; by default none is. */
  isFromProxy?: (c: AppContext) => boolean
  allowedOrigins: readonly string[]
  /** Headers that pages may send beside those of this API; any by default. */
  allowedHeaders?: readonly string[]
  /** Reads the files of the page at /docs, which is not mounted without. */
  readDocsFile?: ReadDocsFile
  gzip?: Gzip
  /** Told of every request but preflights; absent where requests are not observed. */
  observe?: ObserveRequest | undefined
}

/** Mounts the routes. Reads no environment, opens no socket, keeps no state between requests. */
export function createApp({
  worldOf,
  addressOf,
  isFromProxy = () => false,
  allowedOrigins,
  allowedHeaders,
  readDocsFile,
  gzip,
  observe,
}: AppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>({ router: new RouteTable() })
  const requestId = createRequestIds()
  const allowOrigin = allowOrigins(allowedOrigins)

  function prepareContext(c: AppContext): void {
    const world = worldOf(c)
    const origin = allowOrigin(headerOf(c, 'origin'))
    const clientIp = canonicalAddress(addressOf(c))
    const state = new RequestState(
      world,
      world.now(),
      requestId(world),
      clientIp,
      origin,
      isFromProxy,
    )
    c.set('state', state)
  }
  // A wrapper instead of middleware: Hono composes handlers anew for each request where several match a path.
  const withContext = (route: string, handle: Endpoint['handle']): Endpoint['handle'] => {
    const run = (c: AppContext) => {
      prepareContext(c)
      return handle(c)
    }
    if (observe === undefined) return run
    return (c) =>
      observe(c, route, async () => {
        try {
          return await run(c)
        } catch (error) {
          return onError(error, c)
        }
      })
  }
  /** A release that the database no longer admits must not read and write as if it were alone. */
  const withDatabase = (route: string, handle: Endpoint['handle']) =>
    withContext(route, (c) =>
      stateOf(c).world.watch.isSuperseded()
        ? unwrap(refuse('unavailable', { reason: 'release' }))
        : handle(c),
    )

  app.options(
    '*',
    (c, next) => {
      prepareContext(c)
      for (const [name, value] of Object.entries(baseHeaders(c))) c.header(name, value)
      return next()
    },
    preflight(allowOrigin, allowedHeaders),
  )
  for (const { method, path, handle } of endpoints.map(announceDeprecation))
    app.on(
      method.toUpperCase(),
      `/api/v1${honoPath(path)}`,
      (USES_NO_DATABASE.has(path) ? withContext : withDatabase)(`/api/v1${path}`, handle),
    )

  app.get('/health', withContext('/health', health))
  app.get('/ready', withDatabase('/ready', ready))
  let document: SharedDocument | undefined
  app.get(
    '/openapi.json',
    withContext('/openapi.json', async (c) => {
      limitByAddress(c)
      document ??= await shareDocument(
        JSON.stringify(openApiDocument(endpoints)),
        'application/json',
        gzip,
      )
      return respondWithDocument(c, document)
    }),
  )
  const docs = readDocsFile && openDocs(() => referencePage(endpoints), readDocsFile, gzip)
  for (const path of docs === undefined ? [] : ['/docs', '/docs/', '/docs/:file'])
    app.get(
      path,
      withContext('/docs', async (c) => {
        limitByAddress(c)
        const file = await docs?.(c, c.req.param('file') ?? '')
        if (file === undefined) return unwrap(refuse('routeNotFound'))
        return respondWithDocument(c, file, DOCS_HEADERS)
      }),
    )

  app.notFound(
    withContext('unmatched', (c) => {
      if (!c.req.path.startsWith('/api/')) return unwrap(refuse('routeNotFound'))
      limitByAddress(c)
      return unwrap(notFound(c))
    }),
  )
  app.onError(onError)
  return app
}

const USES_NO_DATABASE: ReadonlySet<string> = new Set(['/info', '/scopes', '/time', '/health'])
const ID_BYTES = 12

/** Random request ids, a thousand from each call for random bytes, which is a system call. */
function createRequestIds(): (world: World) => string {
  let pool = ''
  let at = 0
  return ({ randomBytes }) => {
    if (at === pool.length) {
      pool = toHex(randomBytes(1_000 * ID_BYTES))
      at = 0
    }
    at += 2 * ID_BYTES
    return `req_${pool.slice(at - 2 * ID_BYTES, at)}`
  }
}

/** 405 with the allowed methods when another method of the path exists, else 404. */
function notFound(c: AppContext): Refused<'routeNotFound' | 'methodNotAllowed'> {
  const path = c.req.path.replace(/^\/api\/v1/, '')
  const allow = endpoints
    .filter((endpoint) => pathPattern(endpoint.path).test(path))
    .map((endpoint) => endpoint.method.toUpperCase())
  const details = { allow: [...new Set(allow)] }
  return allow.length === 0 ? refuse('routeNotFound') : refuse('methodNotAllowed', details)
}

function pathPattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`)
}
