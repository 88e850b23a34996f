import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { milliseconds, timestamptz } from '../db/time.ts'

/** A transaction that no block has for longer than it should take. */
export interface StuckTransaction {
  txid: string
  kind: string
  orderUuid: string | null
  operator: string
  nonce: number
  /** Nonces of the operator before it that the chain still waits for: what holds it up. */
  behind: number
  feeInMicroStx: number
  status: string
  attempts: number
  ageSeconds: number
}

const MOST = 1_000

/** Finds transactions that are signed or accepted and not mined, oldest first. */
export async function findStuck(
  { db, config, now }: { db: Database; config: { STUCK_AFTER_SECONDS: number }; now(): number },
  olderThanSeconds = config.STUCK_AFTER_SECONDS,
): Promise<StuckTransaction[]> {
  const at = now()
  const before = timestamptz(at - olderThanSeconds * 1_000)
  const found = await rows<Omit<StuckTransaction, 'ageSeconds'> & { createdAt: number }>(
    db,
    sql`SELECT txid, kind, order_uuid AS "orderUuid", operator, nonce::float8 AS nonce,
        greatest(nonce - chain_nonce, 0)::float8 AS behind, fee_in_micro_stx::float8 AS "feeInMicroStx", status,
        looks AS attempts, ${milliseconds(sql`created_at`)} AS "createdAt"
      FROM transactions JOIN operators ON operators.address = transactions.operator
      WHERE check_at IS NOT NULL AND status IN ('signed', 'accepted', 'outbid') AND created_at <= ${before}
      ORDER BY created_at, txid LIMIT ${MOST}::int`,
  )
  return found.map(({ createdAt, ...one }) => ({
    ...one,
    ageSeconds: Math.floor((at - createdAt) / 1_000),
  }))
}
