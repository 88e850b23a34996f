/** A failure of a chain or of its API, on demand. It applies to requests whose path begins with `on`. */
export type Fault = {
  on: string
  /** The number of requests that it applies to; absent: all, until it is cleared. */
  times?: number
} & (
  | { do: 'delay'; ms: number }
  /** The connection closes: before the request is done, or after it and without the response. */
  | { do: 'hang-up-before' | 'hang-up-after' }
  /** This is the response: nothing is done (`answer`), or the request is done first (`answer-after`). */
  | ({ do: 'answer' | 'answer-after' } & FaultResponse)
  /** A transaction is rejected for this reason. */
  | { do: 'reject'; reason: string }
  /** A transaction gets 200 and its txid, but has this status at once, or is unknown. */
  | { do: 'drop'; as: DroppedStatus | 'nothing' }
  /** A transaction is accepted and mined: the fee is paid, the nonce is used, the payload has no effect. */
  | { do: 'abort'; as: AbortedStatus }
  /** A transaction is accepted and stays pending: no block includes it. A higher fee replaces it. */
  | { do: 'hold' }
  /** A quote has the shape of the public quote service, and every failure is a 500. */
  | { do: 'public-quote' }
)

/** A string body is sent as text/plain, any other as JSON. */
export interface FaultResponse {
  status: number
  body?: unknown
  headers?: Record<string, string>
}

/** Statuses of a mined transaction without effect. */
export const ABORTED = [
  'abort_by_response',
  'abort_by_post_condition',
  'problematic_skipped',
] as const
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
  /** The first fault of this kind for this path; counts the request. */
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
      const taken = active.find((fault) => fault.do === kind && path.startsWith(fault.on))
      if (taken?.times !== undefined && --taken.times <= 0)
        active = active.filter((fault) => fault !== taken)
      return taken as Extract<Fault, { do: K }> | undefined
    },
  }
}

const always = () => true
/** Whether a fault of each kind has the fields that it needs. */
const HAS_FIELDS: Record<Kind, (fault: Record<string, unknown>) => boolean> = {
  delay: ({ ms }) => isWhole(ms),
  'hang-up-before': always,
  'hang-up-after': always,
  answer: isResponse,
  'answer-after': isResponse,
  reject: ({ reason }) => typeof reason === 'string',
  drop: ({ as }) => as === 'nothing' || isDropped(as),
  abort: ({ as }) => (ABORTED as readonly unknown[]).includes(as),
  hold: always,
  'public-quote': always,
}

/** Reads one fault or a list of them; undefined when the body is neither. */
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
    Object.hasOwn(HAS_FIELDS, String(fault.do)) &&
    HAS_FIELDS[fault.do as Kind](fault)
  )
}

function isResponse({ status, headers = {} }: Record<string, unknown>): boolean {
  const fits = isWhole(status) && status >= 200 && status < 600
  if (!fits || typeof headers !== 'object') return false
  try {
    new Headers(headers as Record<string, string>)
    return true
  } catch {
    return false
  }
}

export function isDropped(as: unknown): as is DroppedStatus {
  return (DROPPED as readonly unknown[]).includes(as)
}

export function isWhole(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}
