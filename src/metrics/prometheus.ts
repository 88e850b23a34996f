import type { Labels, MetricFamily, Sample } from './metrics.ts'

export const PROMETHEUS_TYPE = 'text/plain; version=0.0.4; charset=utf-8'

/** Writes metrics in Prometheus' text format 0.0.4. */
export function prometheusText(families: readonly MetricFamily[]): string {
  return families
    .map(
      (family) =>
        `# HELP ${family.name} ${escapeHelp(family.help)}\n# TYPE ${family.name} ${family.type}\n${family.samples
          .flatMap((sample) => linesOf(family, sample))
          .map((line) => `${line}\n`)
          .join('')}`,
    )
    .join('')
}

function linesOf({ name, bounds = [] }: MetricFamily, sample: Sample): string[] {
  if ('value' in sample) return [`${name}${labelText(sample.labels)} ${sample.value}`]
  const { labels, counts, sum } = sample
  let below = 0
  const buckets = counts.map((count, at) => {
    below += count
    const le = bounds[at] === undefined ? '+Inf' : String(bounds[at])
    return `${name}_bucket${labelText({ ...labels, le })} ${below}`
  })
  return [
    ...buckets,
    `${name}_sum${labelText(labels)} ${sum}`,
    `${name}_count${labelText(labels)} ${below}`,
  ]
}

function labelText(labels: Labels): string {
  const pairs = Object.entries(labels).map(([name, value]) => `${name}="${escapeLabel(value)}"`)
  return pairs.length === 0 ? '' : `{${pairs.join(',')}}`
}

function escapeLabel(value: string): string {
  return value.replaceAll('\\', '\\\\').replaceAll('"', '\\"').replaceAll('\n', '\\n')
}

function escapeHelp(text: string): string {
  return text.replaceAll('\\', '\\\\').replaceAll('\n', '\\n')
}
