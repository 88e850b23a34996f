import { sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import type { TransactionStatus } from '../db/schema.ts'
import { timestamptz } from '../db/time.ts'
import { type AccountNonces, MAX_PENDING } from './operator.ts'

/** A signed transaction that is due for a check. */
export interface DueTransaction {
  txid: string
  kind: 'swap' | 'filler'
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
  /** The nonce that the chain expects next of the operator, and since when. */
  chainNonce: number
  chainNonceAt: number
}

type Row = Omit<DueTransaction, 'orderUuid' | 'rawBox' | 'outcome' | 'blockHeight' | 'minedAt'> & {
  order_uuid: string | null
  box: string
  outcome: string | null
  height: number | null
  mined: number | null
}

const milliseconds = (column: string) => sql.raw(`(extract(epoch FROM ${column}) * 1000)::float8`)

/** Leases due transactions to this process. If it crashes, its leases expire and another process takes over. */
export async function leaseDue(
  db: Database,
  now: number,
  leasedUntil: number,
  limit: number,
): Promise<DueTransaction[]> {
  const found = await rows<Row>(
    db,
    sql`WITH due AS (
        SELECT txid FROM transactions WHERE check_at <= ${timestamptz(now)}
          AND status IN ('signed', 'accepted', 'outbid', 'mined')
        ORDER BY check_at LIMIT ${limit}::int FOR UPDATE SKIP LOCKED
      )
      UPDATE transactions SET looks = looks + 1, check_at = ${timestamptz(leasedUntil)}
      FROM due, operators
      WHERE transactions.txid = due.txid AND operators.address = transactions.operator
      RETURNING transactions.txid, kind, order_uuid, operator, nonce::float8 AS nonce,
        fee_in_micro_stx::float8 AS "feeInMicroStx", encode(raw_box, 'hex') AS box, status, looks AS attempts,
        misses AS "notFound", outcome,
        block_height::float8 AS height, ${milliseconds('mined_at')} AS mined,
        ${milliseconds('coalesce(answered_at, created_at)')} AS since,
        chain_nonce::float8 AS "chainNonce", ${milliseconds('chain_nonce_at')} AS "chainNonceAt"`,
  )
  return found.map(({ order_uuid, box, height, mined, ...row }) => ({
    ...row,
    orderUuid: order_uuid ?? undefined,
    rawBox: fromHex(box),
    outcome: row.outcome ?? undefined,
    blockHeight: height ?? undefined,
    minedAt: mined ?? undefined,
    chainNonceAt: row.chainNonceAt ?? 0,
  }))
}

/** Other transactions that were signed for the same nonce and may be mined instead. */
export async function competingTransactions(
  db: Database,
  { txid, operator, nonce }: Pick<DueTransaction, 'txid' | 'operator' | 'nonce'>,
): Promise<string[]> {
  const found = await rows<{ txid: string }>(
    db,
    sql`SELECT txid FROM transactions WHERE operator = ${operator} AND nonce = ${nonce}::bigint
      AND txid <> ${txid} AND status IN ('signed', 'accepted', 'outbid', 'mined')`,
  )
  return found.map((one) => one.txid)
}

/** The operator accounts that have pending transactions. */
export async function operatorsWithPending(db: Database): Promise<Set<string>> {
  const found = await rows<{ address: string }>(
    db,
    sql`SELECT address FROM operators WHERE next_nonce > chain_nonce`,
  )
  return new Set(found.map((one) => one.address))
}

/** Nonces that no transaction will use: refused, while later ones are signed already, which wait for them. */
export async function nonceGaps(
  db: Database,
  operator: string,
  { confirmed, nextNonce, pending }: AccountNonces,
): Promise<number[]> {
  const end = Math.min(nextNonce, confirmed + MAX_PENDING)
  const found = await rows<{ nonce: number }>(
    db,
    sql`SELECT gap::float8 AS nonce FROM generate_series(${confirmed}::bigint, ${end - 1}::bigint) AS gap
      WHERE NOT EXISTS (SELECT FROM transactions
        WHERE operator = ${operator} AND nonce = gap AND status <> 'refused')
      ORDER BY gap`,
  )
  return found.map(({ nonce }) => nonce).filter((nonce) => !pending.includes(nonce))
}
