import { releaseMemory } from '../../src/node/memory.ts'

/**
 * Loaded into a service process ahead of its entry: its clock stands where the test puts it, it collects garbage when told to, and it
 * ends with the test.
 */
const tick = Date.now
let standing: number | undefined
Date.now = () => standing ?? tick()

process.on('message', ({ now, collects }: { now?: number | null; collects?: true }) => {
  if (collects === true) releaseMemory()
  else standing = now ?? undefined
  const { heapUsed, external } = process.memoryUsage()
  process.send?.({ now, liveBytes: heapUsed + external })
})
process.once('disconnect', () => process.exit(0))
process.channel?.unref()
