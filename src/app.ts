import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { auditEndpoints } from './audit/routes.ts'
import { toHex } from './bytes.ts'
import { EXPOSED_HEADERS, ownHeaders, send } from './http/answer.ts'
import { passByAddress } from './http/authenticate.ts'
import type { AppContext, AppEnv } from './http/context.ts'
import { type Endpoint, honoPath } from './http/endpoint.ts'
import { openApiDocument } from './http/openapi.ts'
import { onError, unwrap } from './http/problem.ts'
import { keyEndpoints } from './keys/routes.ts'
import { orderEndpoints } from './orders/routes.ts'
import { type Refused, refuse } from './result.ts'
import { health, ready, serviceEndpoints } from './service/routes.ts'
import { sessionEndpoints } from './sessions/routes.ts'
import type { World } from './world.ts'

export const endpoints: readonly Endpoint[] = [
  ...keyEndpoints,
  ...orderEndpoints,
  ...sessionEndpoints,
  ...auditEndpoints,
  ...serviceEndpoints,
]

export interface AppOptions {
  /** The world of a request: on Node always the same, on Workers one for each. */
  worldOf: (c: AppContext) => World
  /** The address that the request came from, as far as the platform and its proxies can be believed. */
  addressOf: (c: AppContext) => string
  allowedOrigins: readonly string[]
}

/** Mounts the rooms. Reads no environment, listens to nothing, keeps nothing between requests. */
export function createApp({ worldOf, addressOf, allowedOrigins }: AppOptions): Hono<AppEnv> {
  const app = new Hono<AppEnv>()
  const requestId = drawRequestIds()
  const isOpen = allowedOrigins.includes('*')
  const originFor = (origin: string | undefined) =>
    isOpen && origin !== undefined ? '*' : allowedOrigins.find((allowed) => allowed === origin)

  function enter(c: AppContext): void {
    const world = worldOf(c)
    c.set('world', world)
    c.set('now', world.now())
    c.set('requestId', requestId(world))
    c.set('clientIp', addressOf(c))
    c.set('origin', originFor(c.req.header('origin')))
  }
  // Not as middleware, nor with a route for everything: the router takes the short way when one handler is all.
  const entered = (handle: Endpoint['handle']) => (c: AppContext) => {
    enter(c)
    return handle(c)
  }

  app.options(
    '*',
    (c, next) => {
      enter(c)
      for (const [name, value] of Object.entries(ownHeaders(c))) c.header(name, value)
      return next()
    },
    cors({
      origin: (origin) => originFor(origin) ?? null,
      allowMethods: ['GET', 'POST', 'PATCH', 'DELETE'],
      allowHeaders: [
        'Content-Type',
        'Authorization',
        'X-API-Key',
        'X-Message',
        'X-Signature',
        'X-Wallet-Address',
        'X-Public-Key',
        'Last-Event-ID',
      ],
      exposeHeaders: EXPOSED_HEADERS,
      maxAge: 86_400,
    }),
  )
  for (const { method, path, handle } of endpoints)
    app.on(method.toUpperCase(), `/api/v1${honoPath(path)}`, entered(handle))

  app.get('/health', entered(health))
  app.get('/ready', entered(ready))
  let document: string | undefined
  app.get(
    '/openapi.json',
    entered((c) => {
      document ??= JSON.stringify(openApiDocument(endpoints))
      return send(c, document, 200)
    }),
  )

  app.notFound(
    entered((c) => {
      if (!c.req.path.startsWith('/api/')) return unwrap(refuse('routeNotFound'))
      passByAddress(c)
      return unwrap(notFound(c))
    }),
  )
  app.onError(onError)
  return app
}

const ID_BYTES = 12

/** Random ids, a hundred from each draw: a draw is a system call. */
function drawRequestIds(): (world: World) => string {
  let drawn = new Uint8Array()
  return ({ randomBytes }) => {
    if (drawn.length === 0) drawn = randomBytes(100 * ID_BYTES)
    const id = drawn.subarray(0, ID_BYTES)
    drawn = drawn.subarray(ID_BYTES)
    return `req_${toHex(id)}`
  }
}

/** Whether the path is wrong or only the method. */
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
