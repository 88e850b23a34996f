import { describe, expect, it } from 'vitest'
import { openPace } from '../../src/gate/pace.ts'

/** Runs a database that decides so many requests a millisecond with each number of statements, and returns where it settles. */
function settle(rateWith: (statements: number) => number, { from = 2, ms = 60_000, max = 4 } = {}) {
  const pace = openPace(max, from)
  const lasted = new Map<number, number>()
  for (let at = 0; at < ms; at += 5) {
    const statements = pace.most()
    if (at > ms / 2) lasted.set(statements, (lasted.get(statements) ?? 0) + 1)
    pace.decided(rateWith(statements) * 5, at, true)
  }
  return [...lasted].toSorted(([, one], [, other]) => other - one)[0]?.[0]
}

describe('the number of statements under way', () => {
  it.each([1, 2, 3, 4])('is 1, from %i, where more of them decide no more requests', (from) => {
    expect(settle(() => 20, { from })).toBe(1)
    expect(settle((statements) => 20 - statements, { from })).toBe(1)
  })

  it.each([1, 2, 3, 4])('is the most, from %i, where each waits for a disk', (from) => {
    expect(settle((statements) => 5 * statements, { from })).toBe(4)
  })

  it.each([1, 2, 3, 4])('is the best one, from %i, where too many are slower again', (from) => {
    expect(settle((statements) => [0, 10, 14, 18, 15][statements] ?? 0, { from })).toBe(3)
  })

  it('is 1 where more of them decide no more, though other programs make each round differ by half', () => {
    let seed = 1
    const random = () => {
      seed = (seed * 48_271) % 2_147_483_647
      return seed / 2_147_483_647
    }
    let factor = 1
    const rateWith = () => {
      if (random() < 0.05) factor = 0.75 + random() / 2
      return 20 * factor
    }
    for (const from of [1, 2, 3, 4]) expect(settle(rateWith, { from, ms: 120_000 })).toBe(1)
  })

  it('follows a database that becomes another one', () => {
    const pace = openPace(4, 1)
    const chosen: number[] = []
    for (let at = 0; at < 120_000; at += 5) {
      const rate = at < 60_000 ? 5 * pace.most() : 20 - pace.most()
      if (at === 59_000 || at === 119_000) chosen.push(pace.most())
      pace.decided(rate * 5, at, true)
    }
    expect(chosen[0]).toBeGreaterThanOrEqual(3)
    expect(chosen[1]).toBeLessThanOrEqual(2)
  })

  it('stays where it is while nothing waits, or while the clock stands still', () => {
    const pace = openPace(4)
    for (let at = 0; at < 60_000; at += 5) pace.decided(pace.most() * 5, at, false)
    for (let turn = 0; turn < 10_000; turn++) pace.decided(pace.most() * 5, 60_000, true)
    expect(pace.most()).toBe(1)
  })

  it('is never below one or above its most', () => {
    const pace = openPace(3)
    for (let at = 0; at < 60_000; at += 5) {
      expect([1, 2, 3]).toContain(pace.most())
      pace.decided(Math.random() * 100, at, true)
    }
  })
})
