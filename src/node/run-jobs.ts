import { setTimeout as pause } from 'node:timers/promises'
import { JOBS, type Job } from '../jobs.ts'
import type { World } from '../world.ts'

/** How long a pass that is under way may take once the process stops. Cutting one is harmless: leases expire. */
const LAST_PASS_MS = 2_000

/** Receives each pass of a job. */
export type OnPass = (job: string, succeeded: boolean) => void

/** Repeats every job at its interval. Returns how to stop them. */
export function runJobs(world: World, onPass: OnPass = () => {}): () => Promise<void> {
  const stopping = new AbortController()
  const loops = JOBS.map((job) => repeat(job, world, stopping.signal, onPass))
  return async () => {
    stopping.abort()
    await Promise.race([Promise.all(loops), pause(LAST_PASS_MS, undefined, { ref: false })])
    await Promise.race([world.deliverer?.close(), pause(LAST_PASS_MS, undefined, { ref: false })])
    for (const job of JOBS) await job.stop?.(world)
  }
}

async function repeat(job: Job, world: World, signal: AbortSignal, onPass: OnPass): Promise<void> {
  const intervalMs = job.intervalMs(world.config)
  if (intervalMs === 0) return
  while (!signal.aborted) {
    const isDone = await job.run(world, world.now()).then(
      (done) => {
        onPass(job.name, true)
        return done
      },
      (error: unknown) => {
        const fault = error instanceof Error ? error.name : ''
        world.log('error', 'job_failed', { job: job.name, fault })
        onPass(job.name, false)
        return true
      },
    )
    if (isDone) await pause(intervalMs, undefined, { signal }).catch(() => {})
  }
}
