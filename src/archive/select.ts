import { type SQL, sql } from 'drizzle-orm'
import { lastFreshMs } from '../actions/action.ts'
import { readArchivedAudit } from '../audit/archived.ts'
import { type AuditEvent, FIRST_HASH } from '../audit/event.ts'
import { listUnrecorded } from '../audit/list.ts'
import { type Database, rows } from '../db/database.ts'
import { orderJson, orderOfJson } from '../db/order-row.ts'
import { RECORDED_ACTIONS } from '../db/recorded-actions.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import { checkIntegrity } from '../orders/integrity.ts'
import { startOf } from '../provenance/check.ts'
import { openReplay, type Replay } from '../provenance/replay.ts'
import type { ArchiveHeader, ArchiveRow, ChainRow } from './format.ts'
import type { ArchiveServices } from './services.ts'

/*
 * What may leave the database, by the rule of each table. Pages are read by primary key, without a condition: a statement then reads a
 * bounded number of rows, however few of them leave. The table is named in ORDER BY: a bare name would be the text that is selected.
 */

/** Rows in a page. */
const PAGE = 500
/** Of a wallet at least so many events leave, or none: a record of them stays, which is as large as a few events. */
export const FEWEST_EVENTS = 10

/** What was found on the way that does not leave. */
export interface Held {
  /** Wallets whose audits do not verify: an archive would keep what a check should find. */
  wallets: string[]
  /** Orders whose MACs do not fit. */
  orders: string[]
}

/** Everything that has ended before a moment and may leave, in the order in which it is removed, and hours of usage, which stay. */
export async function* rowsThatLeave(
  services: ArchiveServices,
  before: number,
  { held, usage }: { held: Held; usage: ArchiveHeader['usage'] | undefined },
): AsyncGenerator<ArchiveRow> {
  yield* sessions(services.db, before)
  yield* events(services, before, held)
  yield* actions(services.db, before)
  yield* orders(services, before, held)
  if (usage !== undefined) yield* usageRows(services.db, usage)
}

/** Sessions that ended. */
async function* sessions(db: Database, before: number): AsyncGenerator<ArchiveRow> {
  for (let after = ''; ; ) {
    const page = await rows<{ id: string; text: string; leaves: boolean }>(
      db,
      sql`SELECT id, to_jsonb(sessions)::text AS text, expires_at < ${timestamptz(before)} AS leaves
        FROM sessions WHERE id > ${after} ORDER BY id LIMIT ${PAGE}::int`,
    )
    for (const { text, leaves } of page) if (leaves) yield { kind: 'session', text }
    after = page.at(-1)?.id ?? ''
    if (page.length < PAGE) return
  }
}

/** An event with the signed message that asked for it, as a row of an archive. */
export interface EventRow {
  event: {
    wallet_address: string
    sequence: number
    body: string
    hash: string
    action_id: number | null
  }
  action: {
    id: number
    message: string
    message_hash: string
    signature: string
    public_key: string
  } | null
}

interface EventOfPage {
  walletAddress: string
  sequence: string
  text: string
}

/** Events of all wallets, each wallet's together and in their order. */
async function* eventsOfWallets(db: Database): AsyncGenerator<EventOfPage> {
  for (let [wallet, sequence] = ['', '0']; ; ) {
    const page = await rows<EventOfPage>(
      db,
      sql`SELECT event.wallet_address AS "walletAddress", event.sequence::text AS sequence,
          jsonb_build_object('event', to_jsonb(event), 'action', to_jsonb(used))::text AS text
        FROM (SELECT * FROM audit_events WHERE (wallet_address, sequence) > (${wallet}, ${sequence}::bigint)
          ORDER BY wallet_address, sequence LIMIT ${PAGE}::int) AS event
        LEFT JOIN signed_actions AS used ON used.id = event.action_id AND used.shard = event.shard
        ORDER BY event.wallet_address, event.sequence`,
    )
    yield* page
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return
    wallet = last.walletAddress
    sequence = last.sequence
  }
}

/** The events of a wallet that leave, one by one, and where its chain is then. */
interface Leaving {
  walletAddress: string
  replay: Replay
  from: number
  /** Not written yet: too few, or what may be the chain's newest event. */
  waiting: string[]
  /** Whether enough of them leave. */
  isWorth: boolean
  hasStopped: boolean
  hasFault: boolean
}

/**
 * The beginning of each chain: events that are old, whose messages can be fresh no more, that verify, and have one behind them.
 */
