import { sql } from 'drizzle-orm'
import { type AuditEntry, appendAudit, entryText } from '../audit/append.ts'
import { chainHash, FIRST_HASH } from '../audit/event.ts'
import { fromHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { KEY_ROW, type KeyRow, type LockedKey, readKey } from '../keys/change.ts'
import { rightsText } from '../keys/rights.ts'
import type { KeyServices } from '../keys/services.ts'
import type { Recover } from '../stacks/recover.ts'
import { differences, replayAudit } from './replay.ts'

/** The number of the advisory lock that a backfill holds; nothing else in the database uses it. */
const BACKFILL_LOCK = 7_201_404_512

export type BackfillServices = Pick<KeyServices, 'db' | 'mac' | 'log'> & {
  recover: Recover
  config: Pick<KeyServices['config'], 'STACKS_NETWORK'>
}

/** How many keys got a MAC, and how many did not: the gate refuses those. */
export interface Backfilled {
  authenticated: number
  refused: number
}

/** A key without a MAC, with the owner's message that granted it. */
interface OldKey extends KeyRow {
  message: string
  signature: string
  /** Hex. */
  messageHash: string
  /** Whether the owner signed a delete_api_key for it. */
  isRevokedBySignature: boolean
  /** Whether another key names the same grant. */
  sharesGrant: boolean
}

/** The wallets with keys of a release without MACs; none once the database has any MAC or audit event. */
export async function walletsToBackfill(db: Database): Promise<string[]> {
  const found = await rows<{ wallet: string }>(
    db,
    sql`SELECT DISTINCT wallet_address AS wallet FROM api_keys WHERE rights_mac IS NULL
      AND NOT EXISTS (SELECT FROM audit_events) AND NOT EXISTS (SELECT FROM api_keys WHERE rights_mac IS NOT NULL)`,
  )
  return found.map(({ wallet }) => wallet)
}

/**
 * Authenticates the keys of a database that comes from a release without MACs, once: those whose rows say exactly what their
 * owners signed. A database that has MACs or an audit already is left alone, because otherwise an edited row would only have
 * to lose its MAC to get a new one.
 */
export async function backfillMacs(services: BackfillServices, now: number): Promise<Backfilled> {
  const { db, log } = services
  const wallets = await walletsToBackfill(db)
  if (wallets.length === 0) return { authenticated: 0, refused: 0 }
  const backfilled = await db.transaction((tx) => backfillWallets(tx, services, wallets, now))
  const { authenticated, refused } = backfilled
  log('warn', 'api_keys_adopted', { adopted: authenticated, left: refused })
  return backfilled
}

async function backfillWallets(
  tx: Database,
  services: BackfillServices,
  wallets: readonly string[],
  now: number,
): Promise<Backfilled> {
  await rows(tx, sql`SELECT pg_advisory_xact_lock(${BACKFILL_LOCK}::bigint)`)
  const backfilled = { authenticated: 0, refused: 0 }
  // Another process may have backfilled while this one waited for the lock.
  if ((await rows(tx, sql`SELECT 1 FROM audit_events LIMIT 1`)).length > 0) return backfilled
  for (const walletAddress of wallets) {
    await lockWallet(tx, walletAddress)
    for (const row of await findOldKeys(tx, walletAddress)) {
      const key = readKey(services, row)
      const entry = backfillEntry(row, key, now)
      if (isProven(services, row, key, entry)) {
        const mac = services.mac(rightsText(key.rights))
        await appendAudit(tx, entry, [{ keyId: key.rights.id, mac }])
        backfilled.authenticated += 1
      } else {
        services.log('error', 'api_key_not_adopted', { keyId: key.rights.id })
        backfilled.refused += 1
      }
    }
  }
  return backfilled
}

function findOldKeys(tx: Database, walletAddress: string): Promise<OldKey[]> {
  return rows<OldKey>(
    tx,
    sql`SELECT ${KEY_ROW}, message, signature, encode(message_hash, 'hex') AS "messageHash",
        EXISTS (SELECT FROM signed_actions AS later WHERE later.wallet_address = api_keys.wallet_address
          AND later.action = 'delete_api_key' AND later.message::jsonb ->> 'keyId' = api_keys.id) AS "isRevokedBySignature",
        (SELECT count(*) FROM api_keys AS other WHERE other.grant_id = api_keys.grant_id) > 1 AS "sharesGrant"
      FROM (SELECT * FROM api_keys WHERE wallet_address = ${walletAddress} AND rights_mac IS NULL) AS api_keys
      JOIN LATERAL (SELECT message, signature, message_hash FROM signed_actions
        WHERE signed_actions.id = grant_id) AS granted ON true
      ORDER BY grant_id`,
  )
}

/** The first event of a backfilled key: its state at this time, with the grant that its owner signed. */
function backfillEntry({ messageHash }: OldKey, { rights }: LockedKey, now: number): AuditEntry {
  const { id: keyId, keyHash, createdAt, suspendedAt, revokedAt, grantId, walletAddress } = rights
  return {
    event: 'adopt_api_key',
    walletAddress,
    keyId,
    actor: 'service',
    at: now,
    action: { id: grantId, messageHash: fromHex(messageHash) },
    details: { keyHash, createdAt, suspendedAt, revokedAt },
  }
}

/** Whether a key's row is what its owner signed: a replay of its first event makes the same key, and no signature revoked it. */
function isProven(
  { config, recover }: BackfillServices,
  { message, signature, isRevokedBySignature, sharesGrant }: OldKey,
  { rights, terms }: LockedKey,
  entry: AuditEntry,
): boolean {
  if (sharesGrant || (isRevokedBySignature && rights.revokedAt === null)) return false
  const body = entryText(entry)
  const { keys, faults } = replayAudit(
    [{ sequence: 1, body, hash: chainHash(FIRST_HASH, body), message, signature }],
    { walletAddress: rights.walletAddress, network: config.STACKS_NETWORK, recover },
  )
  const made = keys.get(rights.id)
  return (
    faults.length === 0 &&
    made !== undefined &&
    differences({ ...rights, ...terms }, made).length === 0
  )
}
