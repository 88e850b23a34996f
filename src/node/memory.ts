import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'

/**
 * Returns the memory that loading the program left to the operating system: two thirds of the resident set. V8 would keep
 * it until it needs the pages, which a service that allocates little never does.
 */
export function releaseMemory(): void {
  setFlagsFromString('--expose-gc')
  const collect: NodeJS.GCFunction = runInNewContext('gc')
  // An ordinary major collection keeps the pages.
  collect({ type: 'major', execution: 'sync', flavor: 'last-resort' })
}
