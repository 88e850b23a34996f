import { formatDate, formatNumber, formatTime } from './format.ts'
import { say } from './language.ts'

export interface Bar {
  /** Milliseconds since 1970. */
  start: number
  requests: number
  refused: number
}

const HOUR_MS = 3_600_000
const DAY_MS = 86_400_000

/** The last days, those without requests included, from what the service counted. */
export function lastDays(
  days: readonly { start: string; requests: number; refused: number }[],
  count: number,
  now: number,
): Bar[] {
  return fill(days, count, DAY_MS, now)
}

export function lastHours(
  hours: readonly { start: string; requests: number; refused: number }[],
  count: number,
  now: number,
): Bar[] {
  return fill(hours, count, HOUR_MS, now)
}

function fill(
  counted: readonly { start: string; requests: number; refused: number }[],
  count: number,
  lengthMs: number,
  now: number,
): Bar[] {
  const byStart = new Map(counted.map((one) => [Date.parse(one.start), one]))
  const last = Math.floor(now / lengthMs) * lengthMs
  return Array.from({ length: count }, (_, at) => {
    const start = last - (count - 1 - at) * lengthMs
    const { requests = 0, refused = 0 } = byStart.get(start) ?? {}
    return { start, requests, refused }
  })
}

/** Bars of a row: their sum in words for a screen reader, and for a pointer. */
export function Spark({ bars }: { bars: readonly Bar[] }) {
  const total = bars.reduce((sum, { requests }) => sum + requests, 0)
  const refused = bars.reduce((sum, { refused }) => sum + refused, 0)
  const most = Math.max(1, ...bars.map(({ requests }) => requests))
  const label = say('usage.sum', { n: total, refused, days: bars.length })
  return (
    <span class="spark">
      <svg
        viewBox={`0 0 ${bars.length * 4} 24`}
        role="img"
        aria-label={label}
        preserveAspectRatio="none"
      >
        <title>{label}</title>
        {bars.map((bar, at) => (
          <Column key={bar.start} bar={bar} most={most} x={at * 4} width={3} height={24} />
        ))}
      </svg>
      <span class="spark-sum" aria-hidden="true">
        {formatNumber(total)}
      </span>
    </span>
  )
}

/** Bars of a page, with an axis. */
export function Chart({ bars, label }: { bars: readonly Bar[]; label: string }) {
  const most = Math.max(4, ...bars.map(({ requests }) => requests))
  const width = bars.length * 12
  return (
    <figure class="chart">
      <svg viewBox={`0 0 ${width} 120`} role="img" aria-label={label} preserveAspectRatio="none">
        {[0.25, 0.5, 0.75].map((share) => (
          <line key={share} x1="0" x2={width} y1={120 * share} y2={120 * share} class="grid" />
        ))}
        {bars.map((bar, at) => (
          <Column key={bar.start} bar={bar} most={most} x={at * 12 + 1} width={10} height={120} />
        ))}
      </svg>
      <figcaption>
        <span>{formatDate(bars[0]?.start ?? 0)}</span>
        <span class="legend">
          <span class="swatch ok" /> {say('usage.accepted')}
          <span class="swatch bad" /> {say('usage.refused')}
        </span>
        <span>{say('usage.most', { n: most })}</span>
      </figcaption>
    </figure>
  )
}

function Column(props: { bar: Bar; most: number; x: number; width: number; height: number }) {
  const { bar, most, x, width, height } = props
  const { requests, refused } = bar
  const scale = (count: number) => (count === 0 ? 0 : Math.max(1.5, (count / most) * (height - 1)))
  const whole = scale(requests)
  const bad = Math.min(whole, refused === 0 ? 0 : Math.max(1.5, (refused / most) * (height - 1)))
  return (
    <g>
      <title>{`${formatTime(bar.start)}: ${formatNumber(requests)}`}</title>
      <rect x={x} y={0} width={width} height={height} class="bar-hit" />
      <rect x={x} y={height - 1} width={width} height={1} class="bar-base" />
      <rect x={x} y={height - whole} width={width} height={whole - bad} class="bar" />
      <rect x={x} y={height - bad} width={width} height={bad} class="bar refused" />
    </g>
  )
}
