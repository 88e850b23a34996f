import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { type Distribution, inShardsSql, splitByGroup } from '../db/distribution.ts'
import { timestamptz } from '../db/time.ts'
import { hasHashSql, isActiveSql } from '../keys/liveness-sql.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Log } from '../log.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type OrderEvent, type OrderStatus, orderHasEnded } from './order.ts'

/** Events of one order that one poll returns, at most; the next poll returns the rest. */
const MAX_EVENTS_PER_POLL = 100

/** A presented secret, with the shard of its key's wallet. */
export interface PlacedSecret {
  hash: KeyHash
  shard: number
}

/** A subscriber to the events of one order. */
export interface Subscriber {
  uuid: string
  /** Of the order's owner. */
  shard: number
  /** The id of the last event that it has. */
  after: number
  /** The key secret that it presented, whose end closes it; undefined without a key. */
  presented: PlacedSecret | undefined
  next(event: OrderEvent): void
  /** Keeps the connection alive when there are no events. */
  heartbeat(): void
  /** The order has ended, the key has, or the process is stopping. */
  close(): void
}

/** What a stream is counted by, narrowest first: a key and its wallet, or the networks around an address without a key. */
export interface StreamCaller {
  hasKey: boolean
  names: readonly string[]
}

/** The events of orders, for all subscribers of this process. */
export interface OrderFeed {
  /** Takes one of the limited places for a caller. Returns how to release it; releasing twice is harmless. */
  admit(caller: StreamCaller): Result<() => void, 'tooManyStreams' | 'unavailable'>
  /** Returns how to unsubscribe. */
  subscribe(subscriber: Subscriber): () => void
  /** Closes every subscriber and admits no more. */
  close(): void
  /** Places in use. */
  taken(): number
}

export interface FeedOptions {
  now: () => number
  pause: (ms: number) => Promise<void>
  pollMs?: number
  heartbeatMs?: number
  /** Places of this process. */
  maxStreams?: number
  /** Places of callers without a key; the others are for keys. */
  maxKeylessStreams?: number
  /** Places of a key and of a wallet. */
  maxOfKey?: readonly number[]
  /** Places of an address or /64, and of the wider networks around it. */
  maxOfNetwork?: readonly number[]
  /** A stream that is older ends; its client resumes after the last event that it has. */
  maxAgeMs?: number
  /** Where shards are; undefined on one Postgres. */
  distribution?: Distribution | undefined
}

/**
 * Opens the feed of a process. While there are subscribers, one statement per `pollMs` reads the new events of all their
 * orders and which of their keys have ended; without subscribers there are no statements.
 *
 * Polling and not LISTEN: any process may write a change, and LISTEN needs a connection that neither the pool nor PGlite
 * can spare.
 */
export function openOrderFeed(
  db: Database,
  log: Log,
  {
    now,
    pause,
    pollMs = 500,
    heartbeatMs = 15_000,
    maxStreams = 1_000,
    maxKeylessStreams = 500,
    maxOfKey = [50, 200],
    maxOfNetwork = [50, 100, 200, 250],
    maxAgeMs = 1_800_000,
    distribution,
  }: FeedOptions,
): OrderFeed {
  /** With the polls that are left of each one's age: a clock that jumps ends no stream. */
  const subscribers = new Map<Subscriber, number>()
  const places = new Map<string, number>()
  const pollsPerHeartbeat = Math.max(1, Math.round(heartbeatMs / pollMs))
  const maxPolls = Math.max(1, Math.round(maxAgeMs / pollMs))
  let taken = 0
  let takenWithoutKey = 0
  let isPolling = false
  let isClosed = false

  async function keepPolling(): Promise<void> {
    for (let polls = 1; subscribers.size > 0; polls++) {
      await pause(pollMs)
      if (subscribers.size === 0) break
      endOld()
      await poll(db, subscribers, now(), distribution).catch((error) =>
        log('warn', 'events_not_read', { fault: error instanceof Error ? error.name : '' }),
      )
      if (polls % pollsPerHeartbeat === 0)
        for (const subscriber of subscribers.keys()) subscriber.heartbeat()
    }
    isPolling = false
  }

  function endOld(): void {
    for (const [subscriber, pollsLeft] of subscribers)
      if (pollsLeft > 0) subscribers.set(subscriber, pollsLeft - 1)
      else closeSubscriber(subscribers, subscriber)
  }

  function count({ hasKey, names }: StreamCaller, change: 1 | -1): void {
    taken += change
    if (!hasKey) takenWithoutKey += change
    for (const name of names) {
      const left = (places.get(name) ?? 0) + change
      if (left === 0) places.delete(name)
      else places.set(name, left)
    }
  }

  function releaseOnce(caller: StreamCaller): () => void {
    let isTaken = true
    return () => {
      if (isTaken) count(caller, -1)
      isTaken = false
    }
  }

  return {
    admit(caller) {
      const { hasKey, names } = caller
      const limits = hasKey ? maxOfKey : maxOfNetwork
      const isFull = taken >= maxStreams || (!hasKey && takenWithoutKey >= maxKeylessStreams)
      if (isClosed || isFull) return refuse('unavailable', { reason: 'streams' })
      const exceeded = limits.find((most, at) => (places.get(names[at] ?? '') ?? 0) >= most)
      if (exceeded !== undefined) return refuse('tooManyStreams', { most: exceeded })
      count(caller, 1)
      return ok(releaseOnce(caller))
    },
    subscribe(subscriber) {
      if (isClosed) {
        subscriber.close()
        return () => {}
      }
      subscribers.set(subscriber, maxPolls)
      if (!isPolling) {
        isPolling = true
        void keepPolling()
      }
      return () => void subscribers.delete(subscriber)
    },
    close() {
      isClosed = true
      for (const subscriber of subscribers.keys()) closeSubscriber(subscribers, subscriber)
    },
    taken: () => taken,
  }
}

