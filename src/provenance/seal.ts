import { type SQL, sql } from 'drizzle-orm'
import { type AuditEntry, appendAudit, entryText } from '../audit/append.ts'
import { type AuditHead, chainHash, FIRST_HASH } from '../audit/event.ts'
import { fromHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { KEY_ROW, type KeyRow, type LockedKey, readKey } from '../keys/change.ts'
import { rightsText } from '../keys/rights.ts'
import type { KeyServices } from '../keys/services.ts'
import type { Recover } from '../stacks/recover.ts'
import { differences, replayAudit } from './replay.ts'

/*
 * Keys of a release without MACs. The owner's signature covers the terms of such a key, and not its secret, nor whether it was
 * suspended or revoked: a party that can write to the database can put its own key hash into a granted row, or clear a
 * revocation. Nothing in the database shows that it is of an earlier release, because everything in it can be written. So
 * nothing is sealed by itself: the operator lists these keys in a copy of the database that is trusted, and vouches for the list.
 */

/** What an operator vouches for, of one key. Times are milliseconds since 1970, hashes are hex. */
export interface VouchedKey {
  keyId: string
  walletAddress: string
  keyHash: string
  /** Of the owner's create_api_key message. */
  grantHash: string
  createdAt: number
  suspendedAt: number | null
  revokedAt: number | null
}

/** A key without a MAC, as a list shows it. */
export interface UnsealedKey extends VouchedKey {
  name: string
  permissions: readonly string[]
  keyPreview: string
  /** Why it cannot be sealed; null where it can. */
  problem: string | null
}

export interface Sealed {
  sealed: string[]
  refused: { keyId: string; problem: string }[]
}

export interface SealServices extends Pick<KeyServices, 'db' | 'mac' | 'keepHead'> {
  recover: Recover
  config: Pick<KeyServices['config'], 'STACKS_NETWORK'>
}

/** A key without a MAC, with the owner's message that granted it. */
interface OldKey extends KeyRow {
  keyPreview: string
  message: string
  signature: string
  /** Hex. */
  messageHash: string
  /** Whether the owner signed a delete_api_key for it. */
  isRevokedBySignature: boolean
  /** Whether another key names the same grant. */
  sharesGrant: boolean
  /** Whether the audit knows it: then it was made by a release with MACs, and has lost its own. */
  hasEvents: boolean
}

const PAGE = 500

/** Whether there are keys without a MAC. The gate refuses them. */
export async function hasUnsealedKeys(db: Database): Promise<boolean> {
  return (await rows(db, sql`SELECT 1 FROM api_keys WHERE rights_mac IS NULL LIMIT 1`)).length > 0
}

/** Lists the keys without a MAC, and whether each could be sealed. It changes nothing. */
export async function listUnsealed(
  services: Omit<SealServices, 'keepHead'>,
): Promise<UnsealedKey[]> {
  const listed: UnsealedKey[] = []
  for (let after: string | undefined = ''; after !== undefined; ) {
    const page: OldKey[] = await findOldKeys(services.db, sql`id > ${after}`)
    for (const row of page) listed.push(describe(services, row))
    after = page.length < PAGE ? undefined : listed.at(-1)?.keyId
  }
  return listed
}

/**
 * Seals the keys that the operator vouches for: those whose rows are still what the list says, and whose terms are what their
 * owners signed. The caller has checked that the encryption key is that of the database.
 */
export async function sealKeys(
  services: SealServices,
  vouched: readonly VouchedKey[],
  now: number,
): Promise<Sealed> {
  const result: Sealed = { sealed: [], refused: [] }
  for (const key of vouched) {
    const outcome = await sealKey(services, key, now)
    if (typeof outcome === 'string') result.refused.push({ keyId: key.keyId, problem: outcome })
    else {
      await services.keepHead(key.walletAddress, outcome)
      result.sealed.push(key.keyId)
    }
  }
  return result
}

/** Seals one key; returns the problem where it cannot. */
function sealKey(
  services: SealServices,
  vouched: VouchedKey,
  now: number,
): Promise<AuditHead | string> {
  return services.db.transaction(async (tx) => {
    await lockWallet(tx, vouched.walletAddress)
    const [row] = await findOldKeys(tx, sql`id = ${vouched.keyId}`)
    if (row === undefined) return 'has a MAC, or is gone'
    const found = describe(services, row)
    if (found.problem !== null) return found.problem
    const changed = VOUCHED_NAMES.filter((name) => found[name] !== vouched[name])
    if (changed.length > 0) return `is not what was vouched for: ${changed.join(', ')}`
    const key = readKey(services, row)
    const mac = services.mac(rightsText(key.rights))
    return appendAudit(tx, sealEntry(row, key, now), [{ keyId: vouched.keyId, mac }])
  })
}

const VOUCHED_NAMES = [
  'walletAddress',
  'keyHash',
  'grantHash',
  'createdAt',
  'suspendedAt',
  'revokedAt',
] as const satisfies readonly (keyof VouchedKey)[]

function describe(services: Omit<SealServices, 'keepHead'>, row: OldKey): UnsealedKey {
  const key = readKey(services, row)
  const { id, name, permissions, walletAddress, keyHash, createdAt, suspendedAt, revokedAt } =
    key.rights
  return {
    keyId: id,
    walletAddress,
    name,
    permissions,
    keyPreview: row.keyPreview,
    keyHash,
    grantHash: row.messageHash,
    createdAt,
    suspendedAt,
    revokedAt,
    problem: problemOf(services, row, key),
  }
}

/** Why a key cannot be sealed: a replay of its first event must make the same key, and no signature may have revoked it. */
function problemOf(
  { config, recover }: Pick<SealServices, 'config' | 'recover'>,
  { message, signature, isRevokedBySignature, sharesGrant, hasEvents, ...row }: OldKey,
  { rights, terms }: LockedKey,
): string | null {
  if (hasEvents) return 'is in the audit: a MAC was taken away'
  if (sharesGrant) return 'shares its grant with another key'
  if (isRevokedBySignature && rights.revokedAt === null) return 'was revoked by its owner'
  const body = entryText(sealEntry({ messageHash: row.messageHash }, { rights }, rights.createdAt))
  const { keys, faults } = replayAudit(
    [{ sequence: 1, body, hash: chainHash(FIRST_HASH, body), message, signature }],
    { walletAddress: rights.walletAddress, network: config.STACKS_NETWORK, recover },
  )
  const made = keys.get(rights.id)
  if (faults.length > 0 || made === undefined) return 'was not granted by its owner'
  const wrong = differences({ ...rights, ...terms }, made)
  return wrong.length === 0 ? null : `is not what its owner signed: ${wrong.join(', ')}`
}

/** The first event of a sealed key: its state at this time, with the grant that its owner signed. */
function sealEntry(
  { messageHash }: Pick<OldKey, 'messageHash'>,
  { rights }: Pick<LockedKey, 'rights'>,
  now: number,
): AuditEntry {
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

function findOldKeys(db: Database, which: SQL): Promise<OldKey[]> {
  return rows<OldKey>(
    db,
    sql`SELECT ${KEY_ROW}, key_preview AS "keyPreview", message, signature,
        encode(message_hash, 'hex') AS "messageHash",
        EXISTS (SELECT FROM signed_actions AS later WHERE later.wallet_address = api_keys.wallet_address
          AND later.shard = api_keys.shard AND later.action = 'delete_api_key' AND position(api_keys.id IN later.message) > 0) AS "isRevokedBySignature",
        EXISTS (SELECT FROM api_keys AS other WHERE other.wallet_address = api_keys.wallet_address
          AND other.shard = api_keys.shard AND other.grant_id = api_keys.grant_id AND other.id <> api_keys.id) AS "sharesGrant",
        EXISTS (SELECT FROM audit_events AS event
          WHERE event.key_id = api_keys.id AND event.shard = api_keys.shard)
          OR EXISTS (SELECT FROM archived_audits AS archived WHERE archived.wallet_address = api_keys.wallet_address
            AND archived.shard = api_keys.shard AND position(api_keys.id IN archived.state) > 0) AS "hasEvents"
      FROM (SELECT * FROM api_keys WHERE rights_mac IS NULL AND ${which} ORDER BY id LIMIT ${PAGE}::int) AS api_keys
      JOIN LATERAL (SELECT message, signature, message_hash FROM signed_actions
        WHERE signed_actions.id = grant_id AND signed_actions.shard = api_keys.shard) AS granted ON true
      ORDER BY api_keys.id`,
  )
}
