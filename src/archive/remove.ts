import { sql } from 'drizzle-orm'
import { archivedAuditText, readArchivedAudit } from '../audit/archived.ts'
import { type Database, isLockTimeout, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { type ArchivedState, startOf } from '../provenance/check.ts'
import { bodyHashOf, openReplay, type Replay } from '../provenance/replay.ts'
import type { ArchiveRow, RowKind } from './format.ts'
import { type Lease, renewLease } from './lease.ts'
import { type EventRow, eventOf, mayLeaveSql, orderGroupSql } from './select.ts'
import type { ArchiveServices } from './services.ts'

/*
 * Removal of what a verified archive has. Each transaction removes a bounded number of rows, and of these the ones that are still what the
 * archive has. It can be stopped at any time and repeated: a row that is gone is passed over, and one that has changed stays.
 */

/** Rows of a transaction. */
const BATCH = 200
const EVENTS = 500
const ORDERS = 50
/** How long an insert may be kept waiting while a removal waits for those ahead of it. */
const BARRIER_MS = 300
const MAX_BARRIERS = 200

/** How many rows were removed. */
export type Removed = Partial<Record<RowKind, number>>

/** Removes the rows of an archive, in their order. `close` removes the rest. */
export interface Removal {
  take(row: ArchiveRow): Promise<void>
  close(): Promise<void>
}

/** Stores the uuids of the orders of an archive, which stay used for ever. */
export function storeUuids({ db }: ArchiveServices, lease: Lease): Removal {
  return inBatches(
    BATCH,
    async (texts) => {
      const orders = texts.map((text) => JSON.parse(text).order as { uuid: string; shard: number })
      const given = JSON.stringify(orders.map(({ uuid, shard }) => ({ uuid, shard })))
      await db.transaction(async (tx) => {
        await renewLease(tx, lease)
        await rows(
          tx,
          sql`INSERT INTO archived_orders (uuid, shard, archive)
          SELECT uuid, shard, ${lease.number}::int FROM jsonb_to_recordset(${given}::text::jsonb) AS given (uuid text, shard int)
          ORDER BY uuid
          ON CONFLICT ON CONSTRAINT archived_orders_pkey DO UPDATE SET archive = excluded.archive`,
        )
      })
    },
    'order',
  )
}

/**
 * Waits until every transaction has ended that writes a table and may have begun before this one: none is left that cannot see the uuids
 * and the archive that were stored before. An insert with an older snapshot would wait for the removal of its order and then find no
 * conflict. Locks are taken before a snapshot is, so a lock that no writer shares is proof.
 */
export async function passBarrier(db: Database, table: 'orders' | 'signed_actions'): Promise<void> {
  for (let attempt = 1; ; attempt++) {
    try {
      await db.transaction(async (tx) => {
        await rows(tx, sql.raw(`SET LOCAL lock_timeout = ${BARRIER_MS}`))
        await rows(tx, sql.raw(`LOCK TABLE ${table} IN SHARE MODE`))
      })
      return
    } catch (error) {
      if (!isLockTimeout(error) || attempt === MAX_BARRIERS) throw error
    }
    // The database waits: this room has no timer. The writers that queued meanwhile go ahead.
    await rows(db, sql`SELECT pg_sleep(0.1)`)
  }
}

/** Removes sessions, events with their messages, other messages, and orders. */
export function removeRows(services: ArchiveServices, lease: Lease, removed: Removed): Removal {
  const count = (kind: RowKind, rows: number) => {
    removed[kind] = (removed[kind] ?? 0) + rows
  }
  const parts: readonly Removal[] = [
    inBatches(
      BATCH,
      async (texts) => count('session', await removePlain(services, lease, 'sessions', texts)),
      'session',
    ),
    removeEvents(services, lease, (rows) => count('event', rows)),
    inBatches(
      BATCH,
      async (texts) => count('action', await removeActions(services, lease, texts)),
      'action',
    ),
    inBatches(
      ORDERS,
      async (texts) => count('order', await removeOrders(services, lease, texts)),
      'order',
    ),
  ]
  return {
    async take(row) {
      for (const part of parts) await part.take(row)
    },
    async close() {
      for (const part of parts) await part.close()
    },
  }
}

/** Gathers the rows of a kind; those of another kind end a batch, so that kinds are removed in the order of the archive. */
function inBatches(
  most: number,
  remove: (texts: readonly string[]) => Promise<void>,
  kind: RowKind,
): Removal {
  let texts: string[] = []
  const close = async () => {
    const batch = texts
    texts = []
    if (batch.length > 0) await remove(batch)
  }
  return {
    close,
    async take(row) {
      if (row.kind === kind) texts.push(row.text)
      if (row.kind !== kind || texts.length === most) await close()
    },
  }
}

/** A JSON array of texts that are JSON. A number in them has more digits than JavaScript's have. */
function arrayOf(texts: readonly string[]): string {
  return `[${texts.join(',')}]`
}

/** One transaction of a removal, whose tables let rows go. */
function inRemoval<T>(
  { db }: ArchiveServices,
  lease: Lease,
  work: (tx: Database) => Promise<T>,
): Promise<T> {
  return db.transaction(async (tx) => {
    await renewLease(tx, lease)
    await rows(tx, sql`SELECT set_config('latchkey.archiving', 'on', true)`)
    return work(tx)
  })
}

function removePlain(
  services: ArchiveServices,
  lease: Lease,
  table: 'sessions',
  texts: readonly string[],
): Promise<number> {
  return inRemoval(services, lease, async (tx) => {
    const gone = await rows(
      tx,
      sql`DELETE FROM ${sql.raw(table)} AS stored USING jsonb_array_elements(${arrayOf(texts)}::text::jsonb) AS line
        WHERE stored.id = line ->> 'id' AND stored.shard = (line ->> 'shard')::int AND to_jsonb(stored) = line RETURNING 1`,
    )
    return gone.length
  })
}

function removeActions(
  services: ArchiveServices,
  lease: Lease,
  texts: readonly string[],
): Promise<number> {
  return inRemoval(services, lease, (tx) => deleteActions(tx, texts))
}

/** Deletes used messages that nothing names any more. One that grants a key stays as long as the key's row. */
async function deleteActions(tx: Database, texts: readonly string[]): Promise<number> {
  const gone = await rows(
    tx,
    sql`DELETE FROM signed_actions AS stored USING jsonb_array_elements(${arrayOf(texts)}::text::jsonb) AS line
      WHERE stored.id = (line ->> 'id')::bigint AND stored.shard = (line ->> 'shard')::int AND to_jsonb(stored) = line
        AND NOT EXISTS (SELECT FROM api_keys AS granted WHERE granted.grant_id = stored.id AND granted.shard = stored.shard)
        AND NOT EXISTS (SELECT FROM sessions AS granted WHERE granted.grant_id = stored.id AND granted.shard = stored.shard)
        AND NOT EXISTS (SELECT FROM audit_events AS event WHERE event.action_id = stored.id AND event.shard = stored.shard)
      RETURNING 1`,
  )
  return gone.length
}

/** The events of one wallet, which are removed together with the record of what they were. */
interface EventBatch {
  walletAddress: string
  rows: EventRow[]
  texts: string[]
}

function removeEvents(
  services: ArchiveServices,
  lease: Lease,
  count: (rows: number) => void,
): Removal {
  let batch: EventBatch | undefined
  const close = async () => {
    if (batch !== undefined && batch.rows.length > 0) count(await cut(services, lease, batch))
    if (batch !== undefined) Object.assign(batch, { rows: [], texts: [] })
  }
  return {
    close,
    async take({ kind, text }) {
      if (kind !== 'event') return close()
      const row = JSON.parse(text) as EventRow
      const walletAddress = row.event.wallet_address
      if (batch?.walletAddress !== walletAddress) {
        await close()
        batch = { walletAddress, rows: [], texts: [] }
      }
      batch.rows.push(row)
      batch.texts.push(text)
      if (batch.rows.length === EVENTS) await close()
    },
  }
}

/** Removes the beginning of what is left of a wallet's chain, and records it: one transaction. Resolves to how many events left. */
function cut(services: ArchiveServices, lease: Lease, batch: EventBatch): Promise<number> {
  const { walletAddress } = batch
  const shard = shardSql(walletAddress)
  return inRemoval(services, lease, async (tx) => {
    await lockWallet(tx, walletAddress)
    const archived = await readArchivedAudit(tx, walletAddress)
    const through = archived?.through ?? 0
    const left = batch.texts.filter((_, at) => (batch.rows[at]?.event.sequence ?? 0) > through)
    if (left.length === 0) return 0
    const cutRows = batch.rows.filter(({ event }) => event.sequence > through)
    const replay = replayOf(services, walletAddress, archived)
    for (const row of cutRows) replay.push(eventOf(row))
    const state: ArchivedState = {
      archives: withArchive(archived?.state, lease.number, replay.events),
      replay: replay.state(),
    }
    const record = {
      bodyHashes:
        (archived?.bodyHashes ?? '') + cutRows.map(({ event }) => bodyHashOf(event.body)).join(''),
      actionId: Math.max(archived?.actionId ?? 0, ...cutRows.map(({ action }) => action?.id ?? 0)),
      state: JSON.stringify(state),
    }
    const mac = services.mac(archivedAuditText(walletAddress, record))
    await rows(
      tx,
      sql`INSERT INTO archived_audits (wallet_address, shard, body_hashes, action_id, state, mac)
        VALUES (${walletAddress}, ${shard}, decode(${record.bodyHashes}, 'hex'), ${record.actionId}::bigint, ${record.state}, decode(${mac}, 'hex'))
        ON CONFLICT ON CONSTRAINT archived_audits_pkey DO UPDATE SET body_hashes = excluded.body_hashes, action_id = excluded.action_id,
          state = excluded.state, mac = excluded.mac`,
    )
    const gone = await rows(
      tx,
      sql`DELETE FROM audit_events AS stored USING jsonb_array_elements(${arrayOf(left)}::text::jsonb) AS line
        WHERE stored.wallet_address = ${walletAddress} AND stored.shard = ${shard} AND stored.sequence = (line -> 'event' ->> 'sequence')::bigint
          AND to_jsonb(stored) = line -> 'event'
          AND stored.sequence < (SELECT max(sequence) FROM audit_events WHERE wallet_address = ${walletAddress} AND shard = ${shard})
        RETURNING 1`,
    )
    if (gone.length !== left.length)
      throw new Error(
        `the audit of ${walletAddress} is not what archive ${lease.number} has: latchkey-admin audit check shows what was edited`,
      )
    const actions = cutRows.flatMap(({ action }) => (action === null ? [] : [action.id]))
    await deleteActions(tx, await actionTexts(tx, walletAddress, left, actions))
    return gone.length
  })
}

/** The messages of rows as JSON: of the rows' own texts, by the database, which keeps every digit. */
async function actionTexts(
  tx: Database,
  walletAddress: string,
  texts: readonly string[],
  ids: readonly number[],
): Promise<string[]> {
  if (ids.length === 0) return []
  const found = await rows<{ text: string }>(
    tx,
    sql`SELECT (line -> 'action')::text AS text FROM jsonb_array_elements(${arrayOf(texts)}::text::jsonb) AS line
      WHERE line -> 'action' ->> 'wallet_address' = ${walletAddress}`,
  )
  return found.map(({ text }) => text)
}

function replayOf(
  services: ArchiveServices,
  walletAddress: string,
  archived: Awaited<ReturnType<typeof readArchivedAudit>>,
): Replay {
  const start = archived && startOf(services, walletAddress, archived)
  if (archived !== undefined && start === undefined)
    throw new Error(`the record of the archived events of ${walletAddress} was edited`)
  const { recover, config } = services
  return openReplay(
    { walletAddress, network: config.STACKS_NETWORK, recover },
    ({ sequence, fault }) => {
      throw new Error(`event ${sequence} of ${walletAddress} ${fault}`)
    },
    start,
  )
}

function withArchive(
  state: string | undefined,
  archive: number,
  through: number,
): ArchivedState['archives'] {
  const before = state === undefined ? [] : (JSON.parse(state) as ArchivedState).archives
  return [...before.filter((one) => one.archive !== archive), { archive, through }]
}

/**
 * Removes orders that are still as the archive has them, with all that is of them. Their rows are locked first: whatever changes an
 * order, or adds an event or a transaction to it, needs its row.
 */
function removeOrders(
  services: ArchiveServices,
  lease: Lease,
  texts: readonly string[],
): Promise<number> {
  return inRemoval(services, lease, async (tx) => {
    const given = arrayOf(texts)
    const locked = await rows<{ uuid: string }>(
      tx,
      sql`SELECT uuid FROM orders JOIN jsonb_array_elements(${given}::text::jsonb) AS line
          ON uuid = line -> 'order' ->> 'uuid' AND orders.shard = (line -> 'order' ->> 'shard')::int
        FOR UPDATE OF orders SKIP LOCKED`,
    )
    if (locked.length === 0) return 0
    const uuids = `{${locked.map(({ uuid }) => `"${uuid}"`).join(',')}}`
    await rows(
      tx,
      sql`SELECT FROM transactions WHERE order_uuid = ANY (${uuids}::text::text[]) FOR UPDATE`,
    )
    const same = await rows<{ uuid: string; shard: number }>(
      tx,
      sql`SELECT uuid, orders.shard FROM orders JOIN jsonb_array_elements(${given}::text::jsonb) AS line
          ON uuid = line -> 'order' ->> 'uuid' AND orders.shard = (line -> 'order' ->> 'shard')::int
        WHERE uuid = ANY (${uuids}::text::text[]) AND ${orderGroupSql()} = line AND ${mayLeaveSql(lease.before)}
          AND EXISTS (SELECT FROM archived_orders AS used WHERE used.uuid = orders.uuid AND used.shard = orders.shard)`,
    )
    const own = JSON.stringify(same)
    const ofOrders = (table: string, column: string) =>
      sql`DELETE FROM ${sql.raw(table)} AS part USING jsonb_to_recordset(${own}::text::jsonb) AS own (uuid text, shard int)
        WHERE part.${sql.raw(column)} = own.uuid AND part.shard = own.shard RETURNING 1`
    for (const table of ['order_events', 'transactions', 'key_reservations'])
      await rows(tx, ofOrders(table, 'order_uuid'))
    return (await rows(tx, ofOrders('orders', 'uuid'))).length
  })
}
