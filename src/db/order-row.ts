import { getTableColumns, type SQL, sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { orders } from './schema.ts'

/** An order as it is stored. */
export type OrderRow = typeof orders.$inferSelect

const COLUMNS = Object.entries(getTableColumns(orders))

/** A row of orders as jsonb, for `orderOfJson`. Amounts are text: a JSON number would not be exact. */
export function orderJson(table: SQL): SQL {
  return sql`to_jsonb(${table}) || jsonb_build_object('amount_in', amount_in::text, 'amount_out', amount_out::text)`
}

/** Parses a row that was selected with `orderJson`; bytea is `\x` and hexadecimal digits. */
export function orderOfJson(json: Record<string, unknown>): OrderRow {
  return Object.fromEntries(
    COLUMNS.map(([name, column]) => {
      const value = json[column.name]
      if (value === null || value === undefined) return [name, null]
      if (column.getSQLType() === 'bytea') return [name, fromHex(String(value).slice(2))]
      return [name, column.mapFromDriverValue(value)]
    }),
  ) as OrderRow
}
