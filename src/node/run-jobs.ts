import { setTimeout as pause } from 'node:timers/promises'
import { JOBS, type Job } from '../jobs.ts'
import type { World } from '../world.ts'

/** How long a pass that is under way may take once the process stops. Cutting one is harmless: leases expire. */
const LAST_PASS_MS = 2_000

/** Repeats every job at its interval. Returns how to stop them. */
export function runJobs(world: World): () => Promise<void> {
  const stopping = new AbortController()
  const loops = JOBS.map((job) => repeat(job, world, stopping.signal))
  return async () => {
    stopping.abort()
    await Promise.race([Promise.all(loops), pause(LAST_PASS_MS, undefined, { ref: false })])
    for (const job of JOBS) await job.stop?.(world)
  }
}

async function repeat(job: Job, world: World, signal: AbortSignal): Promise<void> {
  const intervalMs = job.intervalMs(world.config)
  if (intervalMs === 0) return
  while (!signal.aborted) {
    const isDone = await job.run(world, world.now()).catch((error: unknown) => {
      const fault = error instanceof Error ? error.name : ''
      world.log('error', 'job_failed', { job: job.name, fault })
      return true
    })
    if (isDone) await pause(intervalMs, undefined, { signal }).catch(() => {})
  }
}
