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
const WORTH = 1.15
/** How often a number is compared with each neighbour, and how many of these comparisons a higher number must win. */
const COMPARISONS = 6
const MIN_WINS = 5

/**
 * Opens a pace from 1 to `max` statements. A load that leaves nothing waiting is not measured. Other programs on the machine make single
 * rounds differ by half: a further statement must win nearly all of its comparisons, and is given up when it does not win most.
 */
export function openPace(max: number, first = 1): Pace {
  let chosen = first
  let kept = MIN_KEPT
  /** The numbers of the next rounds. */
  let plan = planOf(chosen, 0)
  /** The rate of the last round with the chosen number alone, and the ratios of its neighbours' rates to it. */
  let base = 0
  let ratios = new Map<number, number[]>()
  let startedAt: number | undefined
  let requests = 0

  /** Rounds with the number alone, then with each neighbour after it, so that a load that changes changes both. */
  function planOf(number: number, alone: number): number[] {
    const looks = [number - 1, number + 1].filter((one) => one >= 1 && one <= max)
    const pairs = looks.flatMap((neighbour) => [number, neighbour])
    return [
      ...Array<number>(alone).fill(number),
      ...Array.from({ length: COMPARISONS }, () => pairs).flat(),
    ]
  }

  function choose(): void {
    const before = chosen
    if (wins(chosen + 1, (ratio) => ratio > WORTH) >= MIN_WINS) chosen += 1
    else if (wins(chosen - 1, (ratio) => ratio * WORTH > 1) >= COMPARISONS / 2) chosen -= 1
    kept = chosen === before ? Math.min(2 * kept, MAX_KEPT) : MIN_KEPT
    plan = planOf(chosen, chosen === before ? kept : 0)
    ratios = new Map()
  }

  function wins(number: number, isWon: (ratio: number) => boolean): number {
    return (ratios.get(number) ?? []).filter(isWon).length
  }

  function note(number: number, rate: number): void {
    if (number === chosen) base = rate
    else ratios.set(number, [...(ratios.get(number) ?? []), rate / base])
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
      note(plan.shift() ?? chosen, requests / (at - startedAt))
      startedAt = at
      requests = 0
      if (plan.length === 0) choose()
    },
  }
}
