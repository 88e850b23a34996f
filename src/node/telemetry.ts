import type { Config } from '../env.ts'
import {
  countRequests,
  logRequests,
  type ObserveRequest,
  observeRequests,
} from '../http/observe.ts'
import type { Log } from '../log.ts'
import type { World } from '../world.ts'
import {
  countEvents,
  countPasses,
  openProcessMetrics,
  serveMetrics,
  watchWorld,
} from './metrics.ts'
import type { OnPass } from './run-jobs.ts'

/** What a process tells of itself beside its log. */
export interface Telemetry {
  /** The log, whose events are counted where metrics are wanted. */
  log: Log
  /** Undefined where neither metrics nor an access log is wanted. */
  observe: ObserveRequest | undefined
  onPass: OnPass | undefined
  /** Serves what is wanted, once there is a world. Returns how to stop. */
  serve(world: World): Promise<() => Promise<void>>
}

/** Opens what the configuration asks for. Without metrics nothing is counted. */
export function openTelemetry(config: Config, ownLog: Log, now: () => number): Telemetry {
  const elapsed = () => performance.now()
  const access = logRequests(ownLog, config.ACCESS_LOG)
  const accessSinks = access === undefined ? [] : [access]
  if (config.METRICS_PORT === undefined)
    return {
      log: ownLog,
      observe: observeRequests(elapsed, accessSinks),
      onPass: undefined,
      serve: async () => async () => {},
    }
  const metrics = openProcessMetrics(config)
  const log = countEvents(ownLog, metrics)
  return {
    log,
    observe: observeRequests(elapsed, [countRequests(metrics), ...accessSinks]),
    onPass: countPasses(metrics, now),
    async serve(world) {
      watchWorld(metrics, world)
      const { port, close } = await serveMetrics(metrics, config)
      log('info', 'metrics_listening', { host: config.METRICS_HOST, port })
      return close
    },
  }
}
