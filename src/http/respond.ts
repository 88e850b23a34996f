import type { Window } from '../gate/windows.ts'
import { type AppContext, headerOf, type RequestState, stateOf } from './context.ts'
import { REPLICA_LAG } from './lagging.ts'
import { rateLimitValues } from './rate-limit-headers.ts'

/** Response headers that a page's script may read. */
export const EXPOSED_HEADERS = [
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
  'X-RateLimit-Window',
  'RateLimit-Policy',
  'RateLimit',
  'Retry-After',
  'Location',
  'Deprecation',
  'Sunset',
  'X-API-Key-Expires',
  REPLICA_LAG,
  'X-Request-Id',
  'WWW-Authenticate',
]
/** Responses to a key carry X-API-Key-Expires from this long before its end. */
const EXPIRY_NOTICE_MS = 14 * 86_400_000
const EXPOSED = EXPOSED_HEADERS.join(',')

/**
 * Every response of the API is built here: JSON, the caller's limits, the request id, `no-store`. The headers are one
 * plain object, which the Node server sends as it is; building a Headers object costs more CPU than the gate.
 */
export function respond(
  c: AppContext,
  body: unknown,
  status = 200,
  extraHeaders?: Record<string, string>,
): Response {
  return respondWithText(c, JSON.stringify(body), status, extraHeaders)
}

/** Responds with 201, and with the path below /api/v1 of what was created (RFC 9110 s9.3.3). */
export function respondCreated(c: AppContext, body: unknown, path: string): Response {
  return respond(c, body, 201, { Location: `/api/v1${path}` })
}

/**
 * Starts a response of server-sent events, which proxies must not buffer, nor compress: a compressing proxy keeps events until
 * its buffer is full. Null for a HEAD.
 */
export function respondWithStream(
  c: AppContext,
  body: ReadableStream<Uint8Array> | null,
): Response {
  return respondWithText(c, body, 200, {
    'Content-Type': 'text/event-stream',
    'Cache-Control': 'no-store, no-transform',
    'X-Accel-Buffering': 'no',
  })
}

/** As `respond`, for a body that is serialised already. */
export function respondWithText(
  c: AppContext,
  body: string | Uint8Array<ArrayBuffer> | ReadableStream<Uint8Array> | null,
  status: number,
  extraHeaders?: Record<string, string>,
): Response {
  recordUse(c, status)
  const { origin } = stateOf(c)
  const headers = baseHeaders(c)
  if (body !== null) headers['Content-Type'] = 'application/json'
  if (origin !== '*') headers.Vary = 'Origin'
  if (origin !== undefined) {
    headers['Access-Control-Allow-Origin'] = origin
    headers['Access-Control-Expose-Headers'] = EXPOSED
  }
  if (extraHeaders !== undefined) Object.assign(headers, extraHeaders)
  return new Response(body, { status, headers })
}

/** Headers of every response, preflights included. */
export function baseHeaders(c: AppContext): Record<string, string> {
  const state = stateOf(c)
  if (!c.req.path.startsWith('/api/'))
    return { 'Cache-Control': 'no-store', 'X-Request-Id': state.requestId }
  return headersOfLimits(state, state.windows ?? [addressWindow(state)])
}

/** What the headers of a response say, beside the limits that it was counted in. */
export interface Headed {
  requestId: string
  /** Milliseconds since 1970. */
  now: number
  /** Of its key. */
  keyEndsAt: number | undefined
}

/** The headers of a response that was counted, also of one that another service sends. */
export function headersOfLimits(
  { requestId, now, keyEndsAt: endsAt }: Headed,
  windows: readonly Window[],
): Record<string, string> {
  const { tight, policy, state } = rateLimitValues(windows, now)
  // One literal: an object that grows by assignments costs V8 a transition for each.
  const headers: Record<string, string> = {
    'Cache-Control': 'no-store',
    'X-Request-Id': requestId,
    'X-RateLimit-Limit': String(tight.limit),
    'X-RateLimit-Remaining': String(tight.remaining),
    'X-RateLimit-Reset': String(tight.resetAt),
    'X-RateLimit-Window': String(tight.lengthSeconds),
    'RateLimit-Policy': policy,
    RateLimit: state,
  }
  if (endsAt !== undefined && endsAt - now <= EXPIRY_NOTICE_MS)
    headers['X-API-Key-Expires'] = new Date(endsAt).toISOString()
  return headers
}

/** The address window of a request that was refused before it was counted. */
function addressWindow({ world, clientIp, now }: RequestState): Window {
  return world.ipLimits.peek('keyless', clientIp, now)
}

/** Records the request in the key's statistics. Only the duration of an execution reads the clock a second time. */
function recordUse(c: AppContext, status: number): void {
  const { world, keyId, keyShard, now, outcome, clientIp, secretHash } = stateOf(c)
  if (keyId === undefined || keyShard === undefined) return
  const isExecution = status < 300 && c.req.path.endsWith('/execute')
  world.usage.record({
    keyId,
    shard: keyShard,
    at: now,
    outcome: outcome ?? 'OK',
    ip: clientIp,
    userAgent: headerOf(c, 'user-agent'),
    secret: secretHash,
    executionMs: isExecution ? world.now() - now : undefined,
  })
}
