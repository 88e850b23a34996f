import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import { appendAudit } from '../audit/append.ts'
import type { AuditHead } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { toBase62, toHex } from '../crypto/bytes.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { shardSql, walletShard } from '../db/shard.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import { ok, type Refused, type Result, refuse } from '../result.ts'
import { ownerEntry } from './change.ts'
import type { CreatedKey, CreatedSigningKey } from './key.ts'
import { isUnendedSql } from './liveness-sql.ts'
import { encryptMacKey } from './mac-key.ts'
import { hashOfGrant, previewOfPublicKey } from './public-key.ts'
import { type RightsValues, readRights, rightsText } from './rights.ts'
import type { KeyGrant } from './schemas.ts'
import { catalogue } from './scope.ts'
import { hashSecret, makeSecret, previewOf, RANDOM_BYTES, type Secret } from './secret.ts'
import type { KeyServices } from './services.ts'
import {
  type KeyTerms,
  presentTerms,
  type TermsPolicy,
  termsAfter,
  validateTerms,
} from './terms.ts'
import { RIGHTS, termLists } from './terms-sql.ts'
import { nameSkeleton } from './text.ts'
import { watchEnd, watchSilence } from './watches.ts'

type CreateReason =
  | 'invalidRequest'
  | ConsumeReason
  | 'auditHeadUnknown'
  | 'keyNameTaken'
  | 'secretInUse'
  | 'keyLimitReached'
  | 'keyHistoryFull'
  | 'walletSuspended'

/** A key that is to be stored; its secret is not part of it. */
interface NewKeyRow {
  keyId: string
  keyHash: string
  keyPreview: string
  /** Hex; null where the secret cannot sign. */
  macKeyBox: string | null
  terms: KeyTerms
  /** Whether the signer made the secret: then it may be one that is in use. */
  isOwnSecret: boolean
}

/** What a key was made with, by the message that granted it. */
interface Grant {
  keyId: string
  createdAt: number
  auditHead: AuditHead
}

/** A key, and whether this message had created it before. */
export interface Created {
  key: CreatedKey | CreatedSigningKey
  isRepeated: boolean
}

/**
 * Grants a key to the wallet that signed for it. The secret is in the response; only its hash is stored. `ownSecret` is the one
 * that the message names by its hash. The same message then resolves with the same key for as long as it is fresh and the key
 * is live: a sender of both has the secret already. So does a message that names a public key, whose key has no secret.
 */
export async function createKey(
  services: KeyServices,
  action: SignedAction<KeyGrant>,
  now: number,
  ownSecret?: Secret,
): Promise<Result<Created, CreateReason>> {
  const terms = termsAfter(action.members)
  const issues = validateTerms(terms, policyOf(services.config, now))
  if (issues.length > 0)
    return refuse('invalidRequest', {
      issues: issues.map(({ path, message }) => ({ path, message })),
      serverTime: now,
    })

  if (terms.publicKey !== null && action.members.keyHash !== undefined)
    return refuse('invalidRequest', {
      problem: 'the message names publicKey and keyHash: a key with a public key has no secret',
    })

  const { RATE_LIMIT_PER_MINUTE } = services.config
  const keyId = `key_${toBase62(services.randomBytes(12), 17)}`
  const credential = await makeCredential(services, action, { keyId, terms, ownSecret })
  const { apiKey, keyHash, isRepeatable } = credential
  const isOwnSecret = ownSecret !== undefined
  const stored = await storeKey(services, action, { keyId, ...credential, terms, isOwnSecret }, now)
  const present = (grant: Grant): CreatedKey | CreatedSigningKey => ({
    status: 'success',
    ...(apiKey !== undefined && { apiKey }),
    keyId: grant.keyId,
    name: terms.name,
    permissions: terms.permissions,
    rateLimit: terms.rateLimit ?? RATE_LIMIT_PER_MINUTE,
    ...presentTerms(terms),
    ...(terms.expiresAt !== null && { expiresAt: new Date(terms.expiresAt).toISOString() }),
    createdAt: new Date(grant.createdAt).toISOString(),
    auditHead: grant.auditHead,
  })
  if (!stored.ok) {
    const isReplay = stored.reason === 'messageReplayed' && isRepeatable
    const before = isReplay ? await grantBefore(services.db, action, keyHash, now) : undefined
    return before === undefined ? stored : ok({ key: present(before), isRepeated: true })
  }
  const auditHead = stored.value
  services.log('info', 'api_key_created', { keyId, walletAddress: action.walletAddress })
  await services.keepHead(action.walletAddress, auditHead)
  return ok({ key: present({ keyId, createdAt: now, auditHead }), isRepeated: false })
}

