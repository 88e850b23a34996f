import type { Sql } from 'postgres'
import { DISTRIBUTED_TABLES } from '../../../src/db/distribution.ts'

/** What became of requests that one kind of success would have counted. */
interface Outcomes {
  succeeded: number
  failed: number
  /** No answer, a 202 or a 503: nobody told the client what happened. */
  unknown: number
}

/** What the clients of one key were told. */
export interface KeyLedger {
  keyId: string
  walletAddress: string
  /** Requests that create, execute or cancel. */
  acts: Outcomes
  /** Requests that recordSuccess without changing anything. */
  reads: Outcomes
}

/** What all clients were told. */
export interface Ledger {
  keys: KeyLedger[]
  created: Set<string>
  cancelled: Set<string>
  /** The txid that the answer named, by uuid. */
  executed: Map<string, string>
  granted: Set<string>
  revoked: Set<string>
}

export function openLedger(): Ledger {
  return {
    keys: [],
    created: new Set(),
    cancelled: new Set(),
    executed: new Map(),
    granted: new Set(),
    revoked: new Set(),
  }
}

export function keyLedger(keyId: string, walletAddress: string): KeyLedger {
  const none = () => ({ succeeded: 0, failed: 0, unknown: 0 })
  return { keyId, walletAddress, acts: none(), reads: none() }
}

interface KeyRow {
  total: number
  successful: number
  creations: number
  executions: number
  cancellations: number
  created_orders: number
  executed_orders: number
  cancelled_orders: number
}

/** Tables of this session in place of those of a cluster, which joins rows of one shard only. */
async function copyDistributed(client: Sql): Promise<void> {
  const [found] = await client`SELECT to_regclass('pg_catalog.pg_dist_node') IS NOT NULL AS citus`
  if (found?.citus !== true) return
  for (const table of DISTRIBUTED_TABLES)
    await client.unsafe(`CREATE TEMPORARY TABLE ${table} AS SELECT * FROM public.${table}`)
}

/** Compares what clients were told with what is stored, and what is stored with itself. Answers every mismatch. */
export async function mismatches(ledger: Ledger, client: Sql): Promise<string[]> {
  const found: string[] = []
  const claim = (holds: boolean, what: string) => {
    if (!holds) found.push(what)
  }
  const all = <T>(answer: readonly unknown[]) => answer as readonly T[]
  await copyDistributed(client)

  for (const { keyId, acts, reads } of ledger.keys) {
    const [row] = all<KeyRow>(
      await client`
      SELECT total_requests::int AS total, successful_requests::int AS successful,
        creation_count::int AS creations, execution_count::int AS executions,
        cancellation_count::int AS cancellations,
        (SELECT count(*)::int FROM orders WHERE created_by = k.id) AS created_orders,
        (SELECT count(*)::int FROM order_events e JOIN orders o ON o.uuid = e.order_uuid
          WHERE o.created_by = k.id AND e.status = 'broadcasted'
            AND e.details ->> 'reason' IS NULL) AS executed_orders,
        (SELECT count(*)::int FROM orders o WHERE o.created_by = k.id AND o.status = 'cancelled'
          AND NOT EXISTS (SELECT FROM signed_actions a WHERE a.wallet_address = o.owner
            AND a.action = 'cancel_order' AND a.message::jsonb ->> 'uuid' = o.uuid)) AS cancelled_orders
      FROM (SELECT key_id AS id, * FROM key_counters) k WHERE id = ${keyId}`,
    )
    if (row === undefined) {
      found.push(`${keyId} is gone`)
      continue
    }
    const say = (what: string, told: Outcomes[]) =>
      `${keyId}: ${what}, told ${JSON.stringify(told)}`
    const { total, successful, creations, executions, cancellations } = row
    const sum = (name: keyof Outcomes) => acts[name] + reads[name]
    const answered = sum('succeeded') + sum('failed')
    claim(
      total >= answered && total <= answered + sum('unknown'),
      say(`${total} requests counted`, [acts, reads]),
    )
    const acted = creations + executions + cancellations
    claim(
      acted >= acts.succeeded && acted <= acts.succeeded + acts.unknown,
      say(`${acted} successful acts counted`, [acts]),
    )
    const read = successful - acted
    claim(
      read >= reads.succeeded && read <= reads.succeeded + reads.unknown,
      say(`${read} successful reads counted`, [reads]),
    )
    claim(successful <= total, say(`${successful} of ${total} successful`, [acts, reads]))
    claim(
      creations === row.created_orders,
      `${keyId}: ${creations} creations counted, ${row.created_orders} orders`,
    )
    claim(
      executions === row.executed_orders,
      `${keyId}: ${executions} executions counted, ${row.executed_orders} orders`,
    )
    claim(
      cancellations === row.cancelled_orders,
      `${keyId}: ${cancellations} cancellations counted, ${row.cancelled_orders} orders`,
    )
  }

  const orders = new Map(
    all<{ uuid: string; status: string }>(await client`SELECT uuid, status FROM orders`).map(
      (order) => [order.uuid, order],
    ),
  )
  for (const uuid of ledger.created)
    claim(orders.has(uuid), `order ${uuid} was created and is gone`)
  for (const uuid of ledger.cancelled)
    claim(
      orders.get(uuid)?.status === 'cancelled',
      `order ${uuid} was cancelled and is ${orders.get(uuid)?.status}`,
    )
  const sent = new Set(
    all<{ what: string }>(
      await client`SELECT order_uuid || ' ' || (details ->> 'txid') AS what FROM order_events
        WHERE status = 'broadcasted'`,
    ).map(({ what }) => what),
  )
  for (const [uuid, txid] of ledger.executed) {
    const status = orders.get(uuid)?.status ?? 'gone'
    claim(
      sent.has(`${uuid} ${txid}`) && ['broadcasted', 'confirmed', 'failed'].includes(status),
      `order ${uuid} was sent as ${txid} and is ${status}`,
    )
  }

  const keys = new Map(
    all<{ id: string; revoked: boolean }>(
      await client`SELECT id, revoked_at IS NOT NULL AS revoked FROM api_keys`,
    ).map((key) => [key.id, key]),
  )
  for (const keyId of ledger.granted) claim(keys.has(keyId), `key ${keyId} was granted and is gone`)
  for (const keyId of ledger.revoked)
    claim(keys.get(keyId)?.revoked === true, `key ${keyId} was revoked and lives`)

  for (const { what, rows } of all<{ what: string; rows: number }>(
    await client`
    SELECT * FROM (
      SELECT 'messages that granted no key' AS what, (SELECT count(*)::int FROM signed_actions a
        WHERE action = 'create_api_key' AND NOT EXISTS (SELECT FROM api_keys WHERE grant_id = a.id)) AS rows
      UNION ALL SELECT 'messages that granted two keys',
        (SELECT count(*) - count(DISTINCT grant_id) FROM api_keys)::int
      UNION ALL SELECT 'messages that revoked nothing', (SELECT count(*)::int FROM signed_actions a
        WHERE action = 'delete_api_key' AND NOT EXISTS (SELECT FROM api_keys
          WHERE id = a.message::jsonb ->> 'keyId' AND revoked_at IS NOT NULL))
      UNION ALL SELECT 'messages that cancelled nothing', (SELECT count(*)::int FROM signed_actions a
        WHERE action = 'cancel_order' AND NOT EXISTS (SELECT FROM orders
          WHERE uuid = a.message::jsonb ->> 'uuid' AND status = 'cancelled'))
      UNION ALL SELECT 'revoked keys that nobody revoked', (SELECT count(*)::int FROM api_keys k
        WHERE revoked_at IS NOT NULL AND NOT EXISTS (SELECT FROM signed_actions
          WHERE action = 'delete_api_key' AND message::jsonb ->> 'keyId' = k.id))
      UNION ALL SELECT 'orders on their way without their transaction', (SELECT count(*)::int FROM orders o
        WHERE status IN ('broadcasted', 'confirmed') AND 1 <> (SELECT count(*) FROM transactions t
          WHERE t.order_uuid = o.uuid AND t.txid = o.txid AND t.status IN ('accepted', 'outbid', 'mined')))
      UNION ALL SELECT 'orders in execution without a signed transaction', (SELECT count(*)::int FROM orders o
        WHERE status = 'executing' AND NOT EXISTS (SELECT FROM transactions t
          WHERE t.txid = o.txid AND t.status IN ('signed', 'outbid')))
      UNION ALL SELECT 'open or cancelled orders with a transaction', (SELECT count(*)::int FROM orders o
        WHERE status IN ('open', 'cancelled') AND EXISTS (SELECT FROM transactions t
          WHERE t.order_uuid = o.uuid AND t.status NOT IN ('refused', 'replaced')))
      UNION ALL SELECT 'nonces mined twice', (SELECT count(*) - count(DISTINCT (operator, nonce))
        FROM transactions WHERE status = 'mined')::int
    ) AS wrong WHERE rows > 0`,
  ))
    found.push(`${rows} ${what}`)
  return found
}

