/** The lease of a sender, after which the reconciler sends the same bytes: longer than the node may take to respond. */
export function sendLeaseMs(nodeTimeoutMs: number): number {
  return nodeTimeoutMs + nodeTimeoutMs / 2
}

/** Longest pause between two checks of a pending transaction. */
const MAX_RETRY_PAUSE_MS = 60_000
/** Longest pause between two checks of a mined transaction, and how long it is checked: Stacks forks with Bitcoin. */
const MAX_CONFIRMATION_PAUSE_MS = 3_600_000
const CONFIRMATION_CHECKS_MS = 86_400_000
const MAX_DOUBLINGS = 20

/** A transaction that nodes do not have in so many checks in a row, for as long as a stuck one may wait, is given up. */
export const GIVE_UP_AFTER_NOT_FOUND = 6
/** A mined transaction that is not found in so many checks in a row counts as reorganised. */
export const ORPHANED_AFTER_NOT_FOUND = 3

/** The pause before the next check of a pending transaction: exponential backoff. */
export function retryPauseMs(attempts: number, firstMs: number): number {
  return Math.min(firstMs * 2 ** Math.min(attempts, MAX_DOUBLINGS), MAX_RETRY_PAUSE_MS)
}

/** The pause before the next check of a transaction that has been mined for some time; undefined when it is final. */
export function confirmationPauseMs(
  minedForMs: number,
  attempts: number,
  firstMs: number,
): number | undefined {
  if (minedForMs > CONFIRMATION_CHECKS_MS) return undefined
  return Math.min(firstMs * 2 ** Math.min(attempts + 2, MAX_DOUBLINGS), MAX_CONFIRMATION_PAUSE_MS)
}
