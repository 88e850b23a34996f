import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import { type DatabaseClock, later } from '../db/time.ts'

/** Notices that one pass deletes, at most. */
const PAGE = 1_000
const DAY_MS = 86_400_000

interface ForgetServices {
  db: Database
  databaseTime: DatabaseClock
  distribution?: Distribution | undefined
  config: { NOTICE_RETENTION_DAYS: number }
}

/** Deletes notices that are old, with their deliveries. Resolves to whether no more are left. */
export async function forgetOldNotices({
  db,
  databaseTime,
  distribution,
  config,
}: ForgetServices): Promise<boolean> {
  const end = later(databaseTime(), -config.NOTICE_RETENTION_DAYS * DAY_MS)
  // Distributed tables have no deliveries, and lock no rows of several shards.
  if (distribution !== undefined) {
    await rows(db, sql`DELETE FROM notices WHERE at < ${end}`)
    return true
  }
  const deleted = await rows(
    db,
    sql`WITH old AS (
        SELECT id FROM notices WHERE at < ${end} ORDER BY at LIMIT ${PAGE}::int FOR UPDATE SKIP LOCKED
      ), undelivered AS (
        DELETE FROM deliveries USING old WHERE notice_id = old.id
      )
      DELETE FROM notices USING old WHERE notices.id = old.id RETURNING 1`,
  )
  return deleted.length < PAGE
}