async function* events(
  services: ArchiveServices,
  before: number,
  held: Held,
): AsyncGenerator<ArchiveRow> {
  let wallet: Leaving | undefined
  for await (const { walletAddress, text } of eventsOfWallets(services.db)) {
    if (wallet?.walletAddress !== walletAddress) {
      yield* endOf(wallet)
      wallet = await openWallet(services, walletAddress, held)
    }
    if (wallet.hasStopped) continue
    const { event, action } = JSON.parse(text) as EventRow
    // Left before, and still here: its removal goes on with the archive that has it.
    if (event.sequence <= wallet.replay.events) continue
    // The one before is not the chain's newest event any more.
    yield* takeWaiting(wallet)
    if (!hasEnded(event.body, action, before)) {
      wallet.hasStopped = true
      continue
    }
    wallet.replay.push(eventOf({ event, action }))
    if (wallet.hasFault) {
      wallet.hasStopped = true
      held.wallets.push(walletAddress)
      continue
    }
    wallet.waiting.push(text)
  }
  yield* endOf(wallet)
}

async function openWallet(
  services: ArchiveServices,
  walletAddress: string,
  held: Held,
): Promise<Leaving> {
  const { db, config, recover } = services
  const archived = await readArchivedAudit(db, walletAddress)
  const start = archived && startOf(services, walletAddress, archived)
  const isEdited = archived !== undefined && start === undefined
  const unrecorded = await listUnrecorded(db, walletAddress, String(archived?.actionId ?? 0))
  const isHeld = isEdited || unrecorded.found.length > 0
  if (isHeld) held.wallets.push(walletAddress)
  const leaving: Leaving = {
    walletAddress,
    replay: openReplay(
      { walletAddress, network: config.STACKS_NETWORK, recover },
      () => {
        leaving.hasFault = true
      },
      start,
    ),
    from: (archived?.through ?? 0) + 1,
    waiting: [],
    isWorth: false,
    hasStopped: isHeld,
    hasFault: false,
  }
  return leaving
}

function* takeWaiting(wallet: Leaving): Generator<ArchiveRow> {
  wallet.isWorth ||= wallet.waiting.length >= FEWEST_EVENTS
  if (!wallet.isWorth) return
  for (const text of wallet.waiting.splice(0)) yield { kind: 'event', text }
}

/** Ends a wallet: what waits is too little, or the chain's newest event, which stays. */
function* endOf(wallet: Leaving | undefined): Generator<ArchiveRow> {
  if (wallet === undefined || !wallet.isWorth) return
  const { walletAddress, replay, from } = wallet
  // Replayed and not written: the newest event, and one with a fault.
  const through = replay.events - wallet.waiting.length - (wallet.hasFault ? 1 : 0)
  const chain: ChainRow = {
    walletAddress,
    from,
    through,
    previous: replay.hashAt(from - 1) ?? FIRST_HASH,
    hash: replay.hashAt(through) ?? FIRST_HASH,
  }
  yield { kind: 'chain', text: JSON.stringify(chain) }
}

/** An event as a replay takes it. */
export function eventOf({ event, action }: EventRow): AuditEvent {
  const { sequence, body, hash } = event
  return {
    sequence,
    body,
    hash: hash.slice(2),
    ...(action !== null && {
      message: action.message,
      signature: action.signature,
      publicKey: action.public_key,
    }),
  }
}

/** Whether an event is old, and its message is fresh on no clock that is later than `before`. */
function hasEnded(body: string, action: EventRow['action'], before: number): boolean {
  const { at } = JSON.parse(body) as { at: number }
  return at < before && (action === null || isForgettable(action.message, before))
}

/**
 * Whether a message may be forgotten: the service accepts none whose last fresh moment is before an archive's. A text that is no message
 * stays.
 */
function isForgettable(message: string, before: number): boolean {
  try {
    return lastFreshMs(JSON.parse(message)) < before
  } catch {
    return false
  }
}

/** Used messages that the audit does not record: of orders. Those that it records leave with their events. */
async function* actions(db: Database, before: number): AsyncGenerator<ArchiveRow> {
  for (let after = '0'; ; ) {
    const page = await rows<{
      id: string
      action: string
      message: string
      text: string
      isOld: boolean
    }>(
      db,
      sql`SELECT id::text AS id, action, message, to_jsonb(signed_actions)::text AS text, accepted_at < ${timestamptz(before)} AS "isOld"
        FROM signed_actions WHERE id > ${after}::bigint ORDER BY signed_actions.id LIMIT ${PAGE}::int`,
    )
    for (const { action, message, text, isOld } of page) {
      const isRecorded = (RECORDED_ACTIONS as readonly string[]).includes(action)
      if (isOld && !isRecorded && isForgettable(message, before)) yield { kind: 'action', text }
    }
    after = page.at(-1)?.id ?? ''
    // Messages are numbered as they are accepted, as orders are.
    if (page.length < PAGE || page.every(({ isOld }) => !isOld)) return
  }
}

