import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { hasHashSql, isActiveSql } from '../keys/liveness-sql.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Log } from '../log.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type OrderEvent, type OrderStatus, orderHasEnded } from './order.ts'

/** Events of one order that one poll brings along at most; the next one brings the rest. */
const MOST_EVENTS = 100

/** Whoever wants to hear of one order. */
export interface Listener {
  uuid: string
  /** The id of the event that it knows last. */
  after: number
  /** The secret that it came with; without one it hears as long as it wants. */
  hash: KeyHash | undefined
  tell(event: OrderEvent): void
  /** Says that nothing has happened. */
  beat(): void
  /** Ends it: its order has ended, its key has, or the process does. */
  end(): void
}

/** What becomes of orders, for all that listen in this process. */
export interface OrderFeed {
  /** Takes a place for one listener of a caller. Answers how to give it back, which may be done twice. */
  admit(caller: string): Result<() => void, 'tooManyStreams' | 'unavailable'>
  /** Answers how to stop listening. */
  listen(listener: Listener): () => void
  /** Ends all that listen and admits no more. */
  close(): void
  /** How many places are taken. */
  taken(): number
}

export interface FeedOptions {
  now: () => number
  pause: (ms: number) => Promise<void>
  pollMs?: number
  heartbeatMs?: number
  /** Listeners of this process. */
  most?: number
  /** Listeners of one key, or of one address without a key. */
  mostPerCaller?: number
}

/**
 * Opens the feed of a process. While anybody listens, one statement every `pollMs` asks for all of them: what is new of
 * their orders, and whose key has ended. While nobody does, nothing is asked.
 */
export function openOrderFeed(
  db: Database,
  log: Log,
  { now, pause, pollMs = 500, heartbeatMs = 15_000, most = 1_000, mostPerCaller = 50 }: FeedOptions,
): OrderFeed {
  const listeners = new Set<Listener>()
  const places = new Map<string, number>()
  const pollsPerBeat = Math.max(1, Math.round(heartbeatMs / pollMs))
  let taken = 0
  let isPolling = false
  let isClosed = false

  async function keepPolling(): Promise<void> {
    for (let polls = 1; listeners.size > 0; polls++) {
      await pause(pollMs)
      if (listeners.size === 0) break
      await poll(db, listeners, now()).catch((error) =>
        log('warn', 'events_not_read', { fault: error instanceof Error ? error.name : '' }),
      )
      if (polls % pollsPerBeat === 0) for (const listener of listeners) listener.beat()
    }
    isPolling = false
  }

  return {
    admit(caller) {
      const own = places.get(caller) ?? 0
      if (isClosed || taken >= most) return refuse('unavailable', { reason: 'streams' })
      if (own >= mostPerCaller) return refuse('tooManyStreams', { most: mostPerCaller })
      taken += 1
      places.set(caller, own + 1)
      let isMine = true
      return ok(() => {
        if (!isMine) return
        isMine = false
        taken -= 1
        const left = (places.get(caller) ?? 1) - 1
        if (left === 0) places.delete(caller)
        else places.set(caller, left)
      })
    },
    listen(listener) {
      if (isClosed) {
        listener.end()
        return () => {}
      }
      listeners.add(listener)
      if (!isPolling) {
        isPolling = true
        void keepPolling()
      }
      return () => void listeners.delete(listener)
    },
    close() {
      isClosed = true
      for (const listener of listeners) leave(listeners, listener)
    },
    taken: () => taken,
  }
}

function leave(listeners: Set<Listener>, listener: Listener): void {
  listeners.delete(listener)
  listener.end()
}

interface Told extends Omit<OrderEvent, 'at'> {
  uuid: string
  atMs: number
}

/**
 * Each order is asked for by its own last event: ids of one order grow with its changes, but a change of another order
 * that was committed late may have an id below the highest that was ever seen.
 */
async function poll(db: Database, listeners: Set<Listener>, now: number): Promise<void> {
  const asked = [...listeners]
  const known = new Map<string, number>()
  for (const { uuid, after } of asked)
    known.set(uuid, Math.min(after, known.get(uuid) ?? Number.MAX_SAFE_INTEGER))
  const hashes = [...new Set(asked.flatMap(({ hash }) => hash ?? []))]
  const at = timestamptz(now)
  const [found] = await rows<{ told: Told[] | null; dead: string[] | null }>(
    db,
    sql`SELECT (
        SELECT jsonb_agg(jsonb_build_object('uuid', order_uuid, 'id', id, 'status', status,
          'atMs', extract(epoch FROM at) * 1000, 'details', details) ORDER BY id)
        FROM unnest(${`{${[...known.keys()].map((uuid) => `"${uuid}"`).join(',')}}`}::text::text[],
          ${`{${[...known.values()].join(',')}}`}::text::bigint[]) AS listened (uuid, seen)
        CROSS JOIN LATERAL (
          SELECT * FROM order_events WHERE order_uuid = uuid AND id > seen ORDER BY id LIMIT ${MOST_EVENTS}::int
        ) AS news
      ) AS told, (
        SELECT jsonb_agg(hash) FROM unnest(${`{${hashes.join(',')}}`}::text::text[]) AS presented (hash)
        WHERE NOT EXISTS (
          SELECT FROM api_keys WHERE ${hasHashSql(sql`decode(hash, 'hex')`, at)} AND ${isActiveSql(at)})
      ) AS dead`,
  )
  const news = Map.groupBy(found?.told ?? [], ({ uuid }) => uuid)
  const dead = new Set(found?.dead)
  for (const listener of asked) {
    if (!listeners.has(listener)) continue
    if (listener.hash !== undefined && dead.has(listener.hash)) {
      leave(listeners, listener)
      continue
    }
    let last: OrderStatus = 'open'
    for (const { atMs, id, status, details } of news.get(listener.uuid) ?? []) {
      if (id <= listener.after) continue
      listener.after = id
      listener.tell({ id, status, details, at: new Date(atMs) })
      last = status
    }
    if (orderHasEnded(last)) leave(listeners, listener)
  }
}
