import { getTableColumns } from 'drizzle-orm'
import { fromHex } from '../bytes.ts'
import { orders } from './schema.ts'

/** An order as it is stored. */
export type OrderRow = typeof orders.$inferSelect

const COLUMNS = Object.entries(getTableColumns(orders))

/** Reads an order that came as `to_jsonb(orders)`, in which bytes are `\x` and hexadecimal digits. */
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
