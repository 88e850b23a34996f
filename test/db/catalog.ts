import { sql } from 'drizzle-orm'
import { type Database, rows } from '../../src/db/database.ts'

/** Everything that a database says of the tables in `public`: columns, constraints and indexes, a line each. */
export async function catalogOf(db: Database): Promise<string[]> {
  const found = await rows<{ line: string }>(
    db,
    sql`
      SELECT format('%s.%s %s %s default %s', c.relname, a.attname, format_type(a.atttypid, a.atttypmod),
        CASE WHEN a.attnotnull THEN 'not null' ELSE 'null' END, pg_get_expr(d.adbin, d.adrelid)) AS line
      FROM pg_attribute a
      JOIN pg_class c ON c.oid = a.attrelid AND c.relkind = 'r'
      LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
      WHERE c.relnamespace = 'public'::regnamespace AND a.attnum > 0 AND NOT a.attisdropped
      UNION ALL
      SELECT format('%s: %s %s', conrelid::regclass, conname, pg_get_constraintdef(oid))
      FROM pg_constraint WHERE connamespace = 'public'::regnamespace AND contype <> 'n'
      UNION ALL
      SELECT indexdef FROM pg_indexes WHERE schemaname = 'public'
    `,
  )
  return found.map(({ line }) => line).sort()
}
