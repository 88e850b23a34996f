import { AsyncLocalStorage } from 'node:async_hooks'
import { randomBytes } from 'node:crypto'
import type { BeginSpan } from '../http/observe.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type EndedSpan, otlpMetrics, otlpTraces, type Resource } from '../otel/otlp.ts'
import { type Sent, sendOtlp } from '../otel/send.ts'
import type { OtelSettings } from '../otel/settings.ts'
import type { TraceParent } from '../otel/trace-context.ts'
import { openTracer, type TracerOptions, tracedFetch } from '../otel/tracer.ts'
import { VERSION } from '../version.ts'
import type { PeerFetch } from '../wire/response.ts'
import { fetchPeer } from './fetch.ts'

/** How long the last export may take once the process stops. */
const LAST_EXPORT_MS = 2_000

type Signal = 'traces' | 'metrics'

/** An exporter that runs until it is closed. */
export interface Exporter {
  /** Sends what is left, for at most `LAST_EXPORT_MS`. */
  close(): Promise<void>
}

/** What the resource of every export says of this process, unless `OTEL_RESOURCE_ATTRIBUTES` says otherwise. */
function resourceOf(settings: OtelSettings): Resource {
  return {
    'service.name': 'latchkey',
    'service.version': VERSION,
    'service.instance.id': randomBytes(8).toString('hex'),
    ...settings.resource,
  }
}

/** Logs that a collector does not take exports, once in a row, and that it does again. */
function logExports(log: Log, signal: Signal): (sent: Sent) => void {
  let last: Sent = 'accepted'
  return (sent) => {
    if (sent === last) return
    last = sent
    if (sent === 'accepted') log('info', 'telemetry_exported_again', { signal })
    else log('warn', 'telemetry_not_exported', { signal, result: sent })
  }
}

/** Traces of requests, exported in batches. A request only appends to an array; what the collector does not take is dropped. */
export function openTraces(
  settings: OtelSettings & Required<Pick<OtelSettings, 'traces'>>,
  log: Log,
): Exporter & { beginSpan: BeginSpan; fetch: PeerFetch } {
  const { traces } = settings
  const resource = resourceOf(settings)
  const report = logExports(log, 'traces')
  const stopping = new AbortController()
  let queue: EndedSpan[] = []
  let sending: Promise<void> | undefined

  async function flush(): Promise<void> {
    while (queue.length > 0) {
      const batch = queue.slice(0, traces.maxBatch)
      queue = queue.slice(traces.maxBatch)
      const sent = await sendOtlp(fetch, traces, otlpTraces(resource, batch), stopping.signal)
      report(sent)
      if (sent !== 'again') continue
      queue = [...batch, ...queue].slice(0, traces.maxQueue)
      return
    }
  }

  function flushOnce(): Promise<void> {
    sending ??= flush().finally(() => {
      sending = undefined
    })
    return sending
  }

  const storage = new AsyncLocalStorage<TraceParent>()
  const options: TracerOptions = {
    settings,
    context: {
      run: (span, work) => storage.run(span, work),
      current: () => storage.getStore(),
    },
    now: () => performance.timeOrigin + performance.now(),
    randomHex: (bytes) => randomBytes(bytes).toString('hex'),
    record(span) {
      if (queue.length < traces.maxQueue) queue.push(span)
      if (queue.length === traces.maxBatch) void flushOnce()
    },
  }
  const timer = setInterval(() => void flushOnce(), traces.flushIntervalMs).unref()
  return {
    beginSpan: openTracer(options),
    fetch: tracedFetch(fetchPeer, options),
    async close() {
      clearInterval(timer)
      await lastly(stopping, sending === undefined ? flushOnce() : sending.then(flushOnce))
    },
  }
}

/** Exports all metrics at each interval, and once more at the end. */
export function exportMetrics(
  settings: OtelSettings & Required<Pick<OtelSettings, 'metrics'>>,
  metrics: Metrics,
  log: Log,
): Exporter {
  const resource = resourceOf(settings)
  const report = logExports(log, 'metrics')
  const since = performance.timeOrigin
  const stopping = new AbortController()
  async function send(): Promise<void> {
    const times = { since, at: performance.timeOrigin + performance.now() }
    const body = otlpMetrics(resource, metrics.collect(), times)
    report(await sendOtlp(fetch, settings.metrics, body, stopping.signal))
  }
  const timer = setInterval(() => void send(), settings.metrics.intervalMs).unref()
  return {
    async close() {
      clearInterval(timer)
      await lastly(stopping, send())
    },
  }
}

/** Waits for the last export. One that a collector does not take in time is given up: its connection would keep the process. */
async function lastly(stopping: AbortController, work: Promise<void>): Promise<void> {
  const timer = setTimeout(() => stopping.abort(), LAST_EXPORT_MS)
  await work
  clearTimeout(timer)
}
