import type { BeginSpan, SeenRequest } from '../http/observe.ts'
import type { PeerFetch } from '../wire/response.ts'
import type { EndedSpan } from './otlp.ts'
import type { OtelSettings } from './settings.ts'
import { isSampled, parseTraceParent, type TraceParent, traceParentText } from './trace-context.ts'

/** Carries the span of a request through everything that the request does. */
export interface SpanContext {
  run<T>(span: TraceParent, work: () => T): T
  current(): TraceParent | undefined
}

export interface TracerOptions {
  settings: Pick<OtelSettings, 'propagates'> & {
    traces: Pick<NonNullable<OtelSettings['traces']>, 'ratio' | 'followsParent'>
  }
  context: SpanContext
  /** Milliseconds since 1970 with fractions, by a clock that does not go back. */
  now: () => number
  /** Hexadecimal random text of so many bytes. */
  randomHex: (bytes: number) => string
  record: (span: EndedSpan) => void
}

const SERVER_FAULT = 500

/** Begins a span for each request. One that is not sampled still has ids, which the access log names. */
export function openTracer({
  settings: { propagates, traces },
  context,
  now,
  randomHex,
  record,
}: TracerOptions): BeginSpan {
  return (header) => {
    const parent = propagates ? parseTraceParent(header) : undefined
    const traceId = parent?.traceId ?? randomHex(16)
    const sampled =
      parent !== undefined && traces.followsParent
        ? parent.sampled
        : isSampled(traceId, traces.ratio)
    const span: TraceParent = { traceId, spanId: randomHex(8), sampled }
    const startedAt = now()
    return {
      traceId,
      within: (work) => context.run(span, work),
      end(seen) {
        if (!sampled) return
        record({
          ...span,
          parentSpanId: parent?.spanId,
          kind: 'server',
          name: `${seen.method} ${seen.route}`,
          startedAt,
          endedAt: now(),
          attributes: attributesOf(seen),
          failed: seen.status >= SERVER_FAULT,
        })
      },
    }
  }
}

/** By OpenTelemetry's conventions for HTTP servers. No path, no query and no header: a client may have put a secret there. */
function attributesOf({ method, route, status, requestId, keyId, code }: SeenRequest) {
  return {
    'http.request.method': method,
    'http.route': route,
    'http.response.status_code': status,
    'error.type': status >= SERVER_FAULT ? (code ?? String(status)) : undefined,
    'latchkey.code': code,
    'latchkey.request_id': requestId,
    'latchkey.key_id': keyId,
  }
}

/**
 * A `fetch` that records a client span for each request that it makes within a request of the service, and sends the trace's
 * context along. The address is recorded without path and query, which may hold the credential of an API.
 */
export function tracedFetch(
  fetch: PeerFetch,
  {
    settings: { propagates },
    context,
    now,
    randomHex,
    record,
  }: Pick<TracerOptions, 'settings' | 'context' | 'now' | 'randomHex' | 'record'>,
): PeerFetch {
  return async (url, init) => {
    const parent = context.current()
    if (parent === undefined) return fetch(url, init)
    const span: TraceParent = { ...parent, spanId: randomHex(8) }
    const headers = new Headers(init?.headers)
    if (propagates) headers.set('traceparent', traceParentText(span))
    const startedAt = now()
    const method = init?.method ?? 'GET'
    const end = (status: number | undefined, fault: string | undefined) => {
      if (!span.sampled) return
      const { hostname, port, protocol } = new URL(url)
      record({
        ...span,
        parentSpanId: parent.spanId,
        kind: 'client',
        name: `${method} ${hostname}`,
        startedAt,
        endedAt: now(),
        attributes: {
          'http.request.method': method,
          'server.address': hostname,
          'server.port': Number(port) || (protocol === 'https:' ? 443 : 80),
          'http.response.status_code': status,
          'error.type': fault,
        },
        failed: fault !== undefined,
      })
    }
    try {
      const response = await fetch(url, { ...init, headers: Object.fromEntries(headers) })
      end(response.status, response.status >= 400 ? String(response.status) : undefined)
      return response
    } catch (error) {
      end(undefined, error instanceof Error ? error.name : 'unknown')
      throw error
    }
  }
}