/** What a key is found by, and shown as. */
interface NewCredential extends Pick<NewKeyRow, 'keyHash' | 'keyPreview' | 'macKeyBox'> {
  /** Absent where the grant has a public key. */
  apiKey?: Secret
  /** Whether its sender learns nothing from the response: then the same message may be sent again. */
  isRepeatable: boolean
}

async function makeCredential(
  { config: { KEY_PREFIX }, encryption, randomBytes }: KeyServices,
  { walletAddress, messageHash }: SignedAction<KeyGrant>,
  {
    keyId,
    terms: { publicKey, requireSignature },
    ownSecret,
  }: { keyId: string; terms: KeyTerms; ownSecret: Secret | undefined },
): Promise<NewCredential> {
  if (publicKey !== null)
    return {
      keyHash: hashOfGrant(walletAddress, toHex(messageHash)),
      keyPreview: previewOfPublicKey(publicKey),
      macKeyBox: null,
      isRepeatable: true,
    }
  const apiKey =
    ownSecret ?? makeSecret(KEY_PREFIX, walletShard(walletAddress), randomBytes(RANDOM_BYTES))
  const keyHash = hashSecret(apiKey)
  return {
    apiKey,
    keyHash,
    keyPreview: previewOf(KEY_PREFIX, apiKey),
    macKeyBox: requireSignature
      ? await encryptMacKey(encryption, { secret: apiKey, keyId, keyHash })
      : null,
    isRepeatable: ownSecret !== undefined,
  }
}

/** The live key that this very message created with this secret; undefined where it has ended or has another secret by now. */
async function grantBefore(
  db: Database,
  { walletAddress, messageHash }: SignedAction<KeyGrant>,
  keyHash: string,
  now: number,
): Promise<Grant | undefined> {
  const shard = shardSql(walletAddress)
  const [grant] = await rows<{ keyId: string; createdAt: number } & AuditHead>(
    db,
    sql`SELECT api_keys.id AS "keyId", ${milliseconds(sql`api_keys.created_at`)} AS "createdAt",
        made.sequence::int AS sequence, encode(made.hash, 'hex') AS hash
      FROM api_keys
      JOIN signed_actions AS granting ON granting.id = api_keys.grant_id AND granting.shard = ${shard}
      JOIN audit_events AS made ON made.action_id = granting.id AND made.shard = ${shard}
      WHERE api_keys.key_hash = decode(${keyHash}, 'hex') AND api_keys.shard = ${shard}
        AND ${isUnendedSql(timestamptz(now))} AND granting.wallet_address = ${walletAddress} AND granting.message_hash = ${messageHash}::bytea`,
  )
  if (grant === undefined) return undefined
  const { keyId, createdAt, sequence, hash } = grant
  return { keyId, createdAt, auditHead: { sequence, hash } }
}

/**
 * Consumes the message and stores the key, its MAC and its audit event as one transaction. The message's lock on the wallet
 * makes the guards of the INSERT exact: no other key of the wallet is created, renamed or revoked between them and the commit.
 */
function storeKey(
  services: KeyServices,
  action: SignedAction<KeyGrant>,
  { keyId, keyHash, keyPreview, macKeyBox, terms, isOwnSecret }: NewKeyRow,
  now: number,
): Promise<Result<AuditHead, CreateReason>> {
  const { walletAddress } = action
  const { MAX_ACTIVE_KEYS_PER_WALLET, MAX_KEYS_PER_WALLET } = services.config
  const live = liveKeys(walletAddress, now)
  const { columns, values } = termLists(terms)
  return atomically<AuditHead, CreateReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    if (await isNameTaken(tx, walletAddress, terms.name, now))
      return refuse('keyNameTaken', { keyName: terms.name })
    const [inserted] = await rows<{ rights: RightsValues }>(
      tx,
      sql`INSERT INTO api_keys (id, key_hash, key_preview, mac_key_box, wallet_address, shard, grant_id, created_at, ${columns})
        SELECT ${keyId}, decode(${keyHash}, 'hex'), ${keyPreview}, decode(${macKeyBox}::text, 'hex'), ${walletAddress}, ${shardSql(walletAddress)},
          ${consumed.value}::bigint, ${timestamptz(now)}, ${values}
        WHERE (SELECT count(*) ${live}) < ${MAX_ACTIVE_KEYS_PER_WALLET}::int
          AND ${madeSql(walletAddress, MAX_KEYS_PER_WALLET)} < ${MAX_KEYS_PER_WALLET}::int
          AND NOT EXISTS (SELECT FROM suspended_wallets WHERE wallet_address = ${walletAddress})
        ON CONFLICT ON CONSTRAINT api_keys_hash DO NOTHING
        RETURNING ${RIGHTS} AS rights`,
    )
    if (inserted === undefined) return refusalOf(tx, services, walletAddress, keyHash)
    // Only now: a rotation that moved the hash there in the meantime has committed, or the INSERT would still wait for it.
    if (isOwnSecret && (await isPreviousSecret(tx, walletAddress, keyHash)))
      return refuse('secretInUse')
    if (services.distribution !== undefined) await insertCounters(tx, keyId, walletAddress)
    const watched = { ...terms, id: keyId, walletAddress }
    await watchSilence(tx, watched, now)
    await watchEnd(tx, watched, now)
    const mac = services.mac(rightsText(readRights(inserted.rights)))
    const entry = ownerEntry(action, consumed.value, keyId, now, { keyHash })
    return ok(await appendAudit(tx, entry, [{ keyId, mac }]))
  })
}

