import type { MetricFamily, Sample } from '../metrics/metrics.ts'

export type Attributes = Readonly<Record<string, string | number | undefined>>

export type SpanKind = 'server' | 'client'

/** A span that has ended. Times are milliseconds since 1970, with fractions. */
export interface EndedSpan {
  traceId: string
  spanId: string
  parentSpanId: string | undefined
  kind: SpanKind
  name: string
  startedAt: number
  endedAt: number
  attributes: Attributes
  failed: boolean
}

/** Who sends: the resource of every export. */
export type Resource = Readonly<Record<string, string>>

const SCOPE = { name: 'latchkey' }
const KINDS: Readonly<Record<SpanKind, number>> = { server: 2, client: 3 }
const ERROR = 2
const CUMULATIVE = 2

/** The body of an ExportTraceServiceRequest in OTLP's JSON encoding. */
export function otlpTraces(resource: Resource, spans: readonly EndedSpan[]): unknown {
  return {
    resourceSpans: [
      {
        resource: { attributes: attributesOf(resource) },
        scopeSpans: [{ scope: SCOPE, spans: spans.map(spanOf) }],
      },
    ],
  }
}

function spanOf(span: EndedSpan) {
  const { traceId, spanId, parentSpanId, kind, name, attributes, failed } = span
  return {
    traceId,
    spanId,
    ...(parentSpanId !== undefined && { parentSpanId }),
    name,
    kind: KINDS[kind],
    startTimeUnixNano: nanoseconds(span.startedAt),
    endTimeUnixNano: nanoseconds(span.endedAt),
    attributes: attributesOf(attributes),
    status: failed ? { code: ERROR } : {},
  }
}

/** The body of an ExportMetricsServiceRequest in OTLP's JSON encoding. Sums are of the process since `since`. */
export function otlpMetrics(
  resource: Resource,
  families: readonly MetricFamily[],
  { since, at }: { since: number; at: number },
): unknown {
  const times = { startTimeUnixNano: nanoseconds(since), timeUnixNano: nanoseconds(at) }
  return {
    resourceMetrics: [
      {
        resource: { attributes: attributesOf(resource) },
        scopeMetrics: [{ scope: SCOPE, metrics: families.map((one) => metricOf(one, times)) }],
      },
    ],
  }
}

function metricOf(
  { name, help, type, bounds = [], samples }: MetricFamily,
  times: { startTimeUnixNano: string; timeUnixNano: string },
) {
  const dataPoints = samples.map((sample) => ({
    attributes: attributesOf(sample.labels),
    ...times,
    ...pointOf(sample, bounds),
  }))
  const described = { name, description: help }
  if (type === 'gauge') return { ...described, gauge: { dataPoints } }
  if (type === 'histogram')
    return { ...described, histogram: { aggregationTemporality: CUMULATIVE, dataPoints } }
  return {
    ...described,
    sum: { aggregationTemporality: CUMULATIVE, isMonotonic: true, dataPoints },
  }
}

/** 64-bit integers are strings in the JSON of protobuf. */
function pointOf(sample: Sample, bounds: readonly number[]) {
  if ('value' in sample) return { asDouble: sample.value }
  const { counts, sum } = sample
  const count = counts.reduce((all, one) => all + one, 0)
  return { count: String(count), sum, bucketCounts: counts.map(String), explicitBounds: bounds }
}

function attributesOf(values: Attributes) {
  return Object.entries(values).flatMap(([key, value]) =>
    value === undefined ? [] : [{ key, value: anyValue(value) }],
  )
}

function anyValue(value: string | number) {
  if (typeof value === 'string') return { stringValue: value }
  return Number.isInteger(value) ? { intValue: String(value) } : { doubleValue: value }
}

/** A double has no room for the nanoseconds of today: whole milliseconds and the rest are written apart. */
function nanoseconds(milliseconds: number): string {
  const whole = Math.floor(milliseconds)
  const rest = Math.floor((milliseconds - whole) * 1e6)
  return `${whole}${String(rest).padStart(6, '0')}`
}
