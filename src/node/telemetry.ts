import type { Config } from '../env.ts'
import {
  countRequests,
  logRequests,
  type ObserveRequest,
  observeRequests,
} from '../http/observe.ts'
import type { Log } from '../log.ts'
import type { Metrics } from '../metrics/metrics.ts'
import { type OtelSettings, readOtelSettings } from '../otel/settings.ts'
import type { PeerFetch } from '../wire/response.ts'
import type { World } from '../world.ts'
import { fetchPeer } from './fetch.ts'
import {
  countEvents,
  countPasses,
  openProcessMetrics,
  serveMetrics,
  watchWorld,
} from './metrics.ts'
import { exportMetrics, openTraces } from './otel.ts'
import type { OnPass } from './run-jobs.ts'

/** What a process tells of itself beside its log. */
export interface Telemetry {
  /** The log, whose events are counted where metrics are wanted. */
  log: Log
  /** Undefined where neither metrics, traces nor an access log is wanted. */
  observe: ObserveRequest | undefined
  onPass: OnPass | undefined
  /** How the service reaches the chain, traced where traces are wanted. */
  fetch: PeerFetch
  /** Serves metrics where they are wanted, once there is a world. */
  serve(world: World): Promise<void>
  /** Exports what is left, and stops. */
  close(): Promise<void>
}

export interface TelemetryOptions {
  config: Config
  /** The variables of OpenTelemetry are not the service's own: `OTEL_*`. */
  env: Readonly<Record<string, string | undefined>>
  ownLog: Log
  now: () => number
}

/** Opens what the configuration and `OTEL_*` ask for. Without metrics nothing is counted. */
export function openTelemetry({ config, env, ownLog, now }: TelemetryOptions): Telemetry {
  const { settings, problems } = readOtelSettings(env)
  const metrics = wantsMetrics(config, settings) ? openProcessMetrics(config) : undefined
  const log = metrics === undefined ? ownLog : countEvents(ownLog, metrics)
  for (const problem of problems) log('warn', 'setting_doubtful', { problem })
  const { traces } = settings
  const traced = traces === undefined ? undefined : openTraces({ ...settings, traces }, log)
  const sinks = [
    ...(metrics === undefined ? [] : [countRequests(metrics)]),
    logRequests(log, config.ACCESS_LOG) ?? [],
  ].flat()
  const opened: (() => Promise<void>)[] = traced === undefined ? [] : [traced.close]
  return {
    log,
    observe: observeRequests(() => performance.now(), sinks, traced?.beginSpan),
    onPass: metrics && countPasses(metrics, now),
    fetch: traced?.fetch ?? fetchPeer,
    async serve(world) {
      if (metrics === undefined) return
      watchWorld(metrics, world)
      opened.push(...(await offerMetrics(metrics, config, settings, log)))
    },
    async close() {
      await Promise.all(opened.splice(0).map((closeOne) => closeOne()))
    },
  }
}

function wantsMetrics(config: Config, settings: OtelSettings): boolean {
  return config.METRICS_PORT !== undefined || settings.metrics !== undefined
}

/** Serves and exports metrics. Returns how to stop each. */
async function offerMetrics(
  metrics: Metrics,
  config: Config,
  settings: OtelSettings,
  log: Log,
): Promise<(() => Promise<void>)[]> {
  const stops: (() => Promise<void>)[] = []
  if (settings.metrics !== undefined)
    stops.push(exportMetrics({ ...settings, metrics: settings.metrics }, metrics, log).close)
  if (config.METRICS_PORT === undefined) return stops
  const { port, close } = await serveMetrics(metrics, config)
  log('info', 'metrics_listening', { host: config.METRICS_HOST, port })
  return [...stops, close]
}
