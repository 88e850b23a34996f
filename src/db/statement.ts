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

/**
 * A query of drizzle's builders with `sql.placeholder`s, built once for each database: building it takes longer than many a
 * query does.
 */
export function preparedQuery<Prepared>(
  build: (db: Database) => Prepared,
): (db: Database) => Prepared {
  const built = new WeakMap<Database, Prepared>()
  return (db) => {
    const known = built.get(db)
    if (known !== undefined) return known
    const prepared = build(db)
    built.set(db, prepared)
    return prepared
  }
}
