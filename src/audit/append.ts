import { type SQL, sql } from 'drizzle-orm'
import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import type { Json } from '../wire/json.ts'
import { type Actor, type AuditHead, bodyText, FIRST_HASH } from './event.ts'

/** An event that is to be appended. */
export interface AuditEntry {
  event: string
  walletAddress: string
  keyId?: string | undefined
  actor: Actor
  /** Milliseconds since 1970. */
  at: number
  /** The owner's signed message and its row in `signed_actions`. */
  action?: { id: number; messageHash: Uint8Array } | undefined
  details?: { [name: string]: Json }
  /** The event that the message names. */
  auditHead?: AuditHead | undefined
}

/** The MAC of a key's rights after the event. */
export interface RightsMac {
  keyId: string
  /** Hex. */
  mac: string
}

/**
 * Appends an event to a wallet's chain, and writes the MACs of the keys that it changed: one statement, so that no key is
 * authenticated without its event. The caller's transaction holds the wallet's lock, which `consumeMessage` or `lockWallet`
 * took: two events cannot have the same predecessor. Resolves to the chain's new head.
 */
export async function appendAudit(
  tx: Database,
  entry: AuditEntry,
  macs: readonly RightsMac[] = [],
): Promise<AuditHead> {
  const { walletAddress, keyId = null, action } = entry
  const body = entryText(entry)
  const shard = shardSql(walletAddress)
  const [head] = await rows<AuditHead>(
    tx,
    sql`${macs.length > 0 ? writeMacsSql(macs, shard) : sql``}
      INSERT INTO audit_events (wallet_address, shard, sequence, key_id, action_id, body, hash)
      SELECT ${walletAddress}, ${shard}, coalesce(last.sequence, 0) + 1, ${keyId}::text, ${action?.id ?? null}::bigint, ${body},
        sha256(coalesce(last.hash, ${fromHex(FIRST_HASH)}::bytea) || ${sha256(body)}::bytea)
      FROM (SELECT 1) AS always LEFT JOIN (
        SELECT sequence, hash FROM audit_events WHERE wallet_address = ${walletAddress} AND shard = ${shard}
        ORDER BY sequence DESC LIMIT 1
      ) AS last ON true
      RETURNING sequence::int AS sequence, encode(hash, 'hex') AS hash`,
  )
  return head as AuditHead
}

/** The text that an entry is hashed and stored as. */
export function entryText(entry: AuditEntry): string {
  const { event, walletAddress, keyId = null, actor, at, action, details = {}, auditHead } = entry
  const messageHash = action === undefined ? null : toHex(action.messageHash)
  const body = { v: 1, event, walletAddress, keyId, actor, at, messageHash, details } as const
  return bodyText(auditHead === undefined ? body : { ...body, auditHead })
}

function writeMacsSql(macs: readonly RightsMac[], shard: SQL): SQL {
  const keyIds = arrayText(macs.map(({ keyId }) => keyId))
  const hex = arrayText(macs.map(({ mac }) => mac))
  return sql`WITH authenticated AS (
      UPDATE api_keys SET rights_mac = decode(computed.mac, 'hex')
      FROM unnest(${keyIds}::text::text[], ${hex}::text::text[]) AS computed (key_id, mac)
      WHERE id = computed.key_id AND api_keys.shard = ${shard}
    )`
}

/** An array literal of texts that have neither quotes nor commas. */
function arrayText(texts: readonly string[]): string {
  return `{${texts.join(',')}}`
}
