import { sql } from 'drizzle-orm'
import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import type { Json } from '../wire/json.ts'
import { type Actor, bodyText, FIRST_HASH } from './event.ts'

export interface AuditEntry {
  event: string
  walletAddress: string
  keyId?: string | undefined
  actor: Actor
  at: number
  /** The owner's signed message, and its row. */
  action?: { id: number; messageHash: Uint8Array } | undefined
  details?: { [name: string]: Json }
}

/** A key's rights as they are from now on: written by the statement that also says so in the audit. */
export interface RightsMac {
  keyId: string
  /** Hex. */
  mac: string
}

/**
 * Adds an event to a wallet's chain, and seals the keys that it changed. The caller's transaction holds the wallet's
 * lock, which `consumeMessage` or `lockWallet` took: two events cannot have the same predecessor.
 */
export async function appendAudit(
  tx: Database,
  entry: AuditEntry,
  sealed: readonly RightsMac[] = [],
): Promise<void> {
  const { walletAddress, keyId = null, action } = entry
  const body = bodyText({
    v: 1,
    event: entry.event,
    walletAddress,
    keyId,
    actor: entry.actor,
    at: entry.at,
    messageHash: action === undefined ? null : toHex(action.messageHash),
    details: entry.details ?? {},
  })
  const seals = sql`WITH sealed AS (
      UPDATE api_keys SET rights_mac = decode(seal.mac, 'hex')
      FROM unnest(${arrayOf(sealed.map(({ keyId }) => keyId))}::text::text[], ${arrayOf(sealed.map(({ mac }) => mac))}::text::text[])
        AS seal (key_id, mac) WHERE id = seal.key_id
    )`
  await rows(
    tx,
    sql`${sealed.length > 0 ? seals : sql``}
      INSERT INTO audit_events (wallet_address, sequence, key_id, action_id, body, hash)
      SELECT ${walletAddress}, coalesce(last.sequence, 0) + 1, ${keyId}::text, ${action?.id ?? null}::bigint, ${body},
        sha256(coalesce(last.hash, ${fromHex(FIRST_HASH)}::bytea) || ${sha256(body)}::bytea)
      FROM (SELECT 1) AS always LEFT JOIN (
        SELECT sequence, hash FROM audit_events WHERE wallet_address = ${walletAddress}
        ORDER BY sequence DESC LIMIT 1
      ) AS last ON true`,
  )
}

/** Of texts that have neither quotes nor commas. */
function arrayOf(texts: readonly string[]): string {
  return `{${texts.join(',')}}`
}
