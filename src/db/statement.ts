import type { Query, SQL } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import { type Database, rowsOf } from './database.ts'

/**
 * A hand-written statement whose text is built once, when it is first needed. Its values are `sql.placeholder`s. Building a
 * text with drizzle's templates takes longer than many a statement does.
 */
export function statement<Row, Values extends Record<string, unknown>>(
  name: string,
  build: () => SQL,
): (db: Database, values: Values) => Promise<Row[]> {
  let query: Query | undefined
  return async (db, values) => {
    query ??= new PgDialect().sqlToQuery(build())
    const prepared = db._.session.prepareQuery(query, undefined, name, false)
    return rowsOf<Row>(await prepared.execute(values))
  }
}
