import { sql } from 'drizzle-orm'
import { type Database, rows } from './database.ts'

/** Resolves when the database answers; rejects when it does not. */
export async function pingDatabase(db: Database): Promise<void> {
  await rows(db, sql`SELECT 1 AS one`)
}
