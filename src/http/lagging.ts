import type { Database } from '../db/database.ts'
import { type AppContext, headerOf, stateOf } from './context.ts'

/** The header of a response that was read from a replica. */
export const REPLICA_LAG = 'X-Replica-Lag'

export interface Lagging<T> {
  value: T
  /** Names the lag where the value may have one. */
  headers: Record<string, string>
}

/**
 * Reads what no decision of the service follows from: from the replica where there is one and it is recent enough, and else from the
 * primary. `no-cache` in the request asks for the primary. With `inSnapshot` all statements see one state of the primary, too; of a
 * replica they always do. `work` resolves to undefined where a replica lacks what it needs.
 */
export async function readLagging<T>(
  c: AppContext,
  work: (db: Database, isReplica: boolean) => Promise<T | undefined>,
  { inSnapshot = false } = {},
): Promise<Lagging<T>> {
  const { db, replica } = stateOf(c).world
  const isFresh = /no-cache/i.test(headerOf(c, 'cache-control') ?? '')
  const read = isFresh ? undefined : await replica?.read((snapshot) => work(snapshot, true))
  if (read !== undefined)
    return { value: read.value, headers: { [REPLICA_LAG]: String(Math.ceil(read.lagMs / 1_000)) } }
  const value = await (inSnapshot
    ? db.transaction((tx) => work(tx, false), { isolationLevel: 'repeatable read' })
    : work(db, false))
  return { value: value as T, headers: {} }
}
