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
const ROUND_MS = 100
/** Rounds in which a number is kept after its neighbours were no better: doubled each time, so that looking costs little. */
const MIN_KEPT = 8
const MAX_KEPT = 128
/** What a further statement must bring, as a factor of the rate. */
const WORTH = 1.08

/** Opens a pace from 1 to `max` statements. A load that leaves nothing waiting is not measured. */
export function openPace(max: number, first = Math.min(2, max)): Pace {
  let chosen = first
  let kept = MIN_KEPT
  /** The numbers of the next rounds. */
  let plan = planOf(chosen, 0)
  let rates = new Map<number, number[]>()
  let startedAt: number | undefined
  let requests = 0

  /** Rounds with the number alone, then with its neighbours in between, so that a load that changes changes both. */
  function planOf(number: number, alone: number): number[] {
    const looks = [number, number, number - 1, number, number, number + 1]
    const possible = [...looks, ...looks].filter((one) => one >= 1 && one <= max)
    return [...Array<number>(alone).fill(number), ...possible]
  }

  function choose(): void {
    const before = chosen
    if (rateOf(chosen + 1) > rateOf(chosen) * WORTH) chosen += 1
    else if (rateOf(chosen - 1) * WORTH > rateOf(chosen)) chosen -= 1
    kept = chosen === before ? Math.min(2 * kept, MAX_KEPT) : MIN_KEPT
    plan = planOf(chosen, chosen === before ? kept : 0)
    rates = new Map()
  }

  function rateOf(number: number): number {
    const found = rates.get(number) ?? []
    return found.toSorted((one, other) => one - other)[Math.floor(found.length / 2)] ?? 0
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
