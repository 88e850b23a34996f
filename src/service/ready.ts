import { sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import type { World } from '../world.ts'

/** Asks database and chain. Throws when the database cannot answer. */
export async function isReady({ db, chain }: World): Promise<boolean> {
  await rows(db, sql`SELECT 1 AS one`)
  return chain.isReachable()
}
