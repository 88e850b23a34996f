/** Loaded into a service process ahead of its entry: its clock stands where the test puts it, and it ends with the test. */
const tick = Date.now
let standing: number | undefined
Date.now = () => standing ?? tick()

process.on('message', ({ now }: { now: number | null }) => {
  standing = now ?? undefined
  process.send?.({ now })
})
process.once('disconnect', () => process.exit(0))
process.channel?.unref()
