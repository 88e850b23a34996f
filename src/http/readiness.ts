import type { Result } from '../result.ts'

/** How long the outcome of a check stands for later requests. */
const STANDS_MS = 1_000

type Check = () => Promise<Result<undefined, 'unavailable'>>

/** Runs a check, or returns the outcome of one that began within the last second. Rejects when the check did. */
export type Readiness = (now: number, check: Check) => ReturnType<Check>

/**
 * Shares checks among probes, which are not counted against a limit. With `sharesPending` a probe also waits for a check that
 * another one began; on Workers it may not, because a promise there belongs to the request that made it.
 */
export function shareChecks({ sharesPending }: { sharesPending: boolean }): Readiness {
  let last: { at: number; repeat: Check } | undefined
  let pending: ReturnType<Check> | undefined

  async function run(at: number, check: Check): ReturnType<Check> {
    try {
      const result = await check()
      last = { at, repeat: async () => result }
      return result
    } catch (error) {
      last = { at, repeat: () => Promise.reject(error) }
      throw error
    } finally {
      pending = undefined
    }
  }

  return (now, check) => {
    if (pending !== undefined && sharesPending) return pending
    // A clock that was set back ends the second too.
    if (last !== undefined && Math.abs(now - last.at) < STANDS_MS) return last.repeat()
    pending = run(now, check)
    return pending
  }
}
