/** The lease of a sender, after which the reconciler sends the same bytes: longer than the node may take to respond. */
export function sendLeaseMs(nodeTimeoutMs: number): number {
  return nodeTimeoutMs + nodeTimeoutMs / 2
}

/** Longest pause between two checks of a pending transaction. */
const MAX_ATTEMPT_PAUSE_MS = 60_000
/** Longest pause between two checks of a mined transaction, and how long it is checked: Stacks forks with Bitcoin. */
const MAX_CONFIRMATION_PAUSE_MS = 3_600_000
const CONFIRMATION_CHECKS_MS = 86_400_000

/** A transaction that no node has, in so many checks in a row and for so long, is given up. */
export const GIVE_UP_AFTER = { notFound: 6, ms: 600_000 }
/** A mined transaction that is not found in so many checks in a row counts as reorganised. */
export const ORPHANED_AFTER_NOT_FOUND = 3

/** When to check a pending transaction again: exponential backoff. */
export function nextAttempt(now: number, attempts: number, firstMs: number): number {
  return now + Math.min(firstMs * 2 ** Math.min(attempts, 20), MAX_ATTEMPT_PAUSE_MS)
}

/** When to check a mined transaction again; undefined when it is final. */
export function nextConfirmationCheck(
  now: number,
  minedAt: number,
  attempts: number,
  firstMs: number,
): number | undefined {
  if (now - minedAt > CONFIRMATION_CHECKS_MS) return undefined
  return now + Math.min(firstMs * 2 ** Math.min(attempts + 2, 20), MAX_CONFIRMATION_PAUSE_MS)
}
