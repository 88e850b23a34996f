import { sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { type ConsumeReason, consumeMessage } from '../actions/consume.ts'
import { appendAudit } from '../audit/append.ts'
import { toBase62 } from '../crypto/bytes.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { RIGHTS } from '../db/rights.ts'
import { timestamptz } from '../db/time.ts'
import { ok, type Result, refuse } from '../result.ts'
import { columnsOf, ownerEntry } from './change.ts'
import type { CreatedKey } from './key.ts'
import { isUnendedSql } from './liveness-sql.ts'
import { presentLimits, type RightsRow, rightsText, termsAfter } from './rights.ts'
import type { KeyGrant } from './schemas.ts'
import { catalogue } from './scope.ts'
import { hashSecret, makeSecret, previewOf } from './secret.ts'
import type { KeyServices } from './services.ts'
import { type TermsPolicy, validateTerms } from './terms.ts'

type CreateReason =
  | 'invalidRequest'
  | ConsumeReason
  | 'keyNameTaken'
  | 'keyLimitReached'
  | 'walletSuspended'

/** Grants a key to the wallet that signed for it. Its secret is in the answer and, from then on, nowhere. */
export async function createKey(
  services: KeyServices,
  action: SignedAction<KeyGrant>,
  now: number,
): Promise<Result<CreatedKey, CreateReason>> {
  const { walletAddress } = action
  const terms = termsAfter(action.members)
  const issues = validateTerms(terms, policyOf(services.config, now))
  if (issues.length > 0) return refuse('invalidRequest', { issues, serverTime: now })

  const { KEY_PREFIX, MAX_ACTIVE_KEYS_PER_WALLET, RATE_LIMIT_PER_MINUTE } = services.config
  const apiKey = makeSecret(KEY_PREFIX, services.randomBytes(32))
  const keyHash = hashSecret(apiKey)
  const keyId = `key_${toBase62(services.randomBytes(12), 17)}`
  const at = timestamptz(now)
  const live = liveKeys(walletAddress, now)
  const columns = columnsOf(terms)
  const names = sql.raw(columns.map(([column]) => column).join(', '))
  const values = sql.join(
    columns.map(([, value]) => value),
    sql`, `,
  )

  const made = await atomically<null, CreateReason>(services.db, async (tx) => {
    const spent = await consumeMessage(tx, action, now)
    if (!spent.ok) return spent
    const [inserted] = await rows<{ rights: RightsRow }>(
      tx,
      sql`INSERT INTO api_keys (id, key_hash, key_preview, wallet_address, grant_id, created_at, ${names})
        SELECT ${keyId}, decode(${keyHash}, 'hex'), ${previewOf(KEY_PREFIX, apiKey)}, ${walletAddress},
          ${spent.value}::bigint, ${at}, ${values}
        WHERE (SELECT count(*) ${live}) < ${MAX_ACTIVE_KEYS_PER_WALLET}::int
          AND NOT EXISTS (SELECT ${live} AND name = ${terms.name})
          AND NOT EXISTS (SELECT FROM suspended_wallets WHERE wallet_address = ${walletAddress})
        RETURNING ${RIGHTS} AS rights`,
    )
    if (inserted === undefined && (await isSuspended(tx, walletAddress)))
      return refuse('walletSuspended')
    if (inserted === undefined)
      return (await isNameTaken(tx, walletAddress, terms.name, now))
        ? refuse('keyNameTaken', { keyName: terms.name })
        : refuse('keyLimitReached', { limit: MAX_ACTIVE_KEYS_PER_WALLET })
    const entry = ownerEntry(action, spent.value, keyId, now, { keyHash })
    await appendAudit(tx, entry, [{ keyId, mac: services.mac(rightsText(inserted.rights)) }])
    return ok(null)
  })
  if (!made.ok) return made

  services.log('info', 'api_key_created', { keyId, walletAddress })
  return ok({
    status: 'success',
    apiKey,
    keyId,
    name: terms.name,
    permissions: terms.permissions,
    rateLimit: terms.rateLimit ?? RATE_LIMIT_PER_MINUTE,
    ...presentLimits(terms),
    ...(terms.label !== null && { label: terms.label }),
    ...(terms.justification !== null && { justification: terms.justification }),
    ...(terms.expiresAt !== null && { expiresAt: new Date(terms.expiresAt).toISOString() }),
    createdAt: new Date(now).toISOString(),
  })
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

/** The part of a statement that reads a wallet's live keys. */
export function liveKeys(walletAddress: string, now: number) {
  return sql`FROM api_keys WHERE wallet_address = ${walletAddress} AND ${isUnendedSql(timestamptz(now))}`
}

export async function isNameTaken(
  tx: Database,
  walletAddress: string,
  name: string,
  now: number,
): Promise<boolean> {
  const live = liveKeys(walletAddress, now)
  return (await rows(tx, sql`SELECT 1 ${live} AND name = ${name}`)).length > 0
}

async function isSuspended(tx: Database, walletAddress: string): Promise<boolean> {
  const found = await rows(
    tx,
    sql`SELECT 1 FROM suspended_wallets WHERE wallet_address = ${walletAddress}`,
  )
  return found.length > 0
}
