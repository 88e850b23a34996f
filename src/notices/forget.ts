import { sql } from 'drizzle-orm'
import {
  type ForgetServices,
  forgetPage,
  freeSql,
  isGivenSql,
  type OverRows,
} from '../db/forget.ts'
import { timestamptz } from '../db/time.ts'

const DAY_MS = 86_400_000

/** Deletes a page of the notices that are old, with their deliveries. Resolves to whether no more are left. */
export function forgetOldNotices(
  services: ForgetServices & { config: { NOTICE_RETENTION_DAYS: number } },
  now: number,
): Promise<boolean> {
  const notices: OverRows = {
    table: 'notices',
    key: { id: 'text' },
    by: sql`at`,
    isOver: sql`at < ${timestamptz(now - services.config.NOTICE_RETENTION_DAYS * DAY_MS)}`,
  }
  return forgetPage(
    services,
    notices,
    (given, inShards) => sql`WITH old AS MATERIALIZED (${freeSql(notices, given, inShards)}),
      undelivered AS (
        DELETE FROM deliveries USING old WHERE notice_id = old.id${inShards('deliveries')}
      )
      DELETE FROM notices AS stored USING old WHERE ${isGivenSql(notices, 'stored', 'old')}${inShards('stored')} RETURNING 1`,
  )
}