/** An order with all that is of it, as a row of an archive. */
export function orderGroupSql(): SQL {
  const all = (table: string, isOwn: string, key: string) =>
    sql.raw(`coalesce((SELECT jsonb_agg(to_jsonb(part) ORDER BY part.${key}) FROM ${table} AS part
      WHERE part.${isOwn} = orders.uuid AND part.shard = orders.shard), '[]')`)
  return sql`jsonb_build_object('order', ${orderJson(sql`orders`)}, 'events', ${all('order_events', 'order_uuid', 'id')},
    'transactions', ${all('transactions', 'order_uuid', 'txid')}, 'reservations', ${all('key_reservations', 'order_uuid', 'key_id')})`
}

/**
 * Whether an order may leave: it ended before, the chain holds nothing of it that is followed, and its intent is worthless: settled, its
 * uuid used, or past the deadline that its router enforces.
 */
export function mayLeaveSql(before: number): SQL {
  const at = timestamptz(before)
  return sql`(orders.status IN ('confirmed', 'failed', 'cancelled', 'expired')
    AND (orders.status = 'confirmed' OR orders.uuid_used_at IS NOT NULL OR orders.commit_until < extract(epoch FROM ${at}))
    AND (orders.burn_requested_at IS NULL OR orders.uuid_used_at IS NOT NULL)
    AND (SELECT max(at) FROM order_events AS past WHERE past.order_uuid = orders.uuid AND past.shard = orders.shard) < ${at}
    AND NOT EXISTS (SELECT FROM transactions AS sent WHERE sent.order_uuid = orders.uuid AND sent.shard = orders.shard
      AND (sent.check_at IS NOT NULL OR sent.status IN ('signed', 'accepted', 'outbid')))) IS TRUE`
}

/** Fewer: each may come with many events. */
const ORDERS = 100

async function* orders(
  services: ArchiveServices,
  before: number,
  held: Held,
): AsyncGenerator<ArchiveRow> {
  for (let after = '0'; ; ) {
    const page = await rows<{ sequence: string; isOld: boolean; text: string | null }>(
      services.db,
      sql`SELECT sequence::text AS sequence, created_at < ${timestamptz(before)} AS "isOld",
          CASE WHEN ${mayLeaveSql(before)} THEN ${orderGroupSql()}::text END AS text
        FROM orders WHERE sequence > ${after}::bigint ORDER BY orders.sequence LIMIT ${ORDERS}::int`,
    )
    for (const { text } of page) {
      if (text === null) continue
      const row = orderOfJson(JSON.parse(text).order)
      const intact = checkIntegrity(services, row, Number.POSITIVE_INFINITY)
      const isSealed = intact.ok || intact.details?.reason === 'unsealed'
      if (isSealed) yield { kind: 'order', text }
      else held.orders.push(row.uuid)
    }
    after = page.at(-1)?.sequence ?? ''
    // Orders are numbered as they are made: behind a page of new ones there are no old ones.
    if (page.length < ORDERS || page.every(({ isOld }) => !isOld)) return
  }
}

/** Rows of usage in a page: of an hour all rows are sorted for each. */
const USAGE = 5_000

/** The hours of usage of a stretch of time, by its index. */
async function* usageRows(
  db: Database,
  { from, through }: NonNullable<ArchiveHeader['usage']>,
): AsyncGenerator<ArchiveRow> {
  let after = { hour: from ?? new Date(0).toISOString(), keyId: '', outcome: '' }
  for (;;) {
    const page = await rows<{ ms: number; keyId: string; outcome: string; text: string }>(
      db,
      sql`SELECT ${milliseconds(sql`hour`)} AS ms, key_id AS "keyId", outcome, to_jsonb(key_usage)::text AS text FROM key_usage
        WHERE hour >= ${after.hour}::timestamptz AND hour < ${through}::timestamptz
          AND (hour, key_id, outcome) > (${after.hour}::timestamptz, ${after.keyId}, ${after.outcome})
        ORDER BY hour, key_id, outcome LIMIT ${USAGE}::int`,
    )
    for (const { text } of page) yield { kind: 'usage', text }
    const last = page.at(-1)
    if (last === undefined || page.length < USAGE) return
    after = { ...last, hour: new Date(last.ms).toISOString() }
  }
}
