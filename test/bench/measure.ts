import type { LoadGenerator, Target } from './load.ts'
import type { Postgres } from './postgres.ts'
import type { Remote } from './remote.ts'
import type { Server } from './serve.ts'
import { median } from './statistics.ts'

/** What one side did in one turn. */
export interface Sample {
  requestsPerSecond: number
  p50Ms: number
  p99Ms: number
  /** CPU time of the server process, for each request. */
  cpuMicros: number
  /** CPU time of all processes of Postgres, for each request; it serves one side at a time. */
  postgresCpuMicros: number | undefined
  rssMegabytes: number
  /** Share of one core that the load generator was busy: near 1, it is what was measured. */
  loadCpu: number
  refused: number
}

export type Metric = keyof Sample

export async function takeTurn(
  { load, postgres }: { load: LoadGenerator; postgres: Pick<Postgres, 'cpuMicros'> },
  server: Remote<Server>,
  target: Omit<Target, 'port' | 'path'>,
  seconds: number,
): Promise<Sample & { requests: number }> {
  const address = await server.call('address')
  await load.begin({ ...address, ...target })
  const [before, postgresBefore] = [await server.call('usage'), postgres.cpuMicros()]
  const measured = await load.measure(seconds)
  const [after, postgresAfter] = [await server.call('usage'), postgres.cpuMicros()]
  await load.end()
  const { requests, p50Ms, p99Ms } = measured
  return {
    requests,
    requestsPerSecond: requests / measured.seconds,
    p50Ms,
    p99Ms,
    cpuMicros: (after.cpuMicros - before.cpuMicros) / requests,
    postgresCpuMicros:
      postgresBefore === undefined || postgresAfter === undefined
        ? undefined
        : (postgresAfter - postgresBefore) / requests,
    rssMegabytes: after.rssBytes / 1e6,
    loadCpu: measured.ownCpu,
    refused: Object.values(measured.refused).reduce((sum, count) => sum + count, 0),
  }
}

/** One row of the matrix, over all rounds. */
export interface Cell {
  side: string
  /** What sent the requests: the bench's own process, or wrk. */
  generator: 'node' | 'wrk'
  keys: number
  connections: number
  samples: Sample[]
}

export function medianOf({ samples }: Cell, metric: Metric): number {
  return median(samples.map((sample) => sample[metric] ?? Number.NaN))
}

/** The median of the rounds' ratios: what slows a whole round down cancels out. */
export function ratioOf(one: Cell, other: Cell, metric: Metric): number {
  return median(
    one.samples.map(
      (sample, round) =>
        (sample[metric] ?? Number.NaN) / (other.samples[round]?.[metric] ?? Number.NaN),
    ),
  )
}
