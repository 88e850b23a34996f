/** What a chain or its API can do to a client. Each works on requests whose path begins with `on`. */
export type Fault = {
  /** A path, or its beginning. */
  on: string
  /** How many requests it meets; all of them until it is cleared, when absent. */
  times?: number
} & (
  | { do: 'delay'; ms: number }
  /** The connection closes: before anything is done, or after it is done and instead of the answer. */
  | { do: 'hang-up-before' | 'hang-up-after' }
  /** Nothing is done, and this is the answer: 503, 410, a captive portal. */
  | { do: 'answer'; status: number; body?: unknown }
  /** A transaction is not taken, for this reason. */
  | { do: 'reject'; reason: string }
  /** A transaction is answered as if it were taken, and is not: a later look finds this status, or nothing. */
  | { do: 'drop'; as: DroppedStatus | 'nothing' }
  /** A transaction is taken and mined, and comes to nothing. */
  | { do: 'abort'; as: AbortedStatus }
)

export const ABORTED = ['abort_by_response', 'abort_by_post_condition'] as const
export const DROPPED = [
  'dropped_problematic',
  'dropped_replace_by_fee',
  'dropped_replace_across_fork',
  'dropped_too_expensive',
  'dropped_stale_garbage_collect',
] as const

export type AbortedStatus = (typeof ABORTED)[number]
export type DroppedStatus = (typeof DROPPED)[number]
type Kind = Fault['do']

export interface Faults {
  list(): readonly Fault[]
  add(faults: readonly Fault[]): void
  clear(): void
  /** The first fault of a kind that meets this path, counted as met. */
  take<K extends Kind>(kind: K, path: string): Extract<Fault, { do: K }> | undefined
}

export function openFaults(): Faults {
  let active: Fault[] = []
  return {
    list: () => active,
    add: (faults) => void active.push(...faults.map((fault) => ({ ...fault }))),
    clear() {
      active = []
    },
    take<K extends Kind>(kind: K, path: string) {
      const met = active.find((fault) => fault.do === kind && path.startsWith(fault.on))
      if (met?.times !== undefined && --met.times <= 0)
        active = active.filter((fault) => fault !== met)
      return met as Extract<Fault, { do: K }> | undefined
    },
  }
}

const isWhole = (value: unknown) => Number.isSafeInteger(value) && (value as number) >= 0
const NEEDS: Record<Kind, (fault: Record<string, unknown>) => boolean> = {
  delay: ({ ms }) => isWhole(ms),
  'hang-up-before': () => true,
  'hang-up-after': () => true,
  answer: ({ status }) => isWhole(status) && Number(status) >= 200 && Number(status) < 600,
  reject: ({ reason }) => typeof reason === 'string',
  drop: ({ as }) => as === 'nothing' || (DROPPED as readonly unknown[]).includes(as),
  abort: ({ as }) => (ABORTED as readonly unknown[]).includes(as),
}

/** Reads a fault, or a list of them, as it is posted; undefined when it is neither. */
export function readFaults(body: unknown): Fault[] | undefined {
  const list: unknown[] = Array.isArray(body) ? body : [body]
  return list.every(isFault) ? list : undefined
}

function isFault(value: unknown): value is Fault {
  if (typeof value !== 'object' || value === null) return false
  const fault = value as Record<string, unknown>
  return (
    typeof fault.on === 'string' &&
    (fault.times === undefined || (isWhole(fault.times) && fault.times !== 0)) &&
    Object.hasOwn(NEEDS, String(fault.do)) &&
    NEEDS[fault.do as Kind](fault)
  )
}
