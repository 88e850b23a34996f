import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from './database.ts'
import type { DISTRIBUTED_TABLES } from './distribution.ts'
import { type Distribution, inShardsSql, splitByGroup } from './distribution.ts'

/*
 * Deletion of rows whose time is over. A pass reads one page of them by an index, however many there are, and deletes those of the page
 * that still are over and that no transaction holds. Any number of processes may do so at once.
 */

/** Rows that one pass deletes, at most. */
export const FORGET_PAGE = 1_000

export interface ForgetServices {
  db: Database
  distribution?: Distribution | undefined
}

/** Rows of a table that are deleted once they are over. */
export interface OverRows {
  table: (typeof DISTRIBUTED_TABLES)[number]
  /** The primary key without the shard: its columns with their types. */
  key: Readonly<Record<string, string>>
  /** What an index has in its order: the rows that are over come first. */
  by: SQL
  /**
   * Whether a row is over, by a range of `by`. Its bound is a parameter: an index is no use for one that reads a clock, because Postgres
   * then reads the clock again for each row.
   */
  isOver: SQL
  /** A guard beside it, which the deletion has and the search has not. */
  guard?: SQL
}

/** Deletes a page of rows that are over. Resolves to whether no more are left, but for those that other transactions hold. */
export async function forgetRows(services: ForgetServices, over: OverRows): Promise<boolean> {
  return forgetPage(services, over, (given, inShards) => deletionOf(over, given, inShards))
}

/** The statement that deletes the rows of a page, given as a JSON array, in shards of one group. It returns a row for each. */
type Deletion = (given: SQL, inShards: (table: string) => SQL) => SQL

/** As `forgetRows`, by a statement that deletes what belongs to the rows, too. */
export async function forgetPage(
  { db, distribution }: ForgetServices,
  { table, key, by, isOver }: OverRows,
  deletion: Deletion,
): Promise<boolean> {
  const page = await rows<{ shard: number; text: string }>(
    db,
    sql`SELECT shard, json_build_object(${pairsOf(key)})::text AS text FROM ${sql.raw(table)}
      WHERE ${isOver} ORDER BY ${by} LIMIT ${FORGET_PAGE}::int`,
  )
  if (page.length === 0) return true
  let deleted = 0
  for (const group of splitByGroup(distribution, page, ({ shard }) => shard)) {
    const given = `[${group.map(({ text }) => text).join(',')}]`
    const inShards = inShardsSql(
      distribution,
      group.map(({ shard }) => shard),
    )
    deleted += (await rows(db, deletion(givenSql(key, given), inShards))).length
  }
  return page.length < FORGET_PAGE || deleted === 0
}

function pairsOf(key: OverRows['key']): SQL {
  return sql.raw(
    Object.keys(key)
      .map((column) => `'${column}', "${column}"`)
      .join(', '),
  )
}

function givenSql(key: OverRows['key'], given: string): SQL {
  const columns = Object.entries(key).map(([column, type]) => `"${column}" ${type}`)
  return sql`jsonb_to_recordset(${given}::text::jsonb) AS given (${sql.raw(columns.join(', '))})`
}

/** Where a row is one that was given. */
export function isGivenSql({ key }: Pick<OverRows, 'key'>, table: string, given: string): SQL {
  const columns = Object.keys(key).map((column) => `${table}."${column}" = ${given}."${column}"`)
  return sql.raw(columns.join(' AND '))
}

/**
 * Locks the rows that were given, are over and are free, each looked up by its key. A row that another transaction holds is changing, or
 * is being deleted already.
 */
export function freeSql(over: OverRows, given: SQL, inShards: (table: string) => SQL): SQL {
  const { table, isOver, guard = sql`true` } = over
  return sql`SELECT free.* FROM ${given} CROSS JOIN LATERAL (
      SELECT * FROM ${sql.raw(table)} WHERE ${isGivenSql(over, table, 'given')} AND ${isOver} AND ${guard}${inShards(table)}
      LIMIT 1 FOR UPDATE SKIP LOCKED
    ) AS free`
}

function deletionOf(over: OverRows, given: SQL, inShards: (table: string) => SQL): SQL {
  return sql`WITH old AS MATERIALIZED (${freeSql(over, given, inShards)})
    DELETE FROM ${sql.raw(over.table)} AS stored USING old WHERE ${isGivenSql(over, 'stored', 'old')}${inShards('stored')} RETURNING 1`
}
