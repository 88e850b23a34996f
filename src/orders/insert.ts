import { getTableColumns, type SQL, sql } from 'drizzle-orm'
import { openBatches } from '../batches.ts'
import { toHex } from '../crypto/bytes.ts'
import { type Database, isDeadlock, isOutage } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import { insertOrderEvent } from '../db/order-event.ts'
import type { OrderRow } from '../db/order-row.ts'
import { orders } from '../db/schema.ts'
import { statement } from '../db/statement.ts'
import { isSuspendedSql } from '../db/wallet-lock.ts'
import { countCreated } from '../gate/counters.ts'
import { ok, type Result, refuse } from '../result.ts'
import { isArchivedSql } from './archived.ts'

/** Columns that only later events of an order set. A new order has their defaults. */
const SET_LATER = [
  'status',
  'cancelledAt',
  'executedAt',
  'failedAt',
  'failureReason',
  'txid',
  'blockHeight',
  'confirmedAt',
  'amountOut',
  'disclosedAt',
  'burnRequestedAt',
  'uuidUsedAt',
] as const satisfies (keyof OrderRow)[]

/** What a new order is inserted with. */
export type NewRow = Omit<OrderRow, (typeof SET_LATER)[number] | 'sequence'>

export type InsertResult = Result<OrderRow, 'orderConflict' | 'walletSuspended'>

/** Inserts an order, its first event and the success of the key that sent it. */
export type InsertOrder = (row: NewRow) => Promise<InsertResult>

const MAX_BATCH = 100
/** More in flight would share the connections of the pool with the gate, whose statements come first. */
const MAX_IN_FLIGHT = 3

/**
 * Inserts orders that arrive together in one statement, so that they share its round trip and its commit. Where tables are
 * distributed, those of a group of shards share one.
 */
export function openInserts(db: Database, distribution?: Distribution): InsertOrder {
  const { groupOf } = distribution ?? {}
  return openBatches(
    {
      maxItems: MAX_BATCH,
      maxRuns: MAX_IN_FLIGHT,
      nameOf: ({ uuid }) => uuid,
      ...(groupOf !== undefined && { groupOf: ({ shard }: NewRow) => groupOf(shard) }),
      isShared: (error) => isOutage(error) && !isDeadlock(error),
    },
    (rows) => insertOrders(db, rows, distribution !== undefined),
  )
}

/** As `InsertOrder`, in a transaction. */
export async function insertAlone(
  tx: Database,
  row: NewRow,
  distribution: Distribution | undefined,
): Promise<InsertResult> {
  const [result] = await insertOrders(tx, [row], distribution !== undefined)
  return result as InsertResult
}

/** As `InsertOrder`, for orders with distinct uuids, in one statement. */
async function insertOrders(
  db: Database,
  newRows: readonly NewRow[],
  isDistributed: boolean,
): Promise<InsertResult[]> {
  const orders = JSON.stringify(newRows.map(jsonOf))
  const shards = `{${newRows.map(({ shard }) => shard).join(',')}}`
  const found = isDistributed
    ? await insertInShards(db, { orders, shards })
    : await insertAnywhere(db, { orders })
  const outcomeOf = new Map(found.map((one) => [one.uuid, one]))
  return newRows.map((row) => {
    const outcome = outcomeOf.get(row.uuid)
    if (outcome?.suspended) return refuse('walletSuspended')
    return outcome?.sequence == null
      ? refuse('orderConflict')
      : ok({ ...DEFAULTS, ...row, sequence: Number(outcome.sequence) })
  })
}

const COLUMNS = getTableColumns(orders)

const DEFAULTS = Object.fromEntries(
  SET_LATER.map((name) => [name, COLUMNS[name].default ?? null]),
) as Pick<OrderRow, (typeof SET_LATER)[number]>

const INSERTED = Object.entries(COLUMNS).filter(
  ([name]) => name !== 'sequence' && !(name in DEFAULTS),
) as [keyof NewRow, (typeof COLUMNS)[keyof typeof COLUMNS]][]

/** A new order as the record that the statement reads. */
function jsonOf(row: NewRow): Record<string, unknown> {
  const record: Record<string, unknown> = {}
  for (const [name, column] of INSERTED) {
    const value = row[name]
    record[column.name] = value instanceof Uint8Array ? `\\x${toHex(value)}` : value
  }
  return record
}

interface Inserted {
  uuid: string
  sequence: string | null
  suspended: boolean
}

const insertAnywhere = statement<Inserted, { orders: string }>('insert_orders', () =>
  insertSql(() => sql``),
)
/** Of orders of shards that one node keeps. */
const insertInShards = statement<Inserted, { orders: string; shards: string }>(
  'insert_orders_in_shards',
  () =>
    insertSql(
      (table) => sql` AND ${sql.raw(table)}.shard = ANY (${sql.placeholder('shards')}::int[])`,
    ),
)

function insertSql(inShards: (table: string) => SQL): SQL {
  const names = sql.raw(INSERTED.map(([, { name }]) => name).join(', '))
  const types = INSERTED.map(([, column]) => `${column.name} ${column.getSQLType()}`)
  // In the order of their uuids: two statements that insert the same orders wait for each other in one direction only.
  return sql`
    WITH sent AS (
      SELECT *, ${isSuspendedSql(sql`owner`)} AS suspended, ${isArchivedSql(sql`sent.uuid`, inShards)} AS archived
      FROM json_to_recordset(${sql.placeholder('orders')}::text::json) AS sent (${sql.raw(types.join(', '))})
    ), inserted AS (
      INSERT INTO orders (${names}) SELECT ${names} FROM sent WHERE NOT suspended AND NOT archived ORDER BY uuid
      ON CONFLICT DO NOTHING RETURNING uuid, shard, sequence, status, created_by, created_at
    ), event AS (${insertOrderEvent(sql`inserted`, sql`created_at`)}),
    counted AS (${countCreated(sql`inserted`, inShards)})
    SELECT sent.uuid, sequence::text, suspended FROM sent LEFT JOIN inserted ON inserted.uuid = sent.uuid`
}
