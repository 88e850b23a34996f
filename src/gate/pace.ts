/**
 * How many statements may be under way at once. Each further one costs the database a commit and makes the others smaller, and
 * pays where the database waits for its disk or its network instead of a processor. Which of the two holds is measured: the rate
 * of decisions with one statement less and with one more is compared with the present rate, again and again.
 */
export interface Pace {
  most(): number
  /** Counts requests that a statement has decided, at a time in milliseconds, and whether others were waiting for it. */
  decided(requests: number, at: number, isBusy: boolean): void
}

/** How long each number is measured. The clock of a request counts whole milliseconds. */
const ROUND_MS = 250
/** Rounds with the present number, between two looks at its neighbours. */
const STEADY_ROUNDS = 6
/** What a further statement must bring, as a factor of the rate. */
const WORTH = 1.05

/** Opens a pace from 1 to `max` statements. A load that leaves nothing waiting is not measured. */
export function openPace(max: number, first = Math.min(2, max)): Pace {
  let chosen = first
  /** The numbers to measure, in turn: steady rounds first, then the neighbours. */
  let plan = planOf(chosen)
  let rates = new Map<number, number[]>()
  let startedAt: number | undefined
  let requests = 0

  function planOf(number: number): number[] {
    const neighbours = [number - 1, number + 1].filter((one) => one >= 1 && one <= max)
    return [...Array<number>(STEADY_ROUNDS).fill(number), ...neighbours]
  }

  function choose(): void {
    const rate = (number: number) => {
      const found = rates.get(number) ?? []
      return found.toSorted((one, other) => one - other)[Math.floor(found.length / 2)] ?? 0
    }
    if (rate(chosen + 1) > rate(chosen) * WORTH) chosen += 1
    else if (rate(chosen - 1) * WORTH > rate(chosen)) chosen -= 1
    plan = planOf(chosen)
    rates = new Map()
  }

  return {
    most: () => plan[0] ?? chosen,
    decided(count, at, isBusy) {
      if (!isBusy || startedAt === undefined || at < startedAt) {
        startedAt = isBusy ? at : undefined
        requests = 0
        return
      }
      requests += count
      if (at - startedAt < ROUND_MS) return
      const number = plan.shift() ?? chosen
      rates.set(number, [...(rates.get(number) ?? []), requests / (at - startedAt)])
      startedAt = at
      requests = 0
      if (plan.length === 0) choose()
    },
  }
}
