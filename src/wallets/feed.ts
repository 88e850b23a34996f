import type { Database } from '../db/database.ts'
import type { Distribution } from '../db/distribution.ts'
import { walletShard } from '../db/shard.ts'
import type { Log } from '../log.ts'
import { presentEvent } from '../orders/find.ts'
import {
  type FeedPosition,
  positionText,
  type StartEvent,
  type StreamEnd,
  type WalletEvent,
} from './event.ts'
import {
  type FeedCredential,
  type KeyNews,
  type Listener,
  type News,
  type OrderNews,
  PAGE,
  readNews,
} from './news.ts'

/** A reader that follows its wallet. */
export interface WalletSubscriber {
  walletAddress: string
  credential: FeedCredential
  /** Where it goes on; undefined where it begins. */
  position: FeedPosition | undefined
  /** Why it begins although it was to go on. */
  missed?: StartEvent['missed'] | undefined
  next(event: { id: string; data: WalletEvent }): void
  /** Keeps the connection alive when nothing changes. */
  heartbeat(): void
  close(why: StreamEnd): void
}

/** The events of wallets, for all subscribers of this process. */
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
  /** Before a poll that follows one whose news were not settled yet. */
  settleMs?: number
  heartbeatMs?: number
  /** A stream that is older ends; its client resumes after the last event that it has. */
  maxAgeMs?: number
  /** Where shards are; undefined on one Postgres. */
  distribution?: Distribution | undefined
}

/** Polls that may follow each other at once, where news are not settled or are more than a page. */
const MAX_EXTRA_POLLS = 3

/** An id of `order_events` in each shard, and the transactions that had written events and were under way once it was read. */
interface Barrier {
  newest: ReadonlyMap<number, number>
  writers: ReadonlySet<string>
}

/**
 * Opens the feed of a process: one statement per `pollMs` for all its subscribers, a few more while there is news, and none without
 * any.
 *
 * Transactions commit in another order than the ids of their events, so a cursor over ids alone would skip what is committed late.
 * An event is delivered once its id is settled: a transaction locks `order_events` before it takes an id and until it ends, so when all that
 * held the lock after an id was seen have ended, no lower id can appear any more. Until then the event, and those behind it, wait.
 * The lock is ROW EXCLUSIVE, which every INSERT takes and which conflicts with no other one. The audit of a wallet needs none of
 * this: its sequence has no gaps, because the wallet's row is locked for each event.
 */
