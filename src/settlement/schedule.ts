/** How long a sender has before the reconciler sends the same bytes: longer than the node may take to answer. */
export function sendLeaseMs(nodeTimeoutMs: number): number {
  return nodeTimeoutMs + nodeTimeoutMs / 2
}

/** Longest time between two looks at what is under way. */
const SLOWEST_LOOK_MS = 60_000
/** Longest time between two looks at what is mined, and for how long it is looked at: Stacks forks with Bitcoin. */
const SLOWEST_WATCH_MS = 3_600_000
const WATCHED_MS = 86_400_000

/** How many looks in a row, and for how long, before a transaction that nobody has is given up. */
export const GIVE_UP_AFTER = { misses: 6, ms: 600_000 }
/** How many looks in a row before a block that nobody knows of counts as gone. */
export const ORPHANED_AFTER_NOT_FOUND = 3

/** When to look again at a transaction that is under way: twice as long after each look. */
export function nextAttempt(now: number, looks: number, firstMs: number): number {
  return now + Math.min(firstMs * 2 ** Math.min(looks, 20), SLOWEST_LOOK_MS)
}

/** When to look again at a transaction whose order has ended; undefined when nothing will change any more. */
export function nextConfirmationCheck(
  now: number,
  minedAt: number,
  looks: number,
  firstMs: number,
): number | undefined {
  if (now - minedAt > WATCHED_MS) return undefined
  return now + Math.min(firstMs * 2 ** Math.min(looks + 2, 20), SLOWEST_WATCH_MS)
}
