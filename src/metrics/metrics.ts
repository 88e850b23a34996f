/** Names and values that tell the series of a metric apart. */
export type Labels = Readonly<Record<string, string>>

/** A number that only grows. Its owner keeps it and adds to it: an increment is all that a request costs. */
export interface Cell {
  value: number
}

/** Counts observations by upper bound. The last count is of those beyond all bounds. */
export interface HistogramCell {
  counts: number[]
  sum: number
}

export type Sample = { labels: Labels } & (
  | { value: number }
  | { counts: readonly number[]; sum: number }
)

/** A metric with all its series, as read at one time. */
export interface MetricFamily {
  name: string
  help: string
  type: 'counter' | 'gauge' | 'histogram'
  /** Upper bounds of a histogram, ascending. */
  bounds?: readonly number[]
  samples: Sample[]
}

export interface Metrics {
  /** Returns the cell of a series, the same one for the same labels. */
  counter(name: string, help: string): (labels?: Labels) => Cell
  histogram(
    name: string,
    help: string,
    bounds: readonly number[],
  ): (labels?: Labels) => HistogramCell
  /** Registers what is read only when metrics are collected. */
  gauge(name: string, help: string, read: () => readonly (readonly [Labels, number])[]): void
  /** As `gauge`, for a number that another component counts. */
  counted(name: string, help: string, read: () => readonly (readonly [Labels, number])[]): void
  collect(): MetricFamily[]
}

/** Series of one metric, at most: labels come from tables of the source, and this holds when one does not. */
const MAX_SERIES = 5_000

/** Opens a process's metrics. Everything is in memory; nothing here reads a clock or a database. */
export function openMetrics(): Metrics {
  const families: (() => MetricFamily)[] = []

  /** Keeps one cell for each combination of labels. */
  function series<Kept>(make: () => Kept) {
    const kept = new Map<string, { labels: Labels; cell: Kept }>()
    const overflow = make()
    return {
      kept,
      of(labels: Labels = {}): Kept {
        const id = JSON.stringify(labels)
        const known = kept.get(id)
        if (known !== undefined) return known.cell
        if (kept.size >= MAX_SERIES) return overflow
        const cell = make()
        kept.set(id, { labels, cell })
        return cell
      },
    }
  }

  function register(type: 'counter' | 'gauge') {
    return (name: string, help: string, read: () => readonly (readonly [Labels, number])[]) => {
      families.push(() => ({
        name,
        help,
        type,
        samples: read().map(([labels, value]) => ({ labels, value })),
      }))
    }
  }

  return {
    counter(name, help) {
      const { kept, of } = series<Cell>(() => ({ value: 0 }))
      families.push(() => ({
        name,
        help,
        type: 'counter',
        samples: [...kept.values()].map(({ labels, cell }) => ({ labels, value: cell.value })),
      }))
      return of
    },
    histogram(name, help, bounds) {
      const { kept, of } = series<HistogramCell>(() => ({
        counts: Array.from({ length: bounds.length + 1 }, () => 0),
        sum: 0,
      }))
      families.push(() => ({
        name,
        help,
        type: 'histogram',
        bounds,
        samples: [...kept.values()].map(({ labels, cell }) => ({
          labels,
          counts: [...cell.counts],
          sum: cell.sum,
        })),
      }))
      return of
    },
    gauge: register('gauge'),
    counted: register('counter'),
    collect: () => families.map((read) => read()),
  }
}

/** Adds one observation to a histogram's series. */
export function observe(cell: HistogramCell, bounds: readonly number[], value: number): void {
  let at = 0
  while (at < bounds.length && value > (bounds[at] as number)) at++
  cell.counts[at] = (cell.counts[at] ?? 0) + 1
  cell.sum += value
}
