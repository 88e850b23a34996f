import { type SQL, sql } from 'drizzle-orm'
import type { Actor } from '../audit/event.ts'
import { type Database, rows } from '../db/database.ts'
import { type Distribution, inShardsSql, splitByGroup } from '../db/distribution.ts'
import { timestamptz } from '../db/time.ts'
import { hasHashSql, isActiveSql } from '../keys/liveness-sql.ts'
import type { PlacedSecret } from '../orders/feed.ts'
import type { OrderStatus } from '../orders/order.ts'
import type { FeedPosition } from './event.ts'

/** Events of each kind that a poll reads for a position, at most. */
export const PAGE = 100

/** Whose stream it is: a session's, or that of a key with `read`. */
export type FeedCredential =
  | { kind: 'session'; sessionId: string }
  | {
      kind: 'key'
      keyId: string
      presented: PlacedSecret
      /** A key that is shown the orders that it created, and of no other. */
      isConfined: boolean
    }

/** What a poll reads for: a wallet from a position on, and whether its credential still is one. */
export interface Listener {
  walletAddress: string
  shard: number
  credential: FeedCredential
  position: FeedPosition | undefined
}

/** A change of an order. */
export interface OrderNews {
  id: number
  uuid: string
  status: OrderStatus
  atMs: number
  details: Record<string, unknown> | null
  createdBy: string | null
}

/** An event of the audit. */
export interface KeyNews {
  sequence: number
  event: string
  keyId: string | null
  actor: Actor
  atMs: number
}

/** What there is behind a position of a wallet, oldest first. */
export interface WalletNews {
  orders: OrderNews[]
  audit: KeyNews[]
  newestOrder: number
  newestAudit: number
  /** Whether what is read follows the position: nothing between has left with an archive, or was never there. */
  follows: boolean
}

/** What one poll has read. */
export interface News {
  of(listener: Listener): WalletNews | undefined
  hasEnded(listener: Listener): boolean
  /** By shard: the highest id of `order_events` that is visible. */
  newest: ReadonlyMap<number, number>
  /** Transactions that held the lock of a writer on `order_events` after that was read. */
  writers: ReadonlySet<string>
}

interface WalletJson extends Omit<WalletNews, 'follows' | 'orders' | 'audit'> {
  name: string
  shard: number
  orders: OrderNews[] | null
  audit: KeyNews[] | null
}

interface Row {
  wallets?: WalletJson[] | null
  endedKeys?: string[] | null
  endedSessions?: string[] | null
  writers?: string | null
}

/**
 * Reads the news of all listeners: by one statement, and where tables are distributed by one for each group of shards and one for the
 * writers, which comes last. A lock that is read before a row would prove nothing of it.
 */
export async function readNews(
  db: Database,
  listeners: readonly Listener[],
  now: number,
  distribution: Distribution | undefined,
): Promise<News> {
  const read = await Promise.all(
    splitByGroup(distribution, listeners, ({ shard }) => shard).map((group) => {
      const inShards = inShardsSql(
        distribution,
        group.map(({ shard }) => shard),
      )
      const columns = [
        selectWallets(group, inShards),
        selectEndedKeys(group, inShards, now),
        selectEndedSessions(group, inShards, now),
        ...(distribution === undefined ? [SELECT_WRITERS] : []),
      ]
      return rows<Row>(db, sql`SELECT ${sql.join(columns, sql`, `)}`)
    }),
  )
  const found: Row[] = read.flat()
  if (distribution !== undefined)
    found.push(...(await rows<Row>(db, sql`SELECT ${SELECT_WRITERS}`)))
  const wallets = found.flatMap((row) => row.wallets ?? [])
  const byName = new Map(wallets.map((one) => [one.name, one]))
  const ended = new Set(
    found.flatMap(({ endedKeys, endedSessions }) => [
      ...(endedKeys ?? []),
      ...(endedSessions ?? []),
    ]),
  )
  return {
    of(listener) {
      const one = byName.get(nameOf(listener))
      if (one === undefined) return undefined
      const { orders, audit, newestOrder, newestAudit } = one
      const news = { orders: orders ?? [], audit: audit ?? [], newestOrder, newestAudit }
      return { ...news, follows: followsPosition(news, listener.position) }
    },
    hasEnded: ({ credential }) =>
      ended.has(credential.kind === 'key' ? credential.presented.hash : credential.sessionId),
    newest: new Map(wallets.map(({ shard, newestOrder }) => [shard, newestOrder])),
    writers: new Set(
      found.flatMap(({ writers }) => (writers === null ? [] : (writers?.split(' ') ?? []))),
    ),
  }
}

function followsPosition(
  { audit, newestOrder, newestAudit }: Omit<WalletNews, 'follows'>,
  position: FeedPosition | undefined,
): boolean {
  if (position === undefined) return true
  const next = audit.at(0)?.sequence
  const isAuditWhole =
    next === undefined ? newestAudit === position.audit : next === position.audit + 1
  return isAuditWhole && newestOrder >= position.orders
}

