import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { type Distribution, inShardsSql, splitByGroup } from '../db/distribution.ts'
import { walletShard } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import type { Log } from '../log.ts'

/** The newest orders of a wallet that a version covers. */
const ORDERS_WATCHED = 100

/** What a wallet has, as far as a page shows it: two versions differ where something changed. */
export interface WalletVersion {
  /** The number of the newest event of the wallet's audit: every change of a key appends one. 0 without any. */
  audit: number
  /** A hash of the status of the newest orders. */
  orders: string
}

/** A session that follows its wallet. */
export interface WalletSubscriber {
  sessionId: string
  walletAddress: string
  /** The version that it has; undefined for none. */
  known: string | undefined
  next(version: WalletVersion): void
  /** Keeps the connection alive when nothing changes. */
  heartbeat(): void
  /** The session has ended, or the process is stopping. */
  close(): void
}

/** The versions of wallets, for all subscribers of this process. */
export interface WalletFeed {
  /** Returns how to unsubscribe. */
  subscribe(subscriber: WalletSubscriber): () => void
  /** Closes every subscriber. */
  close(): void
}

export interface WalletFeedOptions {
  now: () => number
  pause: (ms: number) => Promise<void>
  pollMs?: number
  heartbeatMs?: number
  /** Where shards are; undefined on one Postgres. */
  distribution?: Distribution | undefined
}

/** A version as the id of its event. */
export function versionId({ audit, orders }: WalletVersion): string {
  return `${audit}-${orders}`
}

/**
 * Opens the feed of a process: one statement per `pollMs` for all its subscribers, and none without any.
 *
 * It compares versions and collects no events: transactions commit in another order than their ids, so that a cursor over
 * the events of several orders would miss some. A subscriber that was away misses no state, only what came between.
 */
export function openWalletFeed(
  db: Database,
  log: Log,
  { now, pause, pollMs = 1_000, heartbeatMs = 15_000, distribution }: WalletFeedOptions,
): WalletFeed {
  const subscribers = new Set<WalletSubscriber>()
  const pollsPerHeartbeat = Math.max(1, Math.round(heartbeatMs / pollMs))
  let isPolling = false
  let isClosed = false

  async function keepPolling(): Promise<void> {
    for (let polls = 1; subscribers.size > 0; polls++) {
      await poll(db, subscribers, now(), distribution).catch((error) =>
        log('warn', 'versions_not_read', { fault: error instanceof Error ? error.name : '' }),
      )
      if (polls % pollsPerHeartbeat === 0)
        for (const subscriber of subscribers) subscriber.heartbeat()
      await pause(pollMs)
    }
    isPolling = false
  }

  return {
    subscribe(subscriber) {
      if (isClosed) {
        subscriber.close()
        return () => {}
      }
      subscribers.add(subscriber)
      if (!isPolling) {
        isPolling = true
        void keepPolling()
      }
      return () => void subscribers.delete(subscriber)
    },
    close() {
      isClosed = true
      for (const subscriber of subscribers) {
        subscribers.delete(subscriber)
        subscriber.close()
      }
    },
  }
}

async function poll(
  db: Database,
  subscribers: Set<WalletSubscriber>,
  now: number,
  distribution: Distribution | undefined,
): Promise<void> {
  const polled = [...subscribers]
  const versions = await readVersions(db, polled, now, distribution)
  for (const subscriber of polled) {
    if (!subscribers.has(subscriber)) continue
    const version = versions.get(subscriber.sessionId)
    if (version === undefined) {
      subscribers.delete(subscriber)
      subscriber.close()
      continue
    }
    const id = versionId(version)
    if (id === subscriber.known) continue
    subscriber.known = id
    subscriber.next(version)
  }
}

type Versions = readonly (readonly [sessionId: string, version: WalletVersion])[]

/** The versions of the wallets of live sessions, by session: where tables are distributed, a statement for each group of shards. */
async function readVersions(
  db: Database,
  subscribers: readonly WalletSubscriber[],
  now: number,
  distribution: Distribution | undefined,
): Promise<Map<string, WalletVersion>> {
  const shardOf = ({ walletAddress }: WalletSubscriber) => walletShard(walletAddress)
  const read = splitByGroup(distribution, subscribers, shardOf).map((group) =>
    readGroup(db, group, now, inShardsSql(distribution, group.map(shardOf))),
  )
  return new Map((await Promise.all(read)).flat())
}

async function readGroup(
  db: Database,
  subscribers: readonly WalletSubscriber[],
  now: number,
  inShards: (table: string) => SQL,
): Promise<Versions> {
  const ids = [...new Set(subscribers.map(({ sessionId }) => sessionId))]
  const found = await rows<WalletVersion & { sessionId: string }>(
    db,
    sql`SELECT sessions.id AS "sessionId", coalesce(newest.sequence, 0)::float8 AS audit,
        coalesce(states.hash, '') AS orders
      FROM unnest(${`{${ids.join(',')}}`}::text::text[]) AS subscribed (id)
      JOIN sessions ON sessions.id = subscribed.id AND ended_at IS NULL AND expires_at > ${timestamptz(now)}${inShards('sessions')}
      LEFT JOIN LATERAL (
        SELECT sequence FROM audit_events WHERE audit_events.wallet_address = sessions.wallet_address
          AND audit_events.shard = sessions.shard${inShards('audit_events')}
        ORDER BY sequence DESC LIMIT 1
      ) AS newest ON true
      LEFT JOIN LATERAL (
        SELECT md5(string_agg(concat_ws(' ', uuid, status, txid, block_height, burn_requested_at, uuid_used_at), ',')) AS hash
        FROM (
          SELECT * FROM orders WHERE owner = sessions.wallet_address AND orders.shard = sessions.shard${inShards('orders')}
          ORDER BY sequence DESC LIMIT ${ORDERS_WATCHED}::int
        ) AS watched
      ) AS states ON true`,
  )
  return found.map(({ sessionId, audit, orders }) => [sessionId, { audit, orders }])
}
