import { type SQL, sql } from 'drizzle-orm'
import { appendAudit } from '../audit/append.ts'
import type { KeepHead } from '../audit/heads.ts'
import { toBase62 } from '../crypto/bytes.ts'
import type { Mac } from '../crypto/mac.ts'
import { type Database, rows } from '../db/database.ts'
import { milliseconds, timestamptz } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import type { Config } from '../env.ts'
import { catalogue, type Permission } from '../keys/scope.ts'
import type { KeyHash } from '../keys/secret.ts'
import { ok, type Result, refuse } from '../result.ts'
import { operatorChain } from '../stacks/address.ts'
import type { Json } from '../wire/json.ts'
import { type CredentialRow, credentialText, type ListedCredential } from './credential.ts'
import { CREDENTIAL_ROW } from './use.ts'

/** What the verbs on service credentials need of the process. */
export interface CredentialServices {
  db: Database
  mac: Mac
  config: Pick<Config, 'STACKS_NETWORK' | 'EXTRA_SCOPES'>
  keepHead: KeepHead
  randomBytes(length: number): Uint8Array<ArrayBuffer>
}

/** A credential to be made. The operator's command line makes the secret; the service receives its hash alone. */
export interface NewCredential {
  secretHash: KeyHash
  preview: string
  name: string
  scopes: Permission[]
  rateLimit: number
}

/** Makes a credential. Its secret is known to the caller, who is the operator. */
export async function createCredential(
  services: CredentialServices,
  { preview, ...given }: NewCredential,
  now: number,
): Promise<Result<{ credentialId: string }, 'invalidRequest'>> {
  const known = catalogue(services.config.EXTRA_SCOPES).map(({ name }) => name)
  const unknown = given.scopes.filter((scope) => !known.includes(scope))
  if (unknown.length > 0)
    return refuse('invalidRequest', { problem: `no scope of this service: ${unknown.join(', ')}` })
  const id = `svc_${toBase62(services.randomBytes(12), 17)}`
  const row: CredentialRow = { ...given, id, createdAt: now, revokedAt: null }
  const scopes = `{${row.scopes.map((scope) => `"${scope}"`).join(',')}}`
  const isNew = await audited(services, 'create_service_credential', row, now, {}, async (tx) => {
    const made = await rows(
      tx,
      sql`INSERT INTO service_credentials
          (id, secret_hash, preview, name, scopes, rate_limit_per_minute, created_at, mac)
        VALUES (${id}, decode(${row.secretHash}, 'hex'), ${preview}, ${row.name}, ${scopes}::text::text[], ${row.rateLimit}::int,
          ${timestamptz(now)}, decode(${services.mac(credentialText(row))}, 'hex'))
        ON CONFLICT ON CONSTRAINT service_credentials_hash DO NOTHING RETURNING id`,
    )
    return made.length > 0
  })
  return isNew
    ? ok({ credentialId: id })
    : refuse('invalidRequest', { problem: 'the secret is that of another credential' })
}

/** Lists all credentials, newest first. */
export async function listCredentials({
  db,
}: Pick<CredentialServices, 'db'>): Promise<ListedCredential[]> {
  const found = await rows<ListedCredential & { secretHash: string; mac: string }>(
    db,
    sql`SELECT ${CREDENTIAL_ROW}, preview, total_requests::float8 AS "totalRequests",
        ${milliseconds(sql`last_used_at`)} AS "lastUsedAt"
      FROM service_credentials ORDER BY created_at DESC, id`,
  )
  return found.map(({ secretHash: _, mac: __, ...listed }) => listed)
}

/** Revokes a credential: from the commit on, no process accepts it. Idempotent: `isNew` tells whether this call did. */
export function revokeCredential(
  services: CredentialServices,
  credentialId: string,
  reason: string,
  now: number,
): Promise<Result<{ credentialId: string; isNew: boolean }, 'credentialNotFound'>> {
  return revokeWhere(services, sql`id = ${credentialId}`, { reason }, now)
}

/** As `revokeCredential`, by the hash of a secret that was found in public. */
export function revokeLeakedCredential(
  services: CredentialServices,
  hash: KeyHash,
  details: Readonly<Record<string, string>>,
  now: number,
): Promise<Result<{ credentialId: string; isNew: boolean }, 'credentialNotFound'>> {
  return revokeWhere(services, sql`secret_hash = decode(${hash}, 'hex')`, details, now)
}

async function revokeWhere(
  services: CredentialServices,
  which: SQL,
  details: Readonly<Record<string, string>>,
  now: number,
): Promise<Result<{ credentialId: string; isNew: boolean }, 'credentialNotFound'>> {
  const [found] = await rows<CredentialRow>(
    services.db,
    sql`SELECT ${CREDENTIAL_ROW} FROM service_credentials WHERE ${which}`,
  )
  if (found === undefined) return refuse('credentialNotFound')
  const mac = services.mac(credentialText({ ...found, revokedAt: now }))
  const isNew = await audited(
    services,
    'revoke_service_credential',
    found,
    now,
    details,
    async (tx) => {
      const revoked = await rows(
        tx,
        sql`UPDATE service_credentials SET revoked_at = ${timestamptz(now)}, mac = decode(${mac}, 'hex')
          WHERE id = ${found.id} AND revoked_at IS NULL RETURNING id`,
      )
      return revoked.length > 0
    },
  )
  return ok({ credentialId: found.id, isNew })
}

/** Makes a change together with its event in the chain of the operator's acts, which are of no wallet; no event where nothing changed. */
async function audited(
  services: CredentialServices,
  event: 'create_service_credential' | 'revoke_service_credential',
  { id, name, scopes, rateLimit }: CredentialRow,
  at: number,
  reason: { [name: string]: Json },
  change: (tx: Database) => Promise<boolean>,
): Promise<boolean> {
  const walletAddress = operatorChain(services.config.STACKS_NETWORK)
  const head = await services.db.transaction(async (tx) => {
    await lockWallet(tx, walletAddress)
    if (!(await change(tx))) return undefined
    const details = { credentialId: id, name, scopes, rateLimit, ...reason }
    return appendAudit(tx, { event, walletAddress, actor: 'operator', at, details })
  })
  if (head !== undefined) await services.keepHead(walletAddress, head)
  return head !== undefined
}
