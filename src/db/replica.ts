import { sql } from 'drizzle-orm'
import { type Database, messageOf, rows } from './database.ts'

/**
 * Where reads may go that no decision follows from. What a replica has is as old as its lag says: everything that was committed on the
 * primary longer ago is in there.
 */
export interface Replica {
  /**
   * Runs reads in one snapshot of the replica. Undefined where it does not respond, lags beyond the setting, follows another
   * primary, or the work itself resolves to undefined: the primary must be read then.
   */
  read<T>(
    work: (db: Database) => Promise<T | undefined>,
  ): Promise<{ value: T; lagMs: number } | undefined>
  /** Reads how far the primary has written, by which the lag is measured. */
  sample(): Promise<void>
  close(): Promise<void>
}

export interface ReplicaOptions {
  primary: Database
  /** Opens the replica; called again after a pause when it rejects. */
  open: () => Promise<{ db: Database; close: () => Promise<void> }>
  maxLagMs: number
  /** Milliseconds since any moment, by a clock that nothing sets. */
  elapsed: () => number
  /** Receives each change; `fault` is why the primary is read in its place. */
  onChange?: (change: 'replica_read' | 'replica_not_read', fault?: string) => void
}

/** How far the primary had written its log, at least, at a time. */
interface Sample {
  at: number
  system: string
  timeline: number
  /** In bytes. */
  position: number
}

interface Replayed extends Omit<Sample, 'at'> {
  isStandby: boolean
}

const SAMPLE_MS = 1_000
const REOPEN_MS = 5_000
const TOO_OLD = 'it lags too much, or is no standby of the primary'

const bytes = (position: string) => sql.raw(`(${position} - '0/0'::pg_lsn)::float8`)
const SYSTEM = sql.raw('(SELECT system_identifier::text FROM pg_control_system())')

/**
 * Opens reads on a replica. Its lag is not the age of the last transaction that it has replayed, which grows while nothing is written, nor
 * what it has received, which stands still where it has lost its primary: the positions of the primary at known times are
 * compared with what was replayed. They compare on one timeline only; a replica's control file names the one that it follows, after a
 * failover from its next restartpoint on.
 */
export function openReplica({
  primary,
  open,
  maxLagMs,
  elapsed,
  onChange = () => {},
}: ReplicaOptions): Replica {
  /** Oldest first. */
  let samples: Sample[] = []
  let sampling: Promise<void> | undefined
  let opened: ReturnType<typeof open> | undefined
  let reopenAt = 0
  let isRead: boolean | undefined

  function sample(): Promise<void> {
    sampling ??= takeSample().finally(() => {
      sampling = undefined
    })
    return sampling
  }

  async function takeSample(): Promise<void> {
    // Before the statement: what was committed until then is below the position that it returns.
    const at = elapsed()
    const [found] = await rows<Omit<Sample, 'at' | 'timeline'> & { timeline: string }>(
      primary,
      sql`SELECT ${SYSTEM} AS system, left(pg_walfile_name(pg_current_wal_insert_lsn()), 8) AS timeline,
        ${bytes('pg_current_wal_insert_lsn()')} AS position`,
    )
    if (found === undefined) return
    const taken = { ...found, at, timeline: Number.parseInt(found.timeline, 16) }
    samples = samples.filter(
      (one) => one.timeline === taken.timeline && at - one.at <= maxLagMs + SAMPLE_MS,
    )
    samples.push(taken)
  }

  function openOnce(): ReturnType<typeof open> | undefined {
    if (opened !== undefined) return opened
    if (elapsed() < reopenAt) return undefined
    opened = open()
    opened.catch(() => {
      opened = undefined
      reopenAt = elapsed() + REOPEN_MS
    })
    return opened
  }

  /** When the newest sample was taken that the replica has replayed; undefined when none was. */
  function replayedAt({ isStandby, system, timeline, position }: Replayed): number | undefined {
    if (!isStandby) return undefined
    return samples.findLast(
      (one) => one.system === system && one.timeline === timeline && one.position <= position,
    )?.at
  }

  async function readOnce<T>(work: (db: Database) => Promise<T | undefined>) {
    const isDue = elapsed() - (samples.at(-1)?.at ?? Number.NEGATIVE_INFINITY) >= SAMPLE_MS
    // Without the primary the samples before tell how old the replica may be.
    if (isDue) await sample().catch(() => {})
    const replica = await openOnce()
    if (replica === undefined) return undefined
    return replica.db.transaction(
      async (tx) => {
        const [replayed] = await rows<Replayed>(
          tx,
          sql`SELECT pg_is_in_recovery() AS "isStandby", ${SYSTEM} AS system,
            (SELECT timeline_id FROM pg_control_checkpoint()) AS timeline,
            coalesce(${bytes('pg_last_wal_replay_lsn()')}, 0) AS position`,
        )
        const at = replayed && replayedAt(replayed)
        if (at === undefined || elapsed() - at > maxLagMs) throw new Error(TOO_OLD)
        note(true)
        const value = await work(tx)
        return value === undefined ? undefined : { value, lagMs: elapsed() - at }
      },
      { isolationLevel: 'repeatable read', accessMode: 'read only' },
    )
  }

  function note(reads: boolean, fault?: string): void {
    if (reads === isRead) return
    isRead = reads
    onChange(reads ? 'replica_read' : 'replica_not_read', fault)
  }

  return {
    read: (work) =>
      readOnce(work).catch((error: unknown) => {
        note(false, messageOf(error))
        return undefined
      }),
    sample,
    async close() {
      await (await opened?.catch(() => undefined))?.close()
    },
  }
}