/** Listeners of one wallet that have the same events share what is read. */
function nameOf({ walletAddress, position }: Listener): string {
  return position === undefined
    ? walletAddress
    : `${walletAddress} ${position.orders} ${position.audit}`
}

function selectWallets(listeners: readonly Listener[], inShards: (table: string) => SQL): SQL {
  const distinct = [...new Map(listeners.map((one) => [nameOf(one), one])).values()]
  const array = (values: readonly (string | number)[]) => `{${values.join(',')}}`
  return sql`(
      SELECT jsonb_agg(jsonb_build_object('name', name, 'shard', own_shard,
        'newestOrder', coalesce((SELECT id FROM order_events WHERE shard = own_shard${inShards('order_events')} ORDER BY id DESC LIMIT 1), 0),
        'newestAudit', coalesce((SELECT sequence FROM audit_events WHERE wallet_address = wallet AND shard = own_shard${inShards('audit_events')}
          ORDER BY sequence DESC LIMIT 1), 0),
        'orders', (
          SELECT jsonb_agg(jsonb_build_object('id', id, 'uuid', uuid, 'status', status, 'atMs', at_ms, 'details', details,
            'createdBy', created_by) ORDER BY id)
          FROM (
            SELECT order_events.id, orders.uuid, order_events.status, extract(epoch FROM order_events.at) * 1000 AS at_ms,
              order_events.details, orders.created_by
            FROM order_events JOIN orders ON orders.uuid = order_events.order_uuid AND orders.shard = own_shard AND orders.owner = wallet${inShards('orders')}
            WHERE order_events.shard = own_shard AND order_events.id > after_orders${inShards('order_events')}
            ORDER BY order_events.id LIMIT ${PAGE}::int
          ) AS changes),
        'audit', (
          SELECT jsonb_agg(jsonb_build_object('sequence', sequence, 'event', body ->> 'event', 'keyId', body ->> 'keyId',
            'actor', body ->> 'actor', 'atMs', (body ->> 'at')::float8) ORDER BY sequence)
          FROM (
            SELECT sequence, body::json AS body FROM audit_events
            WHERE wallet_address = wallet AND shard = own_shard AND sequence > after_audit${inShards('audit_events')}
            ORDER BY sequence LIMIT ${PAGE}::int
          ) AS appended)))
      FROM unnest(${`{${distinct.map((one) => `"${nameOf(one)}"`).join(',')}}`}::text::text[],
        ${array(distinct.map(({ walletAddress }) => walletAddress))}::text::text[],
        ${array(distinct.map(({ shard }) => shard))}::text::int[],
        ${array(distinct.map(({ position }) => position?.orders ?? 'NULL'))}::text::bigint[],
        ${array(distinct.map(({ position }) => position?.audit ?? 'NULL'))}::text::bigint[])
        AS listened (name, wallet, own_shard, after_orders, after_audit)
    ) AS wallets`
}

/** The presented secrets of which no key is active and may read. */
function selectEndedKeys(
  listeners: readonly Listener[],
  inShards: (table: string) => SQL,
  now: number,
): SQL {
  const at = timestamptz(now)
  const hashes = listeners.flatMap(({ credential }) =>
    credential.kind === 'key' ? [credential.presented.hash] : [],
  )
  return sql`(
      SELECT jsonb_agg(hash) FROM unnest(${`{${[...new Set(hashes)].join(',')}}`}::text::text[]) AS presented (hash)
      WHERE NOT EXISTS (
        SELECT FROM api_keys WHERE ${hasHashSql(sql`decode(hash, 'hex')`, at)} AND ${isActiveSql(at)}
          AND 'read' = ANY (permissions)${inShards('api_keys')})
    ) AS "endedKeys"`
}

function selectEndedSessions(
  listeners: readonly Listener[],
  inShards: (table: string) => SQL,
  now: number,
): SQL {
  const ids = listeners.flatMap(({ credential }) =>
    credential.kind === 'session' ? [credential.sessionId] : [],
  )
  return sql`(
      SELECT jsonb_agg(id) FROM unnest(${`{${[...new Set(ids)].join(',')}}`}::text::text[]) AS followed (id)
      WHERE NOT EXISTS (
        SELECT FROM sessions WHERE sessions.id = followed.id AND ended_at IS NULL AND expires_at > ${timestamptz(now)}${inShards('sessions')})
    ) AS "endedSessions"`
}

/** Postgres reads the locks after the snapshot of the statement was taken. */
const SELECT_WRITERS = sql`(
      SELECT string_agg(DISTINCT virtualtransaction, ' ') FROM pg_locks
      WHERE locktype = 'relation' AND mode = 'RowExclusiveLock' AND relation = 'order_events'::regclass
        AND database = (SELECT oid FROM pg_database WHERE datname = current_database())
    ) AS writers`
