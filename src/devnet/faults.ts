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
  /** This is the response: nothing is done (`answer`), or the request is done first (`answer-after`). */
  | ({ do: 'answer' | 'answer-after' } & Answer)
  /** A transaction is not taken, for this reason. */
  | { do: 'reject'; reason: string }
  /** A transaction is answered as if it were taken, and is not: a later look finds this status, or nothing. */
  | { do: 'drop'; as: DroppedStatus | 'nothing' }
  /** A transaction is accepted and mined: the fee is paid, the nonce is used, the payload has no effect. */
  | { do: 'abort'; as: AbortedStatus }
  /** A transaction is accepted and stays pending: no block includes it. A higher fee replaces it. */
  | { do: 'hold' }
)

/** A response that a fault sends: a string body as text/plain, any other as JSON. */
export interface Answer {
  status: number
  body?: unknown
  headers?: Record<string, string>
}

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

/** `Response` throws for a body under these. */
const WITHOUT_BODY = [204, 205, 304]

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
  answer: isAnswer,
  'answer-after': isAnswer,
  reject: ({ reason }) => typeof reason === 'string',
  drop: ({ as }) => as === 'nothing' || (DROPPED as readonly unknown[]).includes(as),
  abort: ({ as }) => (ABORTED as readonly unknown[]).includes(as),
  hold: () => true,
}

/** Reads a fault, or a list of them, as it is posted; undefined when it is neither. */
export function readFaults(body: unknown): Fault[] | undefined {
  const list: unknown[] = Array.isArray(body) ? body : [body]
  return list.every(isFault) ? list : undefined
}

function isAnswer({ status, headers = {} }: Record<string, unknown>): boolean {
  const fits = isWhole(status) && Number(status) >= 200 && Number(status) < 600
  if (!fits || typeof headers !== 'object') return false
  try {
    new Headers(headers as Record<string, string>)
    return true
  } catch {
    return false
  }
}

export function respond({ status, body = {}, headers: given = {} }: Answer): Response {
  const headers = new Headers(given)
  if (WITHOUT_BODY.includes(status)) return new Response(null, { status, headers })
  if (typeof body !== 'string') return Response.json(body, { status, headers })
  if (!headers.has('content-type')) headers.set('content-type', 'text/plain; charset=utf-8')
  return new Response(body, { status, headers })
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
