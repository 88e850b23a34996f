import { Hono } from 'hono'
import { cors } from 'hono/cors'
import { toHex } from './bytes.ts'
import { quotaHeaders } from './gate/quota.ts'
import { passByAddress } from './http/authenticate.ts'
import type { AppContext, AppEnv } from './http/context.ts'
import { type Endpoint, honoPath } from './http/endpoint.ts'
import { openApiDocument } from './http/openapi.ts'
import { onError, unwrap } from './http/problem.ts'
import { keyEndpoints } from './keys/routes.ts'
import { orderEndpoints } from './orders/routes.ts'
import { type Refused, refuse } from './result.ts'
import { health, ready, serviceEndpoints } from './service/routes.ts'
import type { World } from './world.ts'

export const endpoints: readonly Endpoint[] = [
  ...keyEndpoints,
  ...orderEndpoints,
  ...serviceEndpoints,
]

const EXPOSED_HEADERS = [
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
  'X-RateLimit-Window',
  'RateLimit-Policy',
  'RateLimit',
  'Retry-After',
  'X-Request-Id',
  'WWW-Authenticate',
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
  const document = JSON.stringify(openApiDocument(endpoints))

  app.use(async (c, next) => {
    const world = worldOf(c)
    c.set('world', world)
    c.set('now', world.now())
    c.set('requestId', `req_${toHex(world.randomBytes(12))}`)
    c.set('clientIp', addressOf(c))
    await next()
    c.res.headers.set('X-Request-Id', c.var.requestId)
    if (c.req.path.startsWith('/api/')) finish(c)
  })
  app.use(
    cors({
      origin: allowedOrigins.includes('*') ? '*' : [...allowedOrigins],
      allowMethods: ['GET', 'POST', 'PATCH', 'DELETE'],
      allowHeaders: [
        'Content-Type',
        'Authorization',
        'X-API-Key',
        'X-Message',
        'X-Signature',
        'X-Wallet-Address',
        'X-Public-Key',
      ],
      exposeHeaders: EXPOSED_HEADERS,
      maxAge: 86_400,
    }),
  )
  for (const { method, path, handle } of endpoints)
    app.on(method.toUpperCase(), `/api/v1${honoPath(path)}`, handle)

  app.get('/health', health)
  app.get('/ready', ready)
  app.get('/openapi.json', (c) => c.body(document, 200, { 'Content-Type': 'application/json' }))

  app.all('/api/*', (c) => {
    passByAddress(c)
    return unwrap(notFound(c))
  })
  app.notFound(() => unwrap(refuse('routeNotFound')))
  app.onError(onError)
  return app
}

/** What every answer of the API carries, errors too. */
function finish(c: AppContext): void {
  c.res.headers.set('Cache-Control', 'no-store')
  const { world, now, clientIp } = c.var
  const windows = c.var.windows ?? [world.ipLimits.peek('keyless', clientIp, now)]
  for (const [name, value] of Object.entries(quotaHeaders(windows, now)))
    c.res.headers.set(name, value)
}

/** Whether the path is wrong or only the method. */
function notFound(c: AppContext): Refused<'routeNotFound' | 'methodNotAllowed'> {
  const path = c.req.path.replace(/^\/api\/v1/, '')
  const allow = endpoints
    .filter((endpoint) => pathPattern(endpoint.path).test(path))
    .map((endpoint) => endpoint.method.toUpperCase())
  return allow.length === 0 ? refuse('routeNotFound') : refuse('methodNotAllowed', { allow })
}

function pathPattern(path: string): RegExp {
  return new RegExp(`^${path.replaceAll(/\{\w+\}/g, '[^/]+')}$`)
}