/** How many successes of a kind were acknowledged, and are not stored. */
export type Lost = Record<
  'created' | 'cancelled' | 'executed' | 'granted' | 'revoked' | 'counts',
  number
>

/** Counts what clients were told and a database does not have; `counts` are requests with keys. */
export async function lostSuccesses(ledger: Ledger, client: Sql): Promise<Lost> {
  const orders = new Map<string, string>()
  for (const { uuid, status } of await client`SELECT uuid, status FROM orders`)
    orders.set(uuid, status)
  const sent = new Set<string>()
  for (const { what } of await client`SELECT order_uuid || ' ' || (details ->> 'txid') AS what
    FROM order_events WHERE status = 'broadcasted'`)
    sent.add(what)
  const keys = new Map<string, boolean>()
  for (const {
    id,
    revoked,
  } of await client`SELECT id, revoked_at IS NOT NULL AS revoked FROM api_keys`)
    keys.set(id, revoked)
  const totals = new Map<string, number>()
  for (const { id, total } of await client`SELECT key_id AS id, total_requests::int AS total
    FROM key_counters`)
    totals.set(id, total)
  const counts = ledger.keys.map(({ keyId, acts, reads }) => {
    const told = acts.succeeded + acts.failed + reads.succeeded + reads.failed
    return Math.max(0, told - (totals.get(keyId) ?? 0))
  })
  return {
    created: missing(ledger.created, (uuid) => orders.has(uuid)),
    cancelled: missing(ledger.cancelled, (uuid) => orders.get(uuid) === 'cancelled'),
    executed: missing(ledger.executed.keys(), (uuid) =>
      sent.has(`${uuid} ${ledger.executed.get(uuid)}`),
    ),
    granted: missing(ledger.granted, (keyId) => keys.has(keyId)),
    revoked: missing(ledger.revoked, (keyId) => keys.get(keyId) === true),
    counts: counts.reduce((sum, count) => sum + count, 0),
  }
}

function missing(told: Iterable<string>, isStored: (name: string) => boolean): number {
  return [...told].filter((name) => !isStored(name)).length
}
