/**
 * The number of this release. It rises with each release whose rows or locks another one does not know, and is recorded in
 * the database when that is migrated. 1 was the release without a record.
 */
export const RELEASE = 2

/** The oldest release that may run on a database that this one has migrated. */
export const OLDEST_RELEASE = 2

/** What is recorded: the release that migrated last, and the oldest one that may run beside it. */
export interface RecordedRelease {
  release: number
  oldest: number
}

/** Why this release must not run on a database; undefined when it may. */
export function releaseProblem({ release, oldest }: RecordedRelease): string | undefined {
  if (oldest <= RELEASE) return undefined
  return `The database was migrated by release ${release}, which runs with release ${oldest} and newer ones only; this is release ${RELEASE}. Start the newer release, or restore a backup from before the migration`
}
