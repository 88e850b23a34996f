import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * How much the old generation may grow between two major collections. V8's own choice follows the memory of the machine: it let
 * garbage of a service that keeps little grow to several times what is alive.
 */
const HEAP_GROWTH_PERCENT = 50

/**
 * Returns the memory that loading the program left to the operating system: two thirds of the resident set. V8 would keep
 * it until it needs the pages, which a service that allocates little never does.
 */
export function releaseMemory(): void {
  setFlagsFromString(`--heap-growing-percent=${HEAP_GROWTH_PERCENT}`)
  setFlagsFromString('--expose-gc')
  const collect: NodeJS.GCFunction = runInNewContext('gc')
  // An ordinary major collection keeps the pages.
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
