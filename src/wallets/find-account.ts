import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import { isUnendedSql } from '../keys/liveness-sql.ts'
import type { MaxAmountIn } from '../keys/terms.ts'
import { spendingDayOf } from '../orders/allowance.ts'
import type { OrderViewer } from '../orders/find.ts'
import { hasEndedUnsettledSql, isOverdueSql, UNENDED_STATUSES } from '../orders/lifecycle.ts'
import type { Network } from '../stacks/network.ts'
import type { AccountState, DailyAmount, KeyAmounts, OpenOrder, WalletBalance } from './account.ts'
import {
  HOLDINGS_MAX_AGE_MS,
  type ReadHoldings,
  type Reading,
  type WalletHoldings,
} from './holdings.ts'

/** Orders of each status that are counted, at most. */
const MAX_COUNTED = 1_000
const MAX_SHOWN = 100
const STX = { token: '.stx', symbol: 'STX', decimals: 6 }

interface AccountServices {
  db: Database
  config: { STACKS_NETWORK: Network; ACCOUNT_TOKENS: readonly string[] }
  readHoldings: ReadHoldings
  now: () => number
}

/** Finds what a wallet has at the service by one statement, which reads one shard, and on chain as it was read within seconds. */
export async function findAccount(
  { db, config, readHoldings, now }: AccountServices,
  viewer: OrderViewer,
  at: number,
): Promise<AccountState> {
  const { walletAddress } = viewer
  const [kept, holdings] = await Promise.all([
    findKept(db, viewer, at),
    readHoldings(walletAddress),
  ])
  const shownAt = now()
  const { account } = holdings
  const next = account?.value.next
  const isRecent = (reading: Reading<unknown> | undefined) =>
    reading !== undefined && Math.abs(shownAt - reading.readAt) <= HOLDINGS_MAX_AGE_MS
  const isCurrent =
    next !== undefined &&
    [account, ...config.ACCOUNT_TOKENS.map((token) => holdings.tokens.get(token))].every(isRecent)
  return {
    status: 'success',
    walletAddress,
    network: config.STACKS_NETWORK,
    chain: { isCurrent, maxAgeMs: HOLDINGS_MAX_AGE_MS },
    ...(account !== undefined &&
      next !== undefined && {
        nonces: { confirmed: account.value.confirmed, next, ...ageOf(account, shownAt) },
      }),
    balances: balancesOf(holdings, config.ACCOUNT_TOKENS, shownAt),
    ...kept,
  }
}

function ageOf({ readAt }: Reading<unknown>, at: number): { asOf: string; ageMs: number } {
  return { asOf: new Date(readAt).toISOString(), ageMs: Math.max(0, at - readAt) }
}

function balancesOf(
  { account, tokens, facts }: WalletHoldings,
  configured: readonly string[],
  at: number,
): WalletBalance[] {
  const stx: WalletBalance =
    account === undefined
      ? { ...STX, state: 'unknown' }
      : {
          ...STX,
          state: 'known',
          amount: String(account.value.microStx),
          ...ageOf(account, at),
        }
  return [
    stx,
    ...configured.map((token): WalletBalance => {
      const named = { token, ...facts.get(token) }
      const held = tokens.get(token)
      if (held === undefined) return { ...named, state: 'unknown' }
      if (held.value === 'absent') return { ...named, state: 'noToken', ...ageOf(held, at) }
      return { ...named, state: 'known', amount: String(held.value), ...ageOf(held, at) }
    }),
  ]
}

interface OrderJson extends Omit<OpenOrder, 'createdAt' | 'validTo'> {
  uuid: string
  createdBy?: string
  createdMs: number
  validToMs?: number
}

interface KeptRow {
  count: number
  totals: Record<string, string> | null
  newest: OrderJson[] | null
  limits: { keyId: string; maxAmountIn: MaxAmountIn }[] | null
  used: { keyId: string; token: string; reserved: string; spent: string }[] | null
}

