import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { ArchiveState } from '../db/schema.ts'
import { milliseconds, timestamptz } from '../db/time.ts'

/*
 * One archive is open at a time, and one process works on it. Each of its transactions renews the lease first, and so holds the archive's
 * row until it ends: a process that lost the lease changes nothing. A row and not an advisory lock, as src/db/wallet-lock.ts says.
 */

const LEASE = sql`interval '30 seconds'`
/** No message that can be fresh is older than a day, by the largest setting; clocks may differ by no more. */
const YOUNGEST = sql`interval '1 day'`

/** An archive that this process works on. */
export interface Lease {
  number: number
  /** Milliseconds since 1970. */
  before: number
  state: ArchiveState
  holder: string
  /** Hex; null while the file is not verified. */
  digest: string | null
  /** Whether another process had begun it. */
  isResumed: boolean
}

const LEASED = sql`number, (extract(epoch FROM before) * 1000)::float8 AS before, state, holder, encode(digest, 'hex') AS digest`

/** Begins an archive, or goes on with the one that is open; undefined where another process works on it. */
export async function takeLease(
  db: Database,
  before: number,
): Promise<Lease | 'young' | undefined> {
  const [begun] = await rows<Omit<Lease, 'isResumed'>>(
    db,
    sql`INSERT INTO archives (number, before, holder, lease_until)
      SELECT coalesce(max(number), 0) + 1, ${timestamptz(before)}, gen_random_uuid()::text, clock_timestamp() + ${LEASE} FROM archives
      HAVING coalesce(bool_and(state = 'done'), true) AND ${timestamptz(before)} <= clock_timestamp() - ${YOUNGEST}
      ON CONFLICT DO NOTHING RETURNING ${LEASED}`,
  )
  if (begun !== undefined) return { ...begun, isResumed: false }
  const [resumed] = await rows<Omit<Lease, 'isResumed'>>(
    db,
    sql`UPDATE archives SET holder = gen_random_uuid()::text, lease_until = clock_timestamp() + ${LEASE}
      WHERE state <> 'done' AND (lease_until IS NULL OR lease_until < clock_timestamp()) RETURNING ${LEASED}`,
  )
  if (resumed !== undefined) return { ...resumed, isResumed: true }
  const open = await rows(db, sql`SELECT FROM archives WHERE state <> 'done'`)
  return open.length === 0 ? 'young' : undefined
}

/** Whether the session may remove rows from tables that are append-only for every other one. */
export async function ownsTables(db: Database): Promise<boolean> {
  const [found] = await rows<{ owns: boolean }>(
    db,
    sql`SELECT pg_has_role(current_user, (SELECT relowner FROM pg_class WHERE oid = 'audit_events'::regclass), 'USAGE') AS owns`,
  )
  return found?.owns === true
}

/** Renews the lease in a transaction, and holds the archive's row until it ends. Rejects where another process has it. */
export async function renewLease(tx: Database, { number, holder }: Lease): Promise<void> {
  const renewed = await rows(
    tx,
    sql`UPDATE archives SET lease_until = clock_timestamp() + ${LEASE}
      WHERE number = ${number}::int AND holder = ${holder} AND state <> 'done' RETURNING 1`,
  )
  if (renewed.length === 0) throw new Error(`another process has taken over archive ${number}`)
}

/** Gives the lease back, for a repetition that need not wait for its end. */
export async function releaseLease(db: Database, { number, holder }: Lease): Promise<void> {
  await rows(
    db,
    sql`UPDATE archives SET lease_until = NULL WHERE number = ${number}::int AND holder = ${holder}`,
  )
}

/** Records the digest of the verified file, and until when it has usage: from then on rows are removed. */
export async function beginRemoval(
  db: Database,
  lease: Lease,
  digest: string,
  usage: string | undefined,
): Promise<void> {
  await db.transaction(async (tx) => {
    await renewLease(tx, lease)
    await rows(
      tx,
      sql`UPDATE archives SET state = 'removing', digest = decode(${digest}, 'hex'), usage_through = ${usage ?? null}::timestamptz
        WHERE number = ${lease.number}::int`,
    )
  })
}

export async function endArchive(db: Database, lease: Lease): Promise<void> {
  await db.transaction(async (tx) => {
    await renewLease(tx, lease)
    await rows(
      tx,
      sql`UPDATE archives SET state = 'done', holder = NULL, lease_until = NULL WHERE number = ${lease.number}::int`,
    )
  })
}

/** The digest of the archive before; null for the first one. */
export async function previousDigest(db: Database, number: number): Promise<string | null> {
  const [found] = await rows<{ digest: string }>(
    db,
    sql`SELECT encode(digest, 'hex') AS digest FROM archives WHERE number = ${number - 1}::int`,
  )
  return found?.digest ?? null
}

/** Until when the archives ahead of one have usage, in milliseconds since 1970; null where none has. */
export async function usageThrough(db: Database, number: number): Promise<number | null> {
  const [found] = await rows<{ through: number | null }>(
    db,
    sql`SELECT ${milliseconds(sql`max(usage_through)`)} AS through FROM archives WHERE number < ${number}::int`,
  )
  return found?.through ?? null
}

/** An archive as the database has it. */
export interface RecordedArchive {
  number: number
  state: ArchiveState
  /** ISO 8601. */
  before: string
  /** ISO 8601: until when it and those before it have usage; null where it has none. */
  usageThrough: string | null
  digest: string | null
}

/** Lists the archives, oldest first. */
export async function listArchives(db: Database): Promise<RecordedArchive[]> {
  const found = await rows<{
    number: number
    state: ArchiveState
    before: number
    usageThrough: number | null
    digest: string | null
  }>(
    db,
    sql`SELECT number, state, ${milliseconds(sql`before`)} AS before, ${milliseconds(sql`usage_through`)} AS "usageThrough", encode(digest, 'hex') AS digest
      FROM archives ORDER BY number`,
  )
  return found.map(({ before, usageThrough, ...one }) => ({
    ...one,
    before: new Date(before).toISOString(),
    usageThrough: usageThrough === null ? null : new Date(usageThrough).toISOString(),
  }))
}