export function openWalletFeed(
  db: Database,
  log: Log,
  {
    now,
    pause,
    pollMs = 500,
    settleMs = 20,
    heartbeatMs = 15_000,
    maxAgeMs = 1_800_000,
    distribution,
  }: WalletFeedOptions,
): WalletFeed {
  /** With the polls that are left of each one's age: a clock that jumps ends no stream. */
  const subscribers = new Map<WalletSubscriber, number>()
  const pollsPerHeartbeat = Math.max(1, Math.round(heartbeatMs / pollMs))
  const maxPolls = Math.max(1, Math.round(maxAgeMs / pollMs))
  /** By shard: the highest id below which none can appear any more. */
  let settled = new Map<number, number>()
  let barrier: Barrier | undefined
  let isPolling = false
  let isClosed = false

  async function keepPolling(): Promise<void> {
    for (let polls = 1; subscribers.size > 0; polls++) {
      for (let extra = 0; await isUnsettled(); extra++) {
        if (extra >= MAX_EXTRA_POLLS || subscribers.size === 0) break
        await pause(settleMs)
      }
      endOld()
      if (polls % pollsPerHeartbeat === 0)
        for (const subscriber of subscribers.keys()) subscriber.heartbeat()
      await pause(pollMs)
    }
    isPolling = false
  }

  function isUnsettled(): Promise<boolean> {
    return poll().catch((error) => {
      log('warn', 'wallet_events_not_read', { fault: error instanceof Error ? error.name : '' })
      return false
    })
  }

  function endOld(): void {
    for (const [subscriber, pollsLeft] of subscribers)
      if (pollsLeft > 0) subscribers.set(subscriber, pollsLeft - 1)
      else end(subscriber, 'aged')
  }

  function end(subscriber: WalletSubscriber, why: StreamEnd): void {
    subscribers.delete(subscriber)
    subscriber.close(why)
  }

  /** Delivers what is settled. Resolves to whether there is more to come at once. */
  async function poll(): Promise<boolean> {
    const polled = [...subscribers.keys()]
    if (polled.length === 0) return false
    const listeners = polled.map(listenerOf)
    const at = now()
    const news = await readNews(db, listeners, at, distribution)
    let hasMore = false
    for (const subscriber of polled) {
      if (!subscribers.has(subscriber)) continue
      if (news.hasEnded(listenerOf(subscriber))) end(subscriber, 'credentialEnded')
      else if (deliver(subscriber, news, at)) hasMore = true
    }
    settle(news)
    return hasMore
  }

  /** Decides which ids the next poll may deliver: those that were seen before all writers of that time ended. */
  function settle({ newest, writers }: News): void {
    if (barrier !== undefined) {
      const left = [...barrier.writers].filter((writer) => writers.has(writer))
      if (left.length > 0) {
        barrier = { ...barrier, writers: new Set(left) }
        return
      }
      settled = merged(settled, barrier.newest)
    }
    barrier = writers.size > 0 ? { newest, writers } : undefined
    if (barrier === undefined) settled = merged(settled, newest)
    // What nothing listens to is forgotten; and what is above the newest id, of a database that lost or archived rows.
    settled = new Map(
      [...settled].filter(([shard, id]) => id <= (newest.get(shard) ?? Number.NEGATIVE_INFINITY)),
    )
  }

  /** Returns whether something of the wallet waits for the next poll. */
  function deliver(subscriber: WalletSubscriber, news: News, at: number): boolean {
    const listener = listenerOf(subscriber)
    const found = news.of(listener)
    if (found === undefined) return true // It was subscribed meanwhile.
    const limit = settled.get(listener.shard)
    if (limit === undefined) return true
    if (subscriber.position !== undefined && !found.follows)
      Object.assign(subscriber, { position: undefined, missed: 'unknown' })
    if (subscriber.position === undefined) {
      const { missed } = subscriber
      subscriber.position = { orders: limit, audit: found.newestAudit, at }
      send(subscriber, { type: 'start', ...(missed !== undefined && { missed }) })
      return found.newestOrder > limit
    }
    const orders = found.orders.filter(({ id }) => id <= limit)
    const pending = [
      ...orders.map((order) => ({ at: order.atMs, order, key: undefined })),
      ...found.audit.map((key) => ({ at: key.atMs, order: undefined, key })),
    ].sort((a, b) => a.at - b.at || Number(a.key === undefined) - Number(b.key === undefined))
    // Sorting by time must not exchange two events of one kind: clocks of processes differ.
    const [nextOrder, nextKey] = [orders.values(), found.audit.values()]
    for (const { order } of pending) {
      if (!subscribers.has(subscriber)) return false
      if (order !== undefined) deliverOrder(subscriber, nextOrder.next().value, at)
      else deliverKey(subscriber, nextKey.next().value, at)
    }
    if (!subscribers.has(subscriber)) return false
    const isWhole = found.orders.length < PAGE || (found.orders.at(-1)?.id ?? 0) > limit
    if (isWhole && limit > subscriber.position.orders)
      subscriber.position = { ...subscriber.position, orders: limit }
    return !isWhole || found.audit.length === PAGE || found.newestOrder > limit
  }

  function deliverOrder(
    subscriber: WalletSubscriber,
    order: OrderNews | undefined,
    at: number,
  ): void {
    if (order === undefined || subscriber.position === undefined) return
    subscriber.position = { ...subscriber.position, orders: order.id, at }
    const { credential } = subscriber
    const isHidden =
      credential.kind === 'key' && credential.isConfined && order.createdBy !== credential.keyId
    if (isHidden) return
    const { id, uuid, status, atMs, details } = order
    const change = presentEvent(uuid, { id, status, at: new Date(atMs), details })
    send(subscriber, { type: 'order', ...change })
  }

  function deliverKey(subscriber: WalletSubscriber, key: KeyNews | undefined, at: number): void {
    if (key === undefined || subscriber.position === undefined) return
    const { sequence, event, keyId, actor, atMs } = key
    subscriber.position = { ...subscriber.position, audit: sequence, at }
    send(subscriber, {
      type: 'key',
      event,
      sequence,
      ...(keyId !== null && { keyId }),
      actor,
      at: new Date(atMs).toISOString(),
    })
    const { credential } = subscriber
    if (credential.kind === 'key' && credential.keyId === keyId && !KEEPS_RIGHTS.has(event))
      end(subscriber, 'keyChanged')
  }

  function send(subscriber: WalletSubscriber, data: WalletEvent): void {
    const { position } = subscriber
    if (position !== undefined) subscriber.next({ id: positionText(position), data })
  }

  return {
    subscribe(subscriber) {
      if (isClosed) {
        subscriber.close('stopping')
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
      for (const subscriber of subscribers.keys()) end(subscriber, 'stopping')
    },
  }
}

/** Events of a key after which it may read what it could before. */
const KEEPS_RIGHTS: ReadonlySet<string> = new Set(['create_api_key', 'refused', 'adopt_api_key'])

function listenerOf({ walletAddress, credential, position }: WalletSubscriber): Listener {
  return { walletAddress, shard: walletShard(walletAddress), credential, position }
}

function merged(
  known: ReadonlyMap<number, number>,
  newer: ReadonlyMap<number, number>,
): Map<number, number> {
  const all = new Map(known)
  for (const [shard, id] of newer) all.set(shard, Math.max(id, all.get(shard) ?? 0))
  return all
}