async function findKept(
  db: Database,
  { walletAddress, createdBy }: OrderViewer,
  now: number,
): Promise<Pick<AccountState, 'openOrders' | 'keys'>> {
  const at = timestamptz(now)
  const shard = shardSql(walletAddress)
  const [found] = await rows<KeptRow>(
    db,
    sql`WITH unended AS MATERIALIZED (
        SELECT counted.* FROM unnest(${`{${UNENDED_STATUSES.join(',')}}`}::text::text[]) AS wanted (state)
        CROSS JOIN LATERAL (
          SELECT uuid, sequence, status, input_token, output_token, amount_in, created_at, valid_to, created_by FROM orders
          WHERE owner = ${walletAddress} AND shard = ${shard} AND status = state AND (${isOverdueSql(at)}) IS NOT TRUE
          ORDER BY sequence DESC LIMIT ${MAX_COUNTED + 1}::int
        ) AS counted
      ), live AS MATERIALIZED (
        SELECT id, max_amount_in FROM api_keys
        WHERE wallet_address = ${walletAddress} AND shard = ${shard} AND ${isUnendedSql(at)}
          AND max_amount_in IS NOT NULL AND (${createdBy ?? null}::text IS NULL OR id = ${createdBy ?? null}::text)
      ), used AS (
        SELECT live.id, reservation.token,
          coalesce(sum(reservation.amount) FILTER (WHERE orders.status <> 'confirmed'), 0)::text AS reserved,
          coalesce(sum(reservation.amount) FILTER (WHERE orders.status = 'confirmed'), 0)::text AS spent
        FROM live JOIN key_reservations AS reservation
          ON reservation.key_id = live.id AND reservation.shard = ${shard} AND reservation.day = ${spendingDayOf(now)}::int
        JOIN orders ON orders.uuid = reservation.order_uuid AND orders.shard = ${shard}
        WHERE (${hasEndedUnsettledSql()} OR ${isOverdueSql(at)}) IS NOT TRUE
        GROUP BY live.id, reservation.token
      )
      SELECT (SELECT count(*)::int FROM unended) AS count,
        (SELECT jsonb_object_agg(input_token, amount) FROM (
          SELECT input_token, sum(amount_in)::text AS amount FROM unended GROUP BY input_token) AS total) AS totals,
        (SELECT jsonb_agg(jsonb_strip_nulls(jsonb_build_object('uuid', uuid, 'status', status, 'inputToken', input_token,
            'outputToken', output_token, 'amountIn', amount_in::text, 'createdBy', created_by,
            'createdMs', ${milliseconds(sql`created_at`)}, 'validToMs', ${milliseconds(sql`valid_to`)})) ORDER BY sequence DESC)
          FROM (SELECT * FROM unended ORDER BY sequence DESC LIMIT ${MAX_SHOWN}::int) AS shown) AS newest,
        (SELECT jsonb_agg(jsonb_build_object('keyId', id, 'maxAmountIn', max_amount_in) ORDER BY id) FROM live) AS limits,
        (SELECT jsonb_agg(jsonb_build_object('keyId', id, 'token', token, 'reserved', reserved, 'spent', spent) ORDER BY id, token)
          FROM used) AS used`,
  )
  const count = found?.count ?? 0
  return {
    openOrders: {
      count: Math.min(count, MAX_COUNTED),
      hasMore: count > MAX_COUNTED,
      amountIn: found?.totals ?? {},
      newest: (found?.newest ?? []).map((order) => presentOpen(order, createdBy)),
    },
    keys: amountsOf(found?.limits ?? [], found?.used ?? []),
  }
}

/** A key that is shown its own orders alone sees no uuid of another one. */
function presentOpen(
  { uuid, createdBy, createdMs, validToMs, ...order }: OrderJson,
  shownTo: string | undefined,
): OpenOrder {
  return {
    ...((shownTo === undefined || shownTo === createdBy) && { uuid }),
    ...order,
    createdAt: new Date(createdMs).toISOString(),
    ...(validToMs !== undefined && { validTo: new Date(validToMs).toISOString() }),
  }
}

/** Of each key: the tokens that have a daily limit, and those that were used today. */
function amountsOf(
  limits: NonNullable<KeptRow['limits']>,
  used: NonNullable<KeptRow['used']>,
): KeyAmounts[] {
  return limits.flatMap(({ keyId, maxAmountIn }) => {
    const amounts = new Map<string, DailyAmount>()
    for (const [token, { perDay }] of Object.entries(maxAmountIn))
      if (perDay !== undefined) amounts.set(token, { reserved: '0', spent: '0', perDay })
    for (const { keyId: of, token, reserved, spent } of used)
      if (of === keyId) amounts.set(token, { ...amounts.get(token), reserved, spent })
    return amounts.size === 0 ? [] : [{ keyId, amounts: Object.fromEntries(amounts) }]
  })
}
