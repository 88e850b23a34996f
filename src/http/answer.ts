import { quotaHeaders, type Window } from '../gate/quota.ts'
import type { AppContext } from './context.ts'

/** Headers of answers that a page's script may read. */
export const EXPOSED_HEADERS = [
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
  'X-RateLimit-Window',
  'RateLimit-Policy',
  'RateLimit',
  'Retry-After',
  'X-API-Key-Expires',
  'X-Request-Id',
  'WWW-Authenticate',
]
/** From when on a key's answers say when it ends. */
const EXPIRY_NOTICE_MS = 14 * 86_400_000
const EXPOSED = EXPOSED_HEADERS.join(',')

/**
 * Every answer of the API leaves through here: JSON, the caller's limits, the request id, never stored by anyone. Its
 * headers are one plain object, which the server can send as it is; a Headers object costs more than the gate.
 */
export function answer(
  c: AppContext,
  body: unknown,
  status = 200,
  more: Record<string, string> = {},
): Response {
  return send(c, JSON.stringify(body), status, more)
}

/** An answer that goes on: server-sent events, which no proxy is to keep back. Null for a HEAD. */
export function stream(c: AppContext, body: ReadableStream<Uint8Array> | null): Response {
  return send(c, body, 200, { 'Content-Type': 'text/event-stream', 'X-Accel-Buffering': 'no' })
}

/** The same for a body that is JSON text already. */
export function send(
  c: AppContext,
  body: string | ReadableStream<Uint8Array> | null,
  status: number,
  more: Record<string, string> = {},
): Response {
  recordUse(c, status)
  const origin = c.get('origin')
  const headers = ownHeaders(c)
  if (body !== null) headers['Content-Type'] = 'application/json'
  if (origin !== '*') headers.Vary = 'Origin'
  if (origin !== undefined) {
    headers['Access-Control-Allow-Origin'] = origin
    headers['Access-Control-Expose-Headers'] = EXPOSED
  }
  return new Response(body, { status, headers: Object.assign(headers, more) })
}

/** What every answer carries, that to a preflight too. */
export function ownHeaders(c: AppContext): Record<string, string> {
  const headers = { 'Cache-Control': 'no-store', 'X-Request-Id': c.get('requestId') }
  if (!c.req.path.startsWith('/api/')) return headers
  const now = c.get('now')
  const endsAt = c.get('keyEndsAt')
  if (endsAt !== undefined && endsAt - now <= EXPIRY_NOTICE_MS)
    Object.assign(headers, { 'X-API-Key-Expires': new Date(endsAt).toISOString() })
  return Object.assign(headers, quotaHeaders(c.get('windows') ?? [uncounted(c, now)], now))
}

/** Where a caller stands whose request was refused before it was counted. */
function uncounted(c: AppContext, now: number): Window {
  return c.get('world').ipLimits.peek('keyless', c.get('clientIp'), now)
}

/** What the statistics of a key learn of a request. Only how long an execution took asks the clock again. */
function recordUse(c: AppContext, status: number): void {
  const keyId = c.get('keyId')
  if (keyId === undefined) return
  const [world, at] = [c.get('world'), c.get('now')]
  const isExecution = status < 300 && c.req.path.endsWith('/execute')
  world.usage.record({
    keyId,
    at,
    outcome: c.get('outcome') ?? 'OK',
    ip: c.get('clientIp'),
    userAgent: c.req.header('user-agent'),
    executionMs: isExecution ? world.now() - at : undefined,
  })
}
