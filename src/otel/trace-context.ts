/** What the `traceparent` of a request says (W3C Trace Context, s3.2). */
export interface TraceParent {
  traceId: string
  spanId: string
  sampled: boolean
}

const FORM = /^([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?$/
const NO_TRACE = '0'.repeat(32)
const NO_SPAN = '0'.repeat(16)

/** Undefined for what is no `traceparent`: the trace then begins here. */
export function parseTraceParent(header: string | undefined): TraceParent | undefined {
  const [, version, traceId = '', spanId = '', flags = '', rest] = FORM.exec(header ?? '') ?? []
  if (version === undefined || version === 'ff' || (version === '00' && rest !== undefined))
    return undefined
  if (traceId === NO_TRACE || spanId === NO_SPAN) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}

export function traceParentText({ traceId, spanId, sampled }: TraceParent): string {
  return `00-${traceId}-${spanId}-${sampled ? '01' : '00'}`
}

/** What samplers compare: 48 of the 56 bits that W3C wants to be random, which a double holds exactly. */
const SAMPLED_DIGITS = 12

/** Whether a trace is among the share that is recorded. Every service with the same ratio decides alike. */
export function isSampled(traceId: string, ratio: number): boolean {
  const part = Number.parseInt(traceId.slice(-SAMPLED_DIGITS), 16)
  return part < ratio * 16 ** SAMPLED_DIGITS
}
