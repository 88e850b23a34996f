/** Whether a key is suspended, since when (milliseconds since 1970) and by whom. */
export interface Suspension {
  suspendedAt: number | null
  /** One of `Suspended`; null also in rows of a release that did not store it: there it was the operator. */
  suspendedBy: string | null
}

/** Rules of a key's owner by which the service suspends it, by the names that the owner's messages have for them. */
export const SUSPENDING_RULES = [
  'heartbeat',
  'newAddress',
  'newNetwork',
  'errorRate',
  'requestsPerMinute',
  'spendPerHour',
] as const
export type SuspendingRule = (typeof SUSPENDING_RULES)[number]

export type Suspender = 'owner' | 'operator' | SuspendingRule

/** Who suspended a key. `both` is the operator, and beside it the owner or a rule. */
export type Suspended = 'owner' | 'operator' | 'both' | SuspendingRule

export function isSuspendingRule(name: unknown): name is SuspendingRule {
  return SUSPENDING_RULES.some((rule) => rule === name)
}

/**
 * The suspension after one more suspender. The operator lifts its own, and the owner lifts the others together: of these the row
 * names one, the owner before a rule.
 */
export function suspended(before: Suspension, by: Suspender, at: number): Suspension {
  const { suspendedAt, suspendedBy } = before
  if (suspendedAt === null) return { suspendedAt: at, suspendedBy: by }
  if (by === 'operator') return { suspendedAt, suspendedBy: isByOwner(before) ? 'both' : by }
  if (isByOperator(before)) return { suspendedAt, suspendedBy: 'both' }
  return { suspendedAt, suspendedBy: by === 'owner' ? by : suspendedBy }
}

/** The suspension after a suspender lifted its own; undefined when the operator's stands, which an owner cannot lift. */
export function resumed(before: Suspension, by: 'owner' | 'operator'): Suspension | undefined {
  const { suspendedAt, suspendedBy } = before
  if (by === 'owner' && isByOperator(before)) return undefined
  if (by === 'operator' && isByOwner(before))
    return { suspendedAt, suspendedBy: isByOperator(before) ? 'owner' : suspendedBy }
  return { suspendedAt: null, suspendedBy: null }
}

/** Whether the owner suspended a key, or a rule of the owner did. */
function isByOwner({ suspendedAt, suspendedBy }: Suspension): boolean {
  return suspendedAt !== null && suspendedBy !== null && suspendedBy !== 'operator'
}

function isByOperator({ suspendedAt, suspendedBy }: Suspension): boolean {
  return (
    suspendedAt !== null &&
    (suspendedBy === null || suspendedBy === 'operator' || suspendedBy === 'both')
  )
}
