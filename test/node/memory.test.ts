import { execFileSync } from 'node:child_process'
import { expect, it } from 'vitest'

const MEMORY = new URL('../../src/node/memory.ts', import.meta.url).href
/** Writes how long a callback takes in the fastest of many rounds, after a start with some callbacks and perhaps the collection. */
const SCRIPT = `
const { releaseMemory } = await import(${JSON.stringify(MEMORY)})
for (let turn = 0; turn < 100; turn++) await new Promise((done) => process.nextTick(done))
if (process.argv[1] === 'releases') await releaseMemory()
const round = (count) => new Promise((done) => {
  const from = performance.now()
  const next = () => (--count > 0 ? process.nextTick(next) : done(performance.now() - from))
  next()
})
let least = Infinity
for (let turn = 0; turn < 100; turn++) least = Math.min(least, await round(5_000))
console.log(least)`

function fastest(mode: 'releases' | 'keeps'): number {
  const args = ['--input-type=module', '--no-warnings', '-e', SCRIPT, mode]
  return Number(execFileSync(process.execPath, args, { encoding: 'utf8' }))
}

it('is released without making each callback of the event loop ten times as slow', () => {
  expect(fastest('releases')).toBeLessThan(3 * fastest('keeps'))
})
