/** Whether a key is suspended, since when (milliseconds since 1970) and by whom. */
export interface Suspension {
  suspendedAt: number | null
  /** `owner`, `operator` or `both`; null also in rows of a release that did not store it: there it was the operator. */
  suspendedBy: string | null
}

export type Suspender = 'owner' | 'operator'

/** The suspension after one more suspender. Owner and operator each have to lift their own. */
export function suspended(before: Suspension, by: Suspender, at: number): Suspension {
  const { suspendedAt } = before
  if (suspendedAt === null) return { suspendedAt: at, suspendedBy: by }
  const others = suspendersOf(before).filter((one) => one !== by)
  return { suspendedAt, suspendedBy: others.length === 0 ? by : 'both' }
}

/** The suspension after a suspender lifted its own; undefined when the operator's stands, which an owner cannot lift. */
export function resumed(before: Suspension, by: Suspender): Suspension | undefined {
  const others = suspendersOf(before).filter((one) => one !== by)
  if (others.includes('operator')) return undefined
  return others.length === 0
    ? { suspendedAt: null, suspendedBy: null }
    : { suspendedAt: before.suspendedAt, suspendedBy: 'owner' }
}

function suspendersOf({ suspendedAt, suspendedBy }: Suspension): Suspender[] {
  if (suspendedAt === null) return []
  if (suspendedBy === 'both') return ['owner', 'operator']
  return [suspendedBy === 'owner' ? 'owner' : 'operator']
}
