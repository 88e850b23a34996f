/** How items that arrive together share one run. */
export interface BatchOptions<Item> {
  /** Items of one run, at most. */
  maxItems: number
  /** Runs at the same time, at most: while one waits for its commit, the next one is already computed. */
  maxRuns: number
  /** Items with equal names never share a run. */
  nameOf: (item: Item) => string
  /** Items of different groups never share a run; by default all are of one. */
  groupOf?: (item: Item) => number
  /** Whether an error concerns every item of a run, so that running them one by one would only repeat it. */
  isShared: (error: unknown) => boolean
}

interface Waiting<Item, Outcome> {
  item: Item
  resolve: (outcome: Outcome) => void
  reject: (error: unknown) => void
}

/**
 * Runs items in batches: an item that arrives while nothing runs is run at once and alone, and those that arrive meanwhile
 * share the next run. `run` resolves to the outcomes in the order of its items. When it rejects, each item is run alone, so
 * that one item's fault does not fail the others.
 */
export function openBatches<Item, Outcome>(
  { maxItems, maxRuns, nameOf, groupOf = () => 0, isShared }: BatchOptions<Item>,
  run: (items: readonly Item[]) => Promise<readonly Outcome[]>,
): (item: Item) => Promise<Outcome> {
  let waiting: Waiting<Item, Outcome>[] = []
  let runs = 0

  async function runWaiting(): Promise<void> {
    runs += 1
    while (waiting.length > 0) await runBatch(takeBatch())
    runs -= 1
  }

  function takeBatch(): Waiting<Item, Outcome>[] {
    const names = new Set<string>()
    const batch: Waiting<Item, Outcome>[] = []
    const left: Waiting<Item, Outcome>[] = []
    const [first] = waiting
    const group = first && groupOf(first.item)
    for (const one of waiting) {
      const name = nameOf(one.item)
      const isFree = batch.length < maxItems && !names.has(name) && groupOf(one.item) === group
      if (isFree) names.add(name)
      ;(isFree ? batch : left).push(one)
    }
    waiting = left
    return batch
  }

  async function runBatch(batch: readonly Waiting<Item, Outcome>[]): Promise<void> {
    try {
      const outcomes = await run(batch.map(({ item }) => item))
      for (const [at, { resolve }] of batch.entries()) resolve(outcomes[at] as Outcome)
    } catch (error) {
      if (batch.length > 1 && !isShared(error)) for (const one of batch) await runBatch([one])
      else for (const { reject } of batch) reject(error)
    }
  }

  return (item) =>
    new Promise((resolve, reject) => {
      waiting.push({ item, resolve, reject })
      if (runs < maxRuns) void runWaiting()
    })
}
