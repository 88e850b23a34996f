import { cors } from 'hono/cors'
import { EXPOSED_HEADERS } from './respond.ts'

const PREFLIGHT_MAX_AGE_SECONDS = 86_400

/** Returns the value of Access-Control-Allow-Origin for a request's origin; undefined for none. */
export type AllowOrigin = (origin: string | undefined) => string | undefined

/** The one CORS decision, for preflights and for every other response. No cookies are used, so `*` is safe. */
export function allowOrigins(allowed: readonly string[]): AllowOrigin {
  const isOpen = allowed.includes('*')
  return (origin) =>
    isOpen && origin !== undefined ? '*' : allowed.find((known) => known === origin)
}

/** Request headers that this API reads, and that no page is safelisted to send. */
const OWN_HEADERS = [
  'Content-Type',
  'Authorization',
  'X-API-Key',
  'Signature-Input',
  'Signature',
  'Content-Digest',
  'X-Message',
  'X-Signature',
  'X-Wallet-Address',
  'X-Public-Key',
  'Last-Event-ID',
  'If-None-Match',
]

/**
 * Answers preflight requests. By default every header that a page asks for is allowed: tracing libraries add some of their own to
 * each request, and a header gives a page no rights, because no credential of this service is sent by itself. An operator whose
 * proxies act on headers can name those that pages may send.
 */
export function preflight(allowOrigin: AllowOrigin, allowedHeaders: readonly string[] = ['*']) {
  return cors({
    origin: (origin) => allowOrigin(origin) ?? null,
    allowMethods: ['GET', 'POST', 'PATCH', 'DELETE'],
    ...(!allowedHeaders.includes('*') && { allowHeaders: [...OWN_HEADERS, ...allowedHeaders] }),
    exposeHeaders: EXPOSED_HEADERS,
    maxAge: PREFLIGHT_MAX_AGE_SECONDS,
  })
}
