import { type SQL, sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import { inShardsSql, splitByGroup } from '../db/distribution.ts'
import type { TransactionKind, TransactionStatus } from '../db/schema.ts'
import { later, milliseconds, searchTime } from '../db/time.ts'
import { type AccountNonces, MAX_PENDING } from './operator.ts'
import type { SettlementServices } from './services.ts'

/** A signed transaction that is due for a check. Times are milliseconds since 1970. */
export interface DueTransaction {
  txid: string
  shard: number
  kind: TransactionKind
  orderUuid: string | undefined
  operator: string
  nonce: number
  feeInMicroStx: number
  rawBox: Uint8Array
  status: TransactionStatus
  attempts: number
  notFound: number
  outcome: string | undefined
  blockHeight: number | undefined
  minedAt: number | undefined
  /** When it was signed, or a node accepted it. */
  since: number
  /** When the first transaction for its nonce was signed. */
  firstSignedAt: number
  /** When its order ends by its validTo; undefined where it has none. */
  orderEndsAt: number | undefined
  /** Whether its order is confirmed, and its uuid stored as used. */
  isSettled: boolean
  /** The nonce that the chain expects next of the operator, and since when. */
  chainNonce: number
  chainNonceAt: number
}

type Row = Omit<
  DueTransaction,
  'orderUuid' | 'rawBox' | 'outcome' | 'blockHeight' | 'minedAt' | 'orderEndsAt'
> & {
  ends: number | null
  order_uuid: string | null
  box: string
  outcome: string | null
  height: number | null
  mined: number | null
}

type LeaseServices = Pick<SettlementServices, 'db' | 'databaseTime' | 'distribution'>

/**
 * Leases due transactions of some operators to this process. If it crashes, its leases expire and another process takes over. Where tables are
 * distributed, the shards of due transactions are found first, and each group of them has a statement of its own.
 */
export async function leaseDue(
  services: LeaseServices,
  operators: ReadonlySet<string>,
  leaseMs: number,
  limit: number,
): Promise<DueTransaction[]> {
  const { distribution } = services
  if (operators.size === 0) return []
  const isDue = isDueSql(searchTime(services), operators)
  if (distribution === undefined) return leaseIn(services, isDue, leaseMs, limit, () => sql``)
  const leased: DueTransaction[] = []
  const shards = await dueShards(services, isDue, limit)
  for (const group of splitByGroup(distribution, shards, (one) => one)) {
    const inShards = inShardsSql(distribution, group)
    if (leased.length < limit)
      leased.push(...(await leaseIn(services, isDue, leaseMs, limit - leased.length, inShards)))
  }
  return leased
}

async function dueShards({ db }: LeaseServices, isDue: SQL, limit: number): Promise<number[]> {
  const found = await rows<{ shard: number }>(
    db,
    sql`SELECT DISTINCT shard FROM (
      SELECT shard FROM transactions WHERE ${isDue} ORDER BY check_at LIMIT ${limit}::int) AS due`,
  )
  return found.map(({ shard }) => shard)
}

function isDueSql(at: SQL, operators: ReadonlySet<string>): SQL {
  return sql`check_at <= ${at} AND status IN ('signed', 'accepted', 'outbid', 'mined')
    AND operator = ANY (${`{${[...operators].join(',')}}`}::text::text[])`
}

async function leaseIn(
  { db, databaseTime }: LeaseServices,
  isDue: SQL,
  leaseMs: number,
  limit: number,
  inShards: (table: string) => SQL,
): Promise<DueTransaction[]> {
  const at = databaseTime()
  const found = await rows<Row>(
    db,
    sql`WITH due AS (
        SELECT txid, shard FROM transactions WHERE ${isDue}${inShards('transactions')}
        ORDER BY check_at LIMIT ${limit}::int FOR UPDATE SKIP LOCKED
      )
      UPDATE transactions SET looks = looks + 1, check_at = ${later(at, leaseMs)}
      FROM due, operators
      WHERE transactions.txid = due.txid AND transactions.shard = due.shard${inShards('transactions')}
        AND operators.address = transactions.operator
      RETURNING transactions.txid, transactions.shard, kind, order_uuid, operator, nonce::float8 AS nonce,
        fee_in_micro_stx::float8 AS "feeInMicroStx", encode(raw_box, 'hex') AS box, status, looks AS attempts,
        misses AS "notFound", outcome, block_height::float8 AS height, ${milliseconds(sql`mined_at`)} AS mined,
        ${milliseconds(sql`coalesce(answered_at, created_at)`)} AS since,
        (SELECT ${milliseconds(sql`min(first.created_at)`)} FROM transactions AS first
          WHERE first.operator = transactions.operator AND first.nonce = transactions.nonce
            AND first.shard = transactions.shard${inShards('first')}) AS "firstSignedAt",
        (SELECT ${milliseconds(sql`valid_to`)} FROM orders
          WHERE uuid = order_uuid AND orders.shard = transactions.shard${inShards('orders')}) AS ends,
        EXISTS (SELECT FROM orders WHERE uuid = order_uuid AND orders.shard = transactions.shard${inShards('orders')}
          AND orders.status = 'confirmed' AND uuid_used_at IS NOT NULL) AS "isSettled",
        chain_nonce::float8 AS "chainNonce", ${milliseconds(sql`chain_nonce_at`)} AS "chainNonceAt"`,
  )
  return found.map(({ order_uuid, box, height, mined, ends, ...row }) => ({
    ...row,
    orderUuid: order_uuid ?? undefined,
    rawBox: fromHex(box),
    outcome: row.outcome ?? undefined,
    blockHeight: height ?? undefined,
    minedAt: mined ?? undefined,
    orderEndsAt: ends ?? undefined,
    chainNonceAt: row.chainNonceAt ?? 0,
  }))
}

/** Other transactions that were signed for the same nonce and may be mined instead. */
export async function competingTransactions(
  db: Database,
  { txid, shard, operator, nonce }: Pick<DueTransaction, 'txid' | 'shard' | 'operator' | 'nonce'>,
): Promise<string[]> {
  const found = await rows<{ txid: string }>(
    db,
    sql`SELECT txid FROM transactions WHERE operator = ${operator} AND nonce = ${nonce}::bigint
      AND txid <> ${txid} AND shard = ${shard}::int AND status IN ('signed', 'accepted', 'outbid', 'mined')`,
  )
  return found.map((one) => one.txid)
}

/** The operator accounts that have pending transactions, and none that was seen as mined for some time. */
export async function stalledOperators(
  { db, databaseTime }: LeaseServices,
  stalledForMs: number,
): Promise<Set<string>> {
  const found = await rows<{ address: string }>(
    db,
    sql`SELECT address FROM operators WHERE next_nonce > chain_nonce
      AND (chain_nonce_at IS NULL OR chain_nonce_at <= ${later(databaseTime(), -stalledForMs)})`,
  )
  return new Set(found.map((one) => one.address))
}

/**
 * Nonces that no transaction will use, while later ones wait for them. A nonce that the API does not know as unused is left
 * alone: another program of the operator's account may have a transaction pending there, which a filler would replace.
 */
export async function nonceGaps(
  db: Database,
  operator: string,
  { confirmed, nextNonce, isUnused }: AccountNonces,
): Promise<number[]> {
  const end = Math.min(nextNonce, confirmed + MAX_PENDING)
  const found = await rows<{ nonce: number }>(
    db,
    sql`SELECT nonce::float8 AS nonce FROM transactions WHERE operator = ${operator}
      AND nonce >= ${confirmed}::bigint AND nonce < ${end}::bigint AND status <> 'refused'`,
  )
  const used = new Set(found.map(({ nonce }) => nonce))
  const nonces = Array.from({ length: Math.max(0, end - confirmed) }, (_, at) => confirmed + at)
  return nonces.filter((nonce) => !used.has(nonce) && isUnused(nonce))
}
