import { sql } from 'drizzle-orm'
import { type Database, rows } from './database.ts'
import { type DatabaseClock, later } from './time.ts'

export interface LeaseServices {
  db: Database
  databaseTime: DatabaseClock
}

/**
 * Leases names to a holder: those that no other holder has, or had until now. It also extends the holder's own. Resolves to the names
 * that the holder has now. Names are taken in their order, so that two processes cannot deadlock.
 */
export async function takeLeases(
  { db, databaseTime }: LeaseServices,
  names: readonly string[],
  holder: string,
  leaseMs: number,
): Promise<string[]> {
  if (names.length === 0) return []
  const at = databaseTime()
  // A list of rows: Citus runs a SELECT apart from its INSERT, whose ON CONFLICT then has no parameters.
  const wanted = names.toSorted().map((name) => sql`(${name}, ${holder}, ${later(at, leaseMs)})`)
  const taken = await rows<{ name: string }>(
    db,
    sql`INSERT INTO leases (name, holder, until) VALUES ${sql.join(wanted, sql`, `)}
      ON CONFLICT ON CONSTRAINT leases_pkey DO UPDATE SET holder = excluded.holder, until = excluded.until
        WHERE leases.holder = excluded.holder OR leases.until <= ${at}
      RETURNING name`,
  )
  return taken.map(({ name }) => name)
}

/** Ends leases of a holder before their time. */
export async function releaseLeases(
  { db }: Pick<LeaseServices, 'db'>,
  names: readonly string[],
  holder: string,
): Promise<void> {
  if (names.length === 0) return
  await rows(
    db,
    sql`DELETE FROM leases WHERE holder = ${holder} AND name IN (
      SELECT name FROM leases WHERE name = ANY (${list(names)}::text::text[]) ORDER BY name FOR UPDATE)`,
  )
}

/** An array literal of names, which have neither quotes nor commas. */
function list(names: readonly string[]): string {
  return `{${names.join(',')}}`
}