/** The counters of a key. A trigger inserts them, which distributed tables cannot have. */
async function insertCounters(tx: Database, keyId: string, walletAddress: string): Promise<void> {
  await rows(
    tx,
    sql`INSERT INTO key_counters (key_id, shard) VALUES (${keyId}, ${shardSql(walletAddress)})`,
  )
}

/** Which guard of the INSERT refused. */
async function refusalOf(
  tx: Database,
  { config }: Pick<KeyServices, 'config'>,
  walletAddress: string,
  keyHash: string,
): Promise<Refused<CreateReason>> {
  if (await isSuspended(tx, walletAddress)) return refuse('walletSuspended')
  const holders = await rows(
    tx,
    sql`SELECT FROM api_keys WHERE key_hash = decode(${keyHash}, 'hex') AND shard = ${shardSql(walletAddress)}`,
  )
  if (holders.length > 0) return refuse('secretInUse')
  const limit = config.MAX_KEYS_PER_WALLET
  const [wallet] = await rows<{ made: number }>(
    tx,
    sql`SELECT ${madeSql(walletAddress, limit)} AS made`,
  )
  return (wallet?.made ?? 0) >= limit
    ? refuse('keyHistoryFull', { limit })
    : refuse('keyLimitReached', { limit: config.MAX_ACTIVE_KEYS_PER_WALLET })
}

/** What the service's configuration lets a key's terms be. */
export function policyOf(config: KeyServices['config'], now: number): TermsPolicy {
  return {
    network: config.STACKS_NETWORK,
    scopes: catalogue(config.EXTRA_SCOPES).map(({ name }) => name),
    maxRateLimit: config.RATE_LIMIT_PER_MINUTE,
    now,
  }
}

/** The FROM and WHERE of a statement over a wallet's keys that have not ended; suspended ones are among them. */
function liveKeys(walletAddress: string, now: number): SQL {
  return sql`FROM api_keys WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)} AND ${isUnendedSql(timestamptz(now))}`
}

/** How many keys the wallet has ever made, counted no further than `most`. */
function madeSql(walletAddress: string, most: number): SQL {
  return sql`(SELECT count(*)::int FROM (
    SELECT FROM api_keys WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)} LIMIT ${most}::int) AS made)`
}

/** Whether a key of the wallet that has not ended has the name, or one that looks the same. The caller holds the wallet's lock. */
export async function isNameTaken(
  tx: Database,
  walletAddress: string,
  name: string,
  now: number,
  exceptKeyId: string | null = null,
): Promise<boolean> {
  const live = await rows<{ name: string }>(
    tx,
    sql`SELECT name ${liveKeys(walletAddress, now)} AND id IS DISTINCT FROM ${exceptKeyId}::text`,
  )
  const skeleton = nameSkeleton(name)
  return live.some((key) => key.name === name || nameSkeleton(key.name) === skeleton)
}

/** Whether a secret is the one before the last rotation of some key: it still leads to that key. Its shard is the wallet's. */
async function isPreviousSecret(
  tx: Database,
  walletAddress: string,
  keyHash: string,
): Promise<boolean> {
  const holders = await rows(
    tx,
    sql`SELECT FROM api_keys
      WHERE previous_key_hash = decode(${keyHash}, 'hex') AND shard = ${shardSql(walletAddress)}`,
  )
  return holders.length > 0
}

async function isSuspended(tx: Database, walletAddress: string): Promise<boolean> {
  const found = await rows(
    tx,
    sql`SELECT 1 FROM suspended_wallets WHERE wallet_address = ${walletAddress}`,
  )
  return found.length > 0
}