type Subscribers = Map<Subscriber, number>

function closeSubscriber(subscribers: Subscribers, subscriber: Subscriber): void {
  subscribers.delete(subscriber)
  subscriber.close()
}

async function poll(
  db: Database,
  subscribers: Subscribers,
  now: number,
  distribution: Distribution | undefined,
): Promise<void> {
  const polled = [...subscribers.keys()]
  const { events, endedKeys } = await readNews(db, polled, now, distribution)
  for (const subscriber of polled) {
    if (!subscribers.has(subscriber)) continue
    const { presented } = subscriber
    if (presented !== undefined && endedKeys.has(presented.hash)) {
      closeSubscriber(subscribers, subscriber)
      continue
    }
    let last: OrderStatus = 'open'
    for (const event of events.get(nameOf(subscriber)) ?? []) {
      if (event.id <= subscriber.after) continue
      subscriber.after = event.id
      subscriber.next(event)
      last = event.status
    }
    if (orderHasEnded(last)) closeSubscriber(subscribers, subscriber)
  }
}

interface EventJson extends Omit<OrderEvent, 'at'> {
  uuid: string
  shard: number
  atMs: number
}

/** The name of an order among the subscribed ones: where tables are distributed, two wallets may have used one uuid. */
function nameOf({ uuid, shard }: { uuid: string; shard: number }): string {
  return `${shard} ${uuid}`
}

/** Reads the news of all subscribers: by one statement, and where tables are distributed by one for each group of shards. */
async function readNews(
  db: Database,
  subscribers: readonly Subscriber[],
  now: number,
  distribution: Distribution | undefined,
): Promise<{ events: Map<string, OrderEvent[]>; endedKeys: Set<string> }> {
  const presented = subscribers.flatMap((one) => one.presented ?? [])
  const selections = [
    ...splitByGroup(distribution, subscribers, ({ shard }) => shard).map((group) =>
      selectEvents(
        group,
        inShardsSql(
          distribution,
          group.map(({ shard }) => shard),
        ),
      ),
    ),
    ...splitByGroup(distribution, presented, ({ shard }) => shard).map((group) =>
      selectEnded(
        group,
        inShardsSql(
          distribution,
          group.map(({ shard }) => shard),
        ),
        now,
      ),
    ),
  ]
  const isOne = distribution === undefined
  const statements = isOne ? [sql.join(selections, sql`, `)] : selections
  const read = await Promise.all(
    statements.map((columns) =>
      rows<{ events?: EventJson[] | null; ended?: string[] | null }>(db, sql`SELECT ${columns}`),
    ),
  )
  const found = read.flat()
  const events = Map.groupBy(
    found.flatMap(({ events }) => events ?? []),
    nameOf,
  )
  return {
    events: new Map(
      [...events].map(([name, all]) => [
        name,
        all.map(({ uuid: _, shard: __, atMs, ...event }) => ({ ...event, at: new Date(atMs) })),
      ]),
    ),
    endedKeys: new Set(found.flatMap(({ ended }) => ended ?? [])),
  }
}

/**
 * Each order is read from its own last event on: ids of one order increase with its changes, but a change of another order
 * that was committed late may have an id below the highest that was read.
 */
function selectEvents(subscribers: readonly Subscriber[], inShards: (table: string) => SQL): SQL {
  const lastIds = new Map<string, { uuid: string; shard: number; last: number }>()
  for (const one of subscribers) {
    const last = Math.min(one.after, lastIds.get(nameOf(one))?.last ?? Number.MAX_SAFE_INTEGER)
    lastIds.set(nameOf(one), { uuid: one.uuid, shard: one.shard, last })
  }
  const all = [...lastIds.values()]
  return sql`(
        SELECT jsonb_agg(jsonb_build_object('uuid', order_uuid, 'shard', shard, 'id', id, 'status', status,
          'atMs', extract(epoch FROM at) * 1000, 'details', details) ORDER BY id)
        FROM unnest(${`{${all.map(({ uuid }) => `"${uuid}"`).join(',')}}`}::text::text[],
          ${`{${all.map(({ shard }) => shard).join(',')}}`}::text::int[],
          ${`{${all.map(({ last }) => last).join(',')}}`}::text::bigint[]) AS subscribed (uuid, own_shard, last_id)
        CROSS JOIN LATERAL (
          SELECT * FROM order_events WHERE order_uuid = uuid AND shard = own_shard AND id > last_id${inShards('order_events')}
          ORDER BY id LIMIT ${MAX_EVENTS_PER_POLL}::int
        ) AS news
      ) AS events`
}

/** The presented secrets that no active key has any more. */
function selectEnded(
  presented: readonly PlacedSecret[],
  inShards: (table: string) => SQL,
  now: number,
): SQL {
  const at = timestamptz(now)
  const hashes = [...new Set(presented.map(({ hash }) => hash))]
  return sql`(
        SELECT jsonb_agg(hash) FROM unnest(${`{${hashes.join(',')}}`}::text::text[]) AS presented (hash)
        WHERE NOT EXISTS (
          SELECT FROM api_keys WHERE ${hasHashSql(sql`decode(hash, 'hex')`, at)} AND ${isActiveSql(at)}${inShards('api_keys')})
      ) AS ended`
}
