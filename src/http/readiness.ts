import type { Log } from '../log.ts'
import type { Result } from '../result.ts'

/** How long the outcome of a check stands for later requests. */
const STANDS_MS = 1_000

type Check = () => Promise<Result<undefined, 'unavailable'>>

/** Runs a check, or returns the outcome of one that began within the last second. Rejects when the check did. */
export type Readiness = (now: number, check: Check) => ReturnType<Check>

/** Receives what a check found: undefined for ready, else the reason. */
type OnChecked = (reason: string | undefined, fault?: string) => void

/** Logs why the service is not ready, once for each reason in a row, and that it is ready again. */
export function logReadiness(log: Log): OnChecked {
  let last: string | undefined
  return (reason, fault) => {
    if (reason === last) return
    last = reason
    if (reason === undefined) log('info', 'ready_again')
    else log('warn', 'not_ready', { reason, fault })
  }
}

export interface ShareOptions {
  sharesPending: boolean
  onChecked?: OnChecked
}

/**
 * Shares checks among probes, which are not counted against a limit. With `sharesPending` a probe also waits for a check that
 * another one began; on Workers it may not, because a promise there belongs to the request that made it.
 */
export function shareChecks({ sharesPending, onChecked }: ShareOptions): Readiness {
  let last: { at: number; repeat: Check } | undefined
  let pending: ReturnType<Check> | undefined

  async function run(at: number, check: Check): ReturnType<Check> {
    try {
      const result = await check()
      onChecked?.(result.ok ? undefined : String(result.details?.reason ?? result.reason))
      last = { at, repeat: async () => result }
      return result
    } catch (error) {
      onChecked?.('database', faultCode(error))
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

/** The codes of the driver alone: a message may hold SQL. */
function faultCode(error: unknown): string | undefined {
  for (let at = error; at instanceof Error; at = at.cause)
    if ('code' in at && typeof at.code === 'string') return at.code
  return error instanceof Error ? error.name : undefined
}
