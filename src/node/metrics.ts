import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { performance } from 'node:perf_hooks'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'
import { type Labels, type Metrics, openMetrics } from '../metrics/metrics.ts'
import { PROMETHEUS_TYPE, prometheusText } from '../metrics/prometheus.ts'
import type { OperatorState } from '../settlement/operator.ts'
import { VERSION } from '../version.ts'
import type { Deliverer } from '../webhooks/deliver.ts'
import type { World } from '../world.ts'
import { listeningProblem } from './listen.ts'
import type { OnPass } from './run-jobs.ts'

/** Counts the events of a log beside writing them. `refused` is left out: refusals have a counter of their own. */
export function countEvents(log: Log, metrics: Metrics): Log {
  const count = metrics.counter(
    'latchkey_log_events_total',
    'Events of the log from level info on, whether or not LOG_LEVEL writes them.',
  )
  const dropped = metrics.counter(
    'latchkey_connections_dropped_total',
    'Connections that the service closed, by reason.',
  )
  return (level, event, fields) => {
    if (level !== 'debug') count({ event, level }).value += 1
    if (event === 'connections_dropped')
      dropped({ reason: String(fields?.reason) }).value += Number(fields?.count)
    log(level, event, fields)
  }
}

/** Counts passes of the periodic jobs. A reconciler whose last success is long ago does not run. */
export function countPasses(metrics: Metrics, now: () => number): OnPass {
  const passes = metrics.counter('latchkey_job_passes_total', 'Passes of periodic jobs.')
  const lastSuccess = new Map<string, number>()
  metrics.gauge(
    'latchkey_job_last_success_timestamp_seconds',
    'When the last pass of a periodic job that succeeded ended.',
    () => [...lastSuccess].map(([job, at]) => [{ job }, at / 1_000] as const),
  )
  return (job, succeeded) => {
    passes({ job, result: succeeded ? 'success' : 'failure' }).value += 1
    if (succeeded) lastSuccess.set(job, now())
  }
}

/** The metrics of a Node process itself, and of what the world knows without a statement. */
export function openProcessMetrics(config: Config): Metrics {
  const metrics = openMetrics()
  const one = (value: number): [Labels, number][] => [[{}, value]]
  metrics.gauge('latchkey_build_info', 'Always 1; the labels name the release.', () => [
    [{ version: VERSION, node: process.versions.node, network: config.STACKS_NETWORK }, 1],
  ])
  metrics.counted('process_cpu_seconds_total', 'Processor time of the process.', () => {
    const { user, system } = process.cpuUsage()
    return one((user + system) / 1_000_000)
  })
  metrics.gauge('process_resident_memory_bytes', 'Memory of the process.', () =>
    one(process.memoryUsage.rss()),
  )
  metrics.gauge('process_start_time_seconds', 'When the process started, since 1970.', () =>
    one(performance.timeOrigin / 1_000),
  )
  metrics.gauge('nodejs_heap_used_bytes', "V8's heap in use.", () =>
    one(process.memoryUsage().heapUsed),
  )
  let last = performance.eventLoopUtilization()
  metrics.gauge(
    'nodejs_eventloop_utilization_ratio',
    'The share of time since the last reading in which the event loop worked.',
    () => {
      const now = performance.eventLoopUtilization()
      const { utilization } = performance.eventLoopUtilization(now, last)
      last = now
      return one(utilization)
    },
  )
  return metrics
}

/** Adds what the world knows of its database and of its operator accounts, as the last pass of the reconciler read them. */
export function watchWorld(
  metrics: Metrics,
  { watch, operators, deliverer }: Pick<World, 'watch' | 'operators' | 'deliverer'>,
): void {
  const ofOperators = (value: (state: OperatorState) => number | null) => (): [Labels, number][] =>
    operators.all.flatMap((one) => {
      const state = one.state()
      const read = state === undefined ? null : value(state)
      return read === null ? [] : [[{ operator: one.address }, read]]
    })
  metrics.gauge(
    'latchkey_operator_balance_micro_stx',
    'What an operator account can still spend, less what is pending.',
    ofOperators(({ balance }) => balance),
  )
  metrics.gauge(
    'latchkey_operator_pending_transactions',
    'Transactions of an operator account that the chain has not mined.',
    ofOperators(({ nextNonce, chainNonce }) => Math.max(nextNonce - chainNonce, 0)),
  )
  metrics.gauge(
    'latchkey_operator_retired',
    '1 for an operator account that takes no claims.',
    ofOperators(({ isRetired }) => (isRetired ? 1 : 0)),
  )
  if (deliverer !== undefined) watchDeliveries(metrics, deliverer)
  metrics.gauge(
    'latchkey_clock_ahead_seconds',
    "By how much the process's clock is ahead of Postgres'.",
    () => [[{}, watch.aheadMs() / 1_000]],
  )
  metrics.gauge(
    'latchkey_release_superseded',
    '1 when a newer release has migrated the database and does not admit this one.',
    () => [[{}, watch.isSuperseded() ? 1 : 0]],
  )
}

/** Adds what the process knows of its deliveries, as their last pass found them. */
function watchDeliveries(metrics: Metrics, deliverer: Deliverer): void {
  metrics.counted(
    'latchkey_webhook_deliveries_total',
    'Attempts of this process to deliver a notice, by outcome.',
    () =>
      Object.entries(deliverer.counts().outcomes).map(([outcome, count]) => [{ outcome }, count]),
  )
  metrics.gauge(
    'latchkey_webhook_deliveries_in_flight',
    'Requests to receivers of webhooks that are under way.',
    () => [[{}, deliverer.counts().inFlight]],
  )
  metrics.gauge(
    'latchkey_webhook_oldest_waiting_seconds',
    'Age of the oldest delivery that is not made, 0 without one.',
    () => [[{}, deliverer.counts().oldestWaitingMs / 1_000]],
  )
}

export interface MetricsListening {
  port: number
  close(): Promise<void>
}

/**
 * Serves GET /metrics on a listener of its own, so that a proxy in front of the service cannot publish it by mistake. Rejects
 * with a sentence when the port is taken.
 */
export function serveMetrics(
  metrics: Metrics,
  { METRICS_HOST: host, METRICS_PORT: port }: Pick<Config, 'METRICS_HOST' | 'METRICS_PORT'>,
): Promise<MetricsListening> {
  const server = createServer((request, response) => {
    request.resume()
    if (request.method !== 'GET' || request.url?.split('?', 1)[0] !== '/metrics') {
      response.writeHead(404).end()
      return
    }
    response.writeHead(200, { 'Content-Type': PROMETHEUS_TYPE, 'Cache-Control': 'no-store' })
    response.end(prometheusText(metrics.collect()))
  })
  return new Promise((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(listeningProblem(error, host, port ?? 0, 'METRICS_PORT')),
    )
    server.listen(port, host, () =>
      resolve({
        port: (server.address() as AddressInfo).port,
        close: () =>
          new Promise((closed) => {
            server.close(() => closed())
            server.closeAllConnections()
          }),
      }),
    )
  })
}
