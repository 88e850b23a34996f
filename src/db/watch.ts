import type { Database } from './database.ts'
import { pingDatabase } from './ping.ts'
import { RELEASE } from './release.ts'

/** What a process knows of its database: the time there, and whether the database has changed so that the process must not use it. */
export interface DatabaseWatch {
  /** Postgres' time in milliseconds since 1970, as last read and carried on since; the process's own before that. */
  now(): number
  /** By how much the process's clock is ahead of Postgres', in milliseconds; 0 before the first reading. */
  aheadMs(): number
  /** Whether the two clocks differ by more than a request may take. */
  differs(): boolean
  /**
   * Whether the database was migrated by a release that does not admit this one; or its tables were distributed since the first reading,
   * and then for good: the statements of the process are those for plain tables.
   */
  isSuperseded(): boolean
  read(db: Database): Promise<void>
}

export interface WatchOptions {
  /** The process's own clock, which may jump. */
  ownNow: () => number
  /** Milliseconds since any moment, by a clock that nothing sets. */
  elapsed: () => number
  /** Receives each change. */
  onChange: (
    change: 'clock_differs' | 'clock_agrees' | 'release_superseded' | 'tables_distributed',
    aheadMs: number,
  ) => void
}

const MAX_DIFFERENCE_MS = 2_000
/** Corrections below this are not worth a step. */
const MIN_STEP_MS = 50
/** A reading that took longer says too little about the time. */
const MAX_ROUND_TRIP_MS = 1_000

/**
 * Opens the watch of a database. The time of the service is Postgres': between two readings it advances by a clock that is never
 * set, so that a process whose clock jumps, or is wrong, decides as the others do.
 */
export function openWatch({ ownNow, elapsed, onChange }: WatchOptions): DatabaseWatch {
  /** Postgres' time when `elapsed` was 0. */
  let origin: number | undefined
  let ahead = 0
  let differed = false
  let superseded = false
  /** Whether the tables were distributed at the first reading. */
  let wasDistributed: boolean | undefined
  let isForPlainTables = false

  function compare(read: number): void {
    if (origin === undefined || Math.abs(read - origin) >= MIN_STEP_MS) origin = read
    ahead = Math.round(ownNow() - elapsed() - read)
    const differs = Math.abs(ahead) > MAX_DIFFERENCE_MS
    if (differs !== differed) onChange(differs ? 'clock_differs' : 'clock_agrees', ahead)
    differed = differs
  }

  return {
    now: () => (origin === undefined ? ownNow() : Math.floor(origin + elapsed())),
    aheadMs: () => ahead,
    differs: () => differed,
    isSuperseded: () => superseded || isForPlainTables,
    async read(db) {
      const before = elapsed()
      const { now, oldest, isDistributed } = await pingDatabase(db)
      const after = elapsed()
      if (origin === undefined || after - before <= MAX_ROUND_TRIP_MS)
        compare(now - (before + after) / 2)
      if (oldest > RELEASE && !superseded) onChange('release_superseded', ahead)
      superseded = oldest > RELEASE
      wasDistributed ??= isDistributed
      if (isDistributed && !wasDistributed && !isForPlainTables)
        onChange('tables_distributed', ahead)
      isForPlainTables ||= isDistributed && !wasDistributed
    },
  }
}
