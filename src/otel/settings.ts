/** Where one signal is sent to. */
export interface OtlpTarget {
  url: string
  headers: Record<string, string>
  timeoutMs: number
}

export interface OtelSettings {
  resource: Record<string, string>
  traces?: OtlpTarget & {
    /** Whether a trace that begins here is recorded, by its id; a trace that began elsewhere follows its caller. */
    ratio: number
    followsParent: boolean
    flushIntervalMs: number
    maxQueue: number
    maxBatch: number
  }
  metrics?: OtlpTarget & { intervalMs: number }
  /** Whether trace context is read from requests and sent with the service's own. */
  propagates: boolean
}

type Environment = Readonly<Record<string, string | undefined>>

/** What is read of a signal's variables: `OTEL_EXPORTER_OTLP_TRACES_ENDPOINT`, and without it the general one. */
type Signal = 'TRACES' | 'METRICS'

const DEFAULT_ENDPOINT = 'http://localhost:4318'
const PROTOCOL = 'http/json'

/**
 * Reads the `OTEL_*` variables of the OpenTelemetry specification that apply. Nothing is exported unless an endpoint or an
 * exporter is named. A value that cannot be used is a problem and its default applies: telemetry does not stop a service.
 */
export function readOtelSettings(env: Environment): { settings: OtelSettings; problems: string[] } {
  const problems: string[] = []
  const settings: OtelSettings = {
    resource: {
      ...pairsOf(env, 'OTEL_RESOURCE_ATTRIBUTES', problems),
      ...(env.OTEL_SERVICE_NAME && { 'service.name': env.OTEL_SERVICE_NAME }),
    },
    propagates: (env.OTEL_PROPAGATORS ?? 'tracecontext').split(',').includes('tracecontext'),
  }
  if (env.OTEL_SDK_DISABLED?.toLowerCase() === 'true') return { settings, problems }
  const traces = targetOf(env, 'TRACES', problems)
  if (traces !== undefined)
    settings.traces = {
      ...traces,
      ...samplerOf(env, problems),
      flushIntervalMs: millisecondsOf(env, 'OTEL_BSP_SCHEDULE_DELAY', 5_000, problems),
      maxQueue: millisecondsOf(env, 'OTEL_BSP_MAX_QUEUE_SIZE', 2_048, problems),
      maxBatch: millisecondsOf(env, 'OTEL_BSP_MAX_EXPORT_BATCH_SIZE', 512, problems),
    }
  const metrics = targetOf(env, 'METRICS', problems)
  if (metrics !== undefined)
    settings.metrics = {
      ...metrics,
      intervalMs: millisecondsOf(env, 'OTEL_METRIC_EXPORT_INTERVAL', 60_000, problems),
    }
  return { settings, problems }
}

function targetOf(env: Environment, signal: Signal, problems: string[]): OtlpTarget | undefined {
  const exporter = env[`OTEL_${signal}_EXPORTER`]
  const own = env[`OTEL_EXPORTER_OTLP_${signal}_ENDPOINT`]
  const base = env.OTEL_EXPORTER_OTLP_ENDPOINT
  if (exporter === 'none' || (!exporter && !own && !base)) return undefined
  if (exporter && exporter !== 'otlp') {
    problems.push(`OTEL_${signal}_EXPORTER: is otlp or none`)
    return undefined
  }
  const name = own ? `OTEL_EXPORTER_OTLP_${signal}_ENDPOINT` : 'OTEL_EXPORTER_OTLP_ENDPOINT'
  const url = own || `${(base || DEFAULT_ENDPOINT).replace(/\/+$/, '')}/v1/${signal.toLowerCase()}`
  if (!['http:', 'https:'].includes(URL.parse(url)?.protocol ?? '')) {
    problems.push(`${name}: must be an http:// or https:// address`)
    return undefined
  }
  const protocol = env[`OTEL_EXPORTER_OTLP_${signal}_PROTOCOL`] ?? env.OTEL_EXPORTER_OTLP_PROTOCOL
  if (protocol && protocol !== PROTOCOL)
    problems.push(`OTEL_EXPORTER_OTLP_PROTOCOL: is ${PROTOCOL} here, whatever it names`)
  const timeout = env[`OTEL_EXPORTER_OTLP_${signal}_TIMEOUT`]
    ? `OTEL_EXPORTER_OTLP_${signal}_TIMEOUT`
    : 'OTEL_EXPORTER_OTLP_TIMEOUT'
  return {
    url,
    headers: {
      ...pairsOf(env, 'OTEL_EXPORTER_OTLP_HEADERS', problems),
      ...pairsOf(env, `OTEL_EXPORTER_OTLP_${signal}_HEADERS`, problems),
    },
    timeoutMs: millisecondsOf(env, timeout, 10_000, problems),
  }
}

const SAMPLERS: Readonly<Record<string, { follows: boolean; ratio: number | 'argument' }>> = {
  always_on: { follows: false, ratio: 1 },
  always_off: { follows: false, ratio: 0 },
  traceidratio: { follows: false, ratio: 'argument' },
  parentbased_always_on: { follows: true, ratio: 1 },
  parentbased_always_off: { follows: true, ratio: 0 },
  parentbased_traceidratio: { follows: true, ratio: 'argument' },
}

function samplerOf(
  env: Environment,
  problems: string[],
): { ratio: number; followsParent: boolean } {
  const name = env.OTEL_TRACES_SAMPLER || 'parentbased_always_on'
  const sampler = Object.hasOwn(SAMPLERS, name) ? SAMPLERS[name] : undefined
  if (sampler === undefined) problems.push(`OTEL_TRACES_SAMPLER: is not known: ${name}`)
  const { follows, ratio } = sampler ?? { follows: true, ratio: 1 }
  if (ratio !== 'argument') return { ratio, followsParent: follows }
  const argument = Number(env.OTEL_TRACES_SAMPLER_ARG || '1')
  if (argument >= 0 && argument <= 1) return { ratio: argument, followsParent: follows }
  problems.push('OTEL_TRACES_SAMPLER_ARG: must be a number from 0 to 1')
  return { ratio: 1, followsParent: follows }
}

function millisecondsOf(
  env: Environment,
  name: string,
  otherwise: number,
  problems: string[],
): number {
  const text = env[name]
  if (!text) return otherwise
  const value = Number(text)
  if (Number.isInteger(value) && value >= 1 && value <= 86_400_000) return value
  problems.push(`${name}: must be a whole number from 1 to 86400000`)
  return otherwise
}

/** `key=value,key=value`, values percent-encoded. A problem names the variable and no value: headers hold credentials. */
function pairsOf(env: Environment, name: string, problems: string[]): Record<string, string> {
  const pairs: Record<string, string> = {}
  for (const part of (env[name] ?? '').split(',').map((one) => one.trim())) {
    if (part === '') continue
    const at = part.indexOf('=')
    const value = at < 1 ? undefined : decoded(part.slice(at + 1).trim())
    if (value === undefined) problems.push(`${name}: must be key=value, separated by commas`)
    else pairs[part.slice(0, at).trim()] = value
  }
  return pairs
}

function decoded(text: string): string | undefined {
  try {
    return decodeURIComponent(text)
  } catch {
    return undefined
  }
}
