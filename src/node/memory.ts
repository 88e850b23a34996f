import { executionAsyncResource } from 'node:async_hooks'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * How much the old generation may grow between two major collections. V8's own choice follows the memory of the machine: it let
 * garbage of a service that keeps little grow to several times what is alive.
 */
const HEAP_GROWTH_PERCENT = 50

/** Objects in which `process.nextTick` queued a callback. */
const kept: object[] = []

/**
 * Returns the memory that loading the program left to the operating system: two thirds of the resident set. V8 would keep
 * it until it needs the pages, which a service that allocates little never does.
 */
export async function releaseMemory(): Promise<void> {
  if (kept.length === 0) kept.push(await queuedTick())
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`)
  setFlagsFromString('--expose-gc')
  const collect: NodeJS.GCFunction = runInNewContext('gc')
  // An ordinary major collection keeps the pages.
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}

/**
 * A collection while no callback is queued also collects the hidden class of such objects. V8's optimised code then builds each
 * later one by calls of its runtime: 1.4 us for a `nextTick` instead of 0.07, and each HTTP response needs four. An object that is
 * alive keeps its class.
 */
function queuedTick(): Promise<object> {
  return new Promise((resolve) => process.nextTick(() => resolve(executionAsyncResource())))
}
