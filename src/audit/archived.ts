import { sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { type ArchivedEvents, FIRST_HASH, linkHash } from './event.ts'

/*
 * Events leave a chain from its beginning, and its newest event never does. What stays of them are 32 bytes each, the hashes of their
 * bodies: all hashes of the chain follow from these, so that a head which a wallet, or a file outside the database, has kept is
 * compared as before.
 */

/** The row of a wallet whose events have left with an archive. */
export interface ArchivedAudit {
  /** The last event that left. */
  through: number
  /** Hex. */
  bodyHashes: string
  actionId: number
  /** JSON of an `ArchivedState`. */
  state: string
  /** Hex. */
  mac: string
}

const HASH_DIGITS = 64
/** More than a bytea has room for, and no overflow of its place in bytes. */
const MAX_ARCHIVED = 60_000_000

/** Reads what stayed of a wallet's archived events; undefined where none has left. */
export async function readArchivedAudit(
  db: Database,
  walletAddress: string,
): Promise<ArchivedAudit | undefined> {
  const [found] = await rows<Omit<ArchivedAudit, 'through'>>(
    db,
    sql`SELECT encode(body_hashes, 'hex') AS "bodyHashes", action_id::float8 AS "actionId", state, encode(mac, 'hex') AS mac
      FROM archived_audits WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)}`,
  )
  return found && { ...found, through: found.bodyHashes.length / HASH_DIGITS }
}

/** The text that the MAC of such a row is computed over. */
export function archivedAuditText(
  walletAddress: string,
  { bodyHashes, actionId, state }: Pick<ArchivedAudit, 'bodyHashes' | 'actionId' | 'state'>,
): string {
  return JSON.stringify(['archived audit 1', walletAddress, bodyHashes, actionId, state])
}

/** The hashes of bodies, one by one. */
export function splitHashes(bodyHashes: string): string[] {
  const hashes: string[] = []
  for (let at = 0; at < bodyHashes.length; at += HASH_DIGITS)
    hashes.push(bodyHashes.slice(at, at + HASH_DIGITS))
  return hashes
}

/** The hashes of a chain's events, from the first one on. */
export function hashesOfChain(bodyHashes: string): string[] {
  const hashes: string[] = []
  for (const bodyHash of splitHashes(bodyHashes))
    hashes.push(linkHash(hashes.at(-1) ?? FIRST_HASH, fromHex(bodyHash)))
  return hashes
}

/** The hash of an archived event; undefined where the event has not left, or never was. */
export async function archivedHash(
  db: Database,
  walletAddress: string,
  sequence: number,
): Promise<string | undefined> {
  const archived = await readArchivedAudit(db, walletAddress)
  if (archived === undefined || sequence < 1 || sequence > archived.through) return undefined
  return hashesOfChain(archived.bodyHashes.slice(0, sequence * HASH_DIGITS)).at(-1)
}

/** A page of a wallet's archived events, and where they are. */
export interface ArchivedPage extends ArchivedEvents {
  /** The last event that has left. */
  through: number
  /** The newest row of `signed_actions` that one of them names. */
  actionId: number
}

/** Lists archived events of a wallet behind a sequence; undefined where none has left. */
export async function listArchived(
  db: Database,
  walletAddress: string,
  { after, limit }: { after: number; limit: number },
): Promise<ArchivedPage | undefined> {
  const [found] = await rows<{
    through: number
    bodyHashes: string
    actionId: number
    archives: string
  }>(
    db,
    sql`SELECT octet_length(body_hashes) / 32 AS through, action_id::float8 AS "actionId",
        encode(substr(body_hashes, ${Math.min(after, MAX_ARCHIVED)}::int * 32 + 1, ${limit}::int * 32), 'hex') AS "bodyHashes",
        (state::jsonb -> 'archives')::text AS archives
      FROM archived_audits WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)}`,
  )
  if (found === undefined) return undefined
  return {
    through: found.through,
    actionId: found.actionId,
    bodyHashes: splitHashes(found.bodyHashes),
    archives: JSON.parse(found.archives),
  }
}
