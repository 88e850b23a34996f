import { describe, expect, it } from 'vitest'
import { openBatches } from '../src/batches.ts'

const OPTIONS = {
  maxItems: 3,
  maxRuns: 2,
  nameOf: (item: string) => item.slice(0, 1),
  isShared: (error: unknown) => error === 'outage',
}

/** Batches whose runs end when the test says so. */
function openHeld(options: Partial<typeof OPTIONS> = {}) {
  const runs: { items: readonly string[]; end: (fault?: unknown) => void }[] = []
  const push = openBatches<string, string>({ ...OPTIONS, ...options }, (items) => {
    const { promise, resolve, reject } = Promise.withResolvers<string[]>()
    const end = (fault?: unknown) =>
      fault === undefined ? resolve(items.map((item) => `${item}!`)) : reject(fault)
    runs.push({ items, end })
    return promise
  })
  return { push, runs, itemsOfRuns: () => runs.map(({ items }) => items) }
}

/** Ends every run, the later ones too. */
async function endAll(runs: { end: (fault?: unknown) => void }[]): Promise<void> {
  for (let at = 0; at < runs.length; at++) {
    runs[at]?.end()
    await new Promise((resolve) => setImmediate(resolve))
  }
}

describe('items', () => {
  it('run at once while fewer runs are under way than may be, and then together', async () => {
    const { push, runs, itemsOfRuns } = openHeld()
    const outcomes = Promise.all(['a', 'b', 'c', 'd', 'e', 'f'].map(push))
    expect(itemsOfRuns()).toEqual([['a'], ['b']])
    await endAll(runs)
    expect(itemsOfRuns()).toEqual([['a'], ['b'], ['c', 'd', 'e'], ['f']])
    expect(await outcomes).toEqual(['a!', 'b!', 'c!', 'd!', 'e!', 'f!'])
  })

  it('of one name never share a run', async () => {
    const { push, runs, itemsOfRuns } = openHeld({ maxRuns: 1 })
    const outcomes = Promise.all(['x', 'a1', 'a2', 'b', 'a3'].map(push))
    await endAll(runs)
    expect(itemsOfRuns()).toEqual([['x'], ['a1', 'b'], ['a2'], ['a3']])
    expect(await outcomes).toEqual(['x!', 'a1!', 'a2!', 'b!', 'a3!'])
  })

  it('whose run fails run alone, so that one fault fails one item', async () => {
    const { push, runs } = openHeld({ maxRuns: 1 })
    const outcomes = Promise.allSettled(['x', 'a', 'b'].map(push))
    runs[0]?.end()
    await new Promise((resolve) => setImmediate(resolve))
    runs[1]?.end('fault of a')
    await new Promise((resolve) => setImmediate(resolve))
    runs[2]?.end('fault of a')
    await new Promise((resolve) => setImmediate(resolve))
    runs[3]?.end()
    expect(runs.map(({ items }) => items)).toEqual([['x'], ['a', 'b'], ['a'], ['b']])
    expect((await outcomes).map((one) => ('reason' in one ? one.reason : one.value))).toEqual([
      'x!',
      'fault of a',
      'b!',
    ])
  })

  it('whose run meets an outage all fail, and later ones run', async () => {
    const { push, runs } = openHeld({ maxRuns: 1 })
    const outcomes = Promise.allSettled(['x', 'a', 'b'].map(push))
    runs[0]?.end()
    await new Promise((resolve) => setImmediate(resolve))
    runs[1]?.end('outage')
    expect((await outcomes).map(({ status }) => status)).toEqual([
      'fulfilled',
      'rejected',
      'rejected',
    ])
    const later = push('c')
    await endAll(runs.slice(2))
    expect(await later).toBe('c!')
  })
})
