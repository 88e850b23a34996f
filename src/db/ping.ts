import { sql } from 'drizzle-orm'
import { type Database, rows } from './database.ts'
import { STEPS_TABLE } from './distribution.ts'
import { milliseconds } from './time.ts'

/** What the database says of itself. */
export interface Ping {
  /** Postgres' time, in milliseconds since 1970. */
  now: number
  /** The oldest release that may run on the database. */
  oldest: number
  /** Whether its tables are distributed, or are being distributed. */
  isDistributed: boolean
}

/**
 * Resolves when the database can be written to, and rejects when it cannot. The UPDATE changes nothing, on one shard: where the session or
 * the server is read-only it is refused, and the pool replaces the session. The message in the log makes the commit one that
 * waits, as those of requests do, for the disk and for synchronous standbys.
 */
export async function pingDatabase(db: Database): Promise<Ping> {
  const [ping] = await rows<Ping>(
    db,
    sql`WITH written AS (UPDATE wallets SET address = address WHERE address = '' AND shard = 0)
      SELECT ${milliseconds(sql`clock_timestamp()`)} AS now,
        coalesce((SELECT oldest FROM latchkey_releases ORDER BY release DESC LIMIT 1), 0) AS oldest,
        to_regclass(${STEPS_TABLE}) IS NOT NULL AS "isDistributed",
        pg_logical_emit_message(true, 'latchkey', '') IS NULL AS waits`,
  )
  return ping as Ping
}
