import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import { type AuditEntry, appendAudit, type RightsMac } from '../audit/append.ts'
import { type Database, rows } from '../db/database.ts'
import { RIGHTS } from '../db/rights.ts'
import { canonicalIpRange } from '../wire/ip.ts'
import { type KeyTerms, type Rights, type RightsRow, readRights, rightsText } from './rights.ts'
import type { KeyServices } from './services.ts'
import type { Suspension } from './suspension.ts'

/** A key's row, which nobody else changes until the transaction ends. */
export interface LockedKey {
  rights: Rights
  terms: KeyTerms
  /** Whether the row is as the service last wrote it. A row that is not is never sealed again. */
  isIntact: boolean
}

export interface KeyRow {
  rights: RightsRow
  mac: string | null
  label: string | null
  justification: string | null
}

export const KEY_ROW: SQL = sql`${RIGHTS} AS rights, encode(rights_mac, 'hex') AS mac, label, justification`

/** Finds keys of a wallet and locks them, in one order. */
export async function lockKeys(
  tx: Database,
  services: Pick<KeyServices, 'mac'>,
  walletAddress: string,
  which: SQL,
): Promise<LockedKey[]> {
  const found = await rows<KeyRow>(
    tx,
    sql`SELECT ${KEY_ROW} FROM api_keys WHERE wallet_address = ${walletAddress} AND ${which}
      ORDER BY id FOR UPDATE`,
  )
  return found.map((row) => readKey(services, row))
}

export async function lockKey(
  tx: Database,
  services: Pick<KeyServices, 'mac'>,
  walletAddress: string,
  keyId: string,
): Promise<LockedKey | undefined> {
  const [key] = await lockKeys(tx, services, walletAddress, sql`id = ${keyId}`)
  return key
}

export function readKey(services: Pick<KeyServices, 'mac'>, row: KeyRow): LockedKey {
  const rights = readRights(row.rights)
  const { label, justification } = row
  return {
    rights,
    terms: { ...rights, label, justification },
    isIntact: row.mac === services.mac(rightsText(row.rights)),
  }
}

/** Changes locked keys of a wallet, seals what they may do from now on, and says so in the wallet's audit. */
export async function changeKeys(
  tx: Database,
  services: Pick<KeyServices, 'mac'>,
  keys: readonly LockedKey[],
  set: SQL,
  entry: AuditEntry,
): Promise<void> {
  const ids = `{${keys.map(({ rights }) => rights.id).join(',')}}`
  const changed = await rows<{ rights: RightsRow }>(
    tx,
    sql`UPDATE api_keys SET ${set} WHERE id = ANY (${ids}::text::text[]) RETURNING ${RIGHTS} AS rights`,
  )
  const intact = new Set(keys.filter((key) => key.isIntact).map(({ rights }) => rights.id))
  const seals: RightsMac[] = changed
    .filter(({ rights }) => intact.has(rights[1]))
    .map(({ rights }) => ({ keyId: rights[1], mac: services.mac(rightsText(rights)) }))
  await appendAudit(tx, entry, seals)
}

/** An owner's change, as the audit tells it. */
export function ownerEntry(
  action: SignedAction<unknown>,
  actionId: number,
  keyId: string | undefined,
  at: number,
  details: AuditEntry['details'] = {},
): AuditEntry {
  return {
    event: action.action,
    walletAddress: action.walletAddress,
    keyId,
    actor: 'owner',
    at,
    action: { id: actionId, messageHash: action.messageHash },
    details,
  }
}

/** The columns that hold a key's terms, and what they hold. */
export function columnsOf(terms: KeyTerms): readonly (readonly [column: string, value: SQL])[] {
  return [
    ['name', sql`${terms.name}`],
    ['permissions', textArray(terms.permissions)],
    ['expires_at', timeOf(terms.expiresAt)],
    ['rate_limit_per_minute', sql`${terms.rateLimit}::int`],
    [
      'ip_allowlist',
      sql`${terms.ipAllowlist === null ? null : `{${terms.ipAllowlist.map(canonicalIpRange).join(',')}}`}::text::cidr[]`,
    ],
    ['tokens', textArray(terms.tokens)],
    ['recipients', textArray(terms.recipients)],
    [
      'max_amount_in',
      sql`${terms.maxAmountIn === null ? null : JSON.stringify(terms.maxAmountIn)}::text::jsonb`,
    ],
    ['own_orders_only', sql`${terms.ownOrdersOnly}::boolean`],
    ['label', sql`${terms.label}::text`],
    ['justification', sql`${terms.justification}::text`],
  ]
}

export function suspensionColumns({ suspendedAt, suspendedBy }: Suspension): SQL {
  return sql`suspended_at = ${timeOf(suspendedAt)}, suspended_by = ${suspendedBy}::text`
}

export function timeOf(ms: number | null): SQL {
  return sql`${ms === null ? null : new Date(ms).toISOString()}::timestamptz`
}

/** Of scopes, contract ids and addresses: none has a quote or a backslash. Quoted, because null is a name too. */
function textArray(texts: readonly string[] | null): SQL {
  const quoted = texts?.map((text) => `"${text}"`).join(',')
  return sql`${quoted === undefined ? null : `{${quoted}}`}::text::text[]`
}
