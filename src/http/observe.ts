import type { Log } from '../log.ts'
import { type Metrics, observe } from '../metrics/metrics.ts'
import { type AppContext, headerOf, stateOf } from './context.ts'

/** A request, once its response has begun. It holds nothing that a client wrote, and so no secret. */
export interface SeenRequest {
  method: string
  /** The pattern of its path, as `/api/v1/orders/{uuid}`; `unmatched` for a path that no route has. */
  route: string
  status: number
  durationMs: number
  requestId: string | undefined
  keyId: string | undefined
  /** The code of a refusal. */
  code: string | undefined
  /** The trace that it belongs to, where traces are recorded. */
  traceId: string | undefined
}

/** Runs the handler of a route, which responds also when it refuses, and tells its observers. */
export type ObserveRequest = (
  c: AppContext,
  route: string,
  respond: () => Response | Promise<Response>,
) => Promise<Response>

export type Sink = (seen: SeenRequest) => void

/** One request's part of a trace. */
export interface RequestSpan {
  traceId: string
  /** Runs work whose own requests belong to this span. */
  within<T>(work: () => T): T
  end(seen: SeenRequest): void
}

/** Begins the span of a request that carries this `traceparent`; undefined where it is not sampled. */
export type BeginSpan = (traceparent: string | undefined) => RequestSpan | undefined

/** Undefined where there are no observers: a request then costs nothing. `elapsed` is a clock in milliseconds that nothing sets. */
export function observeRequests(
  elapsed: () => number,
  sinks: readonly Sink[],
  beginSpan?: BeginSpan,
): ObserveRequest | undefined {
  if (sinks.length === 0 && beginSpan === undefined) return undefined
  return async (c, route, respond) => {
    const began = elapsed()
    const span = beginSpan?.(headerOf(c, 'traceparent'))
    const response = await (span === undefined ? respond() : span.within(respond))
    const seen: SeenRequest = {
      method: c.req.method,
      route,
      status: response.status,
      durationMs: elapsed() - began,
      requestId: stateOf(c).requestId,
      keyId: stateOf(c).keyId ?? undefined,
      code: stateOf(c).outcome,
      traceId: span?.traceId,
    }
    for (const sink of sinks) sink(seen)
    span?.end(seen)
    return response
  }
}

/** Upper bounds of the histogram of durations, in seconds: the gate takes a few milliseconds, an execute seconds. */
export const DURATION_BOUNDS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 10]

/** Methods that a route may have. Another one is the client's text. */
const METHODS: ReadonlySet<string> = new Set(['GET', 'HEAD', 'POST', 'PATCH', 'DELETE', 'OPTIONS'])

/** Counts requests by route and status, and their durations. */
export function countRequests(metrics: Metrics): Sink {
  const requests = metrics.counter(
    'latchkey_http_requests_total',
    'Requests that have a response, by route and status.',
  )
  const durations = metrics.histogram(
    'latchkey_http_request_duration_seconds',
    'Time from the request to the beginning of its response.',
    DURATION_BOUNDS,
  )
  const refusals = metrics.counter('latchkey_http_refusals_total', 'Refused requests, by code.')
  const kept = new Map<string, ReturnType<typeof cellsOf>>()

  function cellsOf(method: string, route: string) {
    const labels = { method, route }
    return {
      duration: durations(labels),
      byStatus: new Map<number, { value: number }>(),
      ofStatus: (status: number) => requests({ ...labels, status: String(status) }),
    }
  }

  return ({ method: given, route, status, durationMs, code }) => {
    const method = METHODS.has(given) ? given : 'other'
    const id = `${method} ${route}`
    let cells = kept.get(id)
    if (cells === undefined) {
      cells = cellsOf(method, route)
      kept.set(id, cells)
    }
    let count = cells.byStatus.get(status)
    if (count === undefined) {
      count = cells.ofStatus(status)
      cells.byStatus.set(status, count)
    }
    count.value += 1
    observe(cells.duration, DURATION_BOUNDS, durationMs / 1_000)
    if (code !== undefined) refusals({ code }).value += 1
  }
}

/** Which requests get a line of the access log. */
export const ACCESS_LOGS = ['all', 'failures', 'none'] as const
export type AccessLog = (typeof ACCESS_LOGS)[number]

/** The least status of a failure: a caller's faults are refusals, which have counters. */
const FAILURE = 500

/** Writes a line for each request, or for each that failed. Undefined where none is wanted. */
export function logRequests(log: Log, which: AccessLog): Sink | undefined {
  if (which === 'none') return undefined
  return ({ requestId, method, route, status, durationMs, keyId, code, traceId }) => {
    if (which === 'failures' && status < FAILURE) return
    log('info', 'request', {
      requestId,
      method: METHODS.has(method) ? method : 'other',
      route,
      status,
      ms: Math.round(durationMs * 10) / 10,
      keyId,
      code,
      traceId,
    })
  }
}
