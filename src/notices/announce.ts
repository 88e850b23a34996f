import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import type { AnnouncedType, FindingData } from './notice.ts'

/** Something that the owner of a wallet is to be told. */
export interface Announcement {
  walletAddress: string
  type: AnnouncedType
  keyId?: string | undefined
  orderUuid?: string | undefined
  data: FindingData
  /** Milliseconds since 1970. */
  at: number
}

/**
 * Records a notice for the owner of a wallet, and one delivery for each webhook that wants it. With a transaction, it is recorded if and
 * only if the change is. Changes of keys and of orders are not announced here: triggers on their events do so.
 */
export async function announce(
  db: Database,
  { walletAddress, type, keyId, orderUuid, data, at }: Announcement,
): Promise<void> {
  await rows(
    db,
    sql`INSERT INTO notices (wallet_address, shard, type, key_id, order_uuid, data, at)
      VALUES (${walletAddress}, ${shardSql(walletAddress)}, ${type}, ${keyId ?? null}, ${orderUuid ?? null},
        ${jsonbText(data)}::text::jsonb, ${timestamptz(at)})`,
  )
}

/**
 * The part of a statement that announces something of each changed order. `changed` names the CTE whose rows are those orders, with their
 * `uuid`, `shard`, `owner` and `created_by`; `at` is the time of the change.
 */
export function announceOrders(changed: SQL, type: AnnouncedType, at: SQL): SQL {
  return sql`INSERT INTO notices (wallet_address, shard, type, key_id, order_uuid, data, at)
    SELECT owner, shard, ${type}::text, created_by, uuid, '{}'::jsonb, ${at} FROM ${changed}`
}

/**
 * jsonb has neither U+0000 nor half of a surrogate pair, and what is announced may have come from anywhere. The replacement is not escaped: a
 * database whose encoding is not UTF-8 refuses escapes of what is not ASCII.
 */
function jsonbText(data: FindingData): string {
  return JSON.stringify(data).replaceAll(/\\\\|\\u(?:0000|d[89a-f][0-9a-f]{2})/g, (escaped) =>
    escaped === '\\\\' ? escaped : '\ufffd',
  )
}
