/** Whether a key is suspended, since when (milliseconds since 1970) and by whom. */
export interface Suspension {
  suspendedAt: number | null
  /** `owner`, `operator` or `both`; null also where an older release did not say: then it was the operator. */
  suspendedBy: string | null
}

export type Suspender = 'owner' | 'operator'

/** What a suspension becomes when one more asks for it: each has to take back his own. */
export function suspended(before: Suspension, by: Suspender, at: number): Suspension {
  const { suspendedAt } = before
  if (suspendedAt === null) return { suspendedAt: at, suspendedBy: by }
  const others = suspendersOf(before).filter((one) => one !== by)
  return { suspendedAt, suspendedBy: others.length === 0 ? by : 'both' }
}

/** What is left of a suspension when one takes back his own; undefined while the operator's stands in an owner's way. */
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
