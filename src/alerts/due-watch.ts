import { sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import type { Heartbeat } from '../keys/terms.ts'
import type { AlertServices } from './services.ts'

/** A key that is looked at, and what is to be done, as the statement that took it saw the key. */
export interface DueWatch {
  keyId: string
  walletAddress: string
  rule: 'heartbeat' | 'expiring'
  verdict: 'act' | 'drop' | 'later' | 'again'
  /** Of a heartbeat. */
  effect: Heartbeat['then'] | null
  /** When another process may take it. Milliseconds since 1970. */
  dueAt: number
}

/** Deletes a watch that has no use any more, unless its owner has set it again meanwhile. */
export async function dropWatch(
  { db }: Pick<AlertServices, 'db'>,
  { keyId, walletAddress, rule, dueAt }: DueWatch,
): Promise<void> {
  await rows(
    db,
    sql`DELETE FROM key_watches WHERE key_id = ${keyId} AND rule = ${rule} AND shard = ${shardSql(walletAddress)}
      AND due_at = ${timestamptz(dueAt)}`,
  )
}
