import { type SQL, sql } from 'drizzle-orm'
import type { SignedAction } from '../actions/action.ts'
import type { ConsumeReason } from '../actions/consume.ts'
import { type AuditEntry, appendAudit, type RightsMac } from '../audit/append.ts'
import type { AuditHead, HeadMember } from '../audit/event.ts'
import { consumeChange } from '../audit/heads.ts'
import { atomically, type Database, rows } from '../db/database.ts'
import { shardSql } from '../db/shard.ts'
import { ok, type Result, refuse } from '../result.ts'
import { endReason } from './liveness.ts'
import { type Rights, type RightsValues, readRights, rightsText } from './rights.ts'
import type { KeyServices } from './services.ts'
import type { KeyTerms, NoteTerms } from './terms.ts'
import { NOTES, RIGHTS } from './terms-sql.ts'

/** A key whose row this transaction has locked. */
export interface LockedKey {
  rights: Rights
  terms: KeyTerms
  /** Whether `rights_mac` covers the row. A row that was edited is never authenticated again. */
  isIntact: boolean
  /** Whether its secret can sign requests. */
  hasMacKey: boolean
}

/** A row of `api_keys` as `KEY_ROW` selects it. */
export interface KeyRow {
  rights: RightsValues
  notes: NoteTerms
  /** Hex; null when the row was never authenticated. */
  mac: string | null
  /** Whether its secret can sign requests. */
  hasMacKey: boolean
}

export const KEY_ROW: SQL = sql`${RIGHTS} AS rights, ${NOTES} AS notes, encode(rights_mac, 'hex') AS mac, mac_key_box IS NOT NULL AS "hasMacKey"`

/** Selects and locks keys of a wallet, ordered by id, so that two transactions cannot wait for each other. */
export async function lockKeys(
  tx: Database,
  services: Pick<KeyServices, 'mac'>,
  walletAddress: string,
  which: SQL,
): Promise<LockedKey[]> {
  const found = await rows<KeyRow>(
    tx,
    sql`SELECT ${KEY_ROW} FROM api_keys
      WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)} AND ${which}
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

/** Reads a row of `KEY_ROW` and verifies its MAC. */
export function readKey({ mac }: Pick<KeyServices, 'mac'>, row: KeyRow): LockedKey {
  const rights = readRights(row.rights)
  return {
    rights,
    terms: { ...rights, ...row.notes },
    isIntact: mac.verify(rightsText(rights), row.mac),
    hasMacKey: row.hasMacKey,
  }
}

/**
 * Updates locked keys of a wallet, writes the MACs of their new rights, and appends the change to the wallet's audit. A key
 * that is not intact gets no new MAC: the change must not authenticate what was edited before it. Resolves to the chain's new
 * head.
 */
export async function changeKeys(
  tx: Database,
  services: Pick<KeyServices, 'mac'>,
  keys: readonly LockedKey[],
  set: SQL,
  entry: AuditEntry,
): Promise<AuditHead> {
  const ids = `{${keys.map(({ rights }) => rights.id).join(',')}}`
  const changed = await rows<{ rights: RightsValues }>(
    tx,
    // A node of a cluster returns columns of what it changed, and no function of them.
    sql`WITH changed AS (
        UPDATE api_keys SET ${set}
        WHERE id = ANY (${ids}::text::text[]) AND shard = ${shardSql(entry.walletAddress)} RETURNING *
      )
      SELECT ${RIGHTS} AS rights FROM changed`,
  )
  const intact = new Set(keys.filter((key) => key.isIntact).map(({ rights }) => rights.id))
  const macs: RightsMac[] = changed
    .map(({ rights }) => readRights(rights))
    .filter(({ id }) => intact.has(id))
    .map((rights) => ({ keyId: rights.id, mac: services.mac(rightsText(rights)) }))
  return appendAudit(tx, entry, macs)
}

export type ChangeReason =
  | 'invalidRequest'
  | ConsumeReason
  | 'auditHeadUnknown'
  | 'keyNotFound'
  | 'keyNotLive'
  | 'keyNameTaken'
  | 'rotationInGrace'
  | 'secretInUse'

/** Decides what a change assigns, as the list of a SET, or refuses it. */
export type Decide = (
  tx: Database,
  key: LockedKey,
) => Promise<
  Result<SQL, 'invalidRequest' | 'keyNameTaken' | 'keyNotLive' | 'rotationInGrace' | 'secretInUse'>
>

/**
 * Runs one signed change of one key as a transaction: consumes the message, locks the key, checks that it is live and intact,
 * and applies what `decide` returns. Of a refusal nothing remains, so the message can be sent again.
 */
export async function changeLiveKey(
  services: KeyServices,
  action: SignedAction<HeadMember>,
  keyId: string,
  now: number,
  decide: Decide,
  details?: AuditEntry['details'],
  /** Refuses what the change made of the key's row: other transactions may have committed since `decide`. */
  check?: (tx: Database) => Promise<Result<undefined, 'secretInUse'>>,
): Promise<Result<AuditHead, ChangeReason>> {
  const { walletAddress } = action
  const changed = await atomically<AuditHead, ChangeReason>(services.db, async (tx) => {
    const consumed = await consumeChange(tx, action, now)
    if (!consumed.ok) return consumed
    const key = await lockKey(tx, services, walletAddress, keyId)
    if (key === undefined) return refuse('keyNotFound')
    const end = endReason(key.rights, now)
    if (end !== undefined) return refuse('keyNotLive', { reason: end })
    if (!key.isIntact) {
      services.log('error', 'api_key_tampered', { keyId })
      return refuse('keyNotLive', { reason: 'tampered' })
    }
    const set = await decide(tx, key)
    if (!set.ok) return set
    const entry = ownerEntry(action, consumed.value, keyId, now, details)
    const head = await changeKeys(tx, services, [key], set.value, entry)
    const checked = await check?.(tx)
    return checked?.ok === false ? checked : ok(head)
  })
  if (!changed.ok) return changed
  services.log('info', 'api_key_changed', { keyId, walletAddress, action: action.action })
  await services.keepHead(walletAddress, changed.value)
  return changed
}

/** The audit entry of an owner's signed action; `actionId` is its row in `signed_actions`. */
export function ownerEntry(
  action: SignedAction<HeadMember>,
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
    auditHead: action.members.auditHead,
  }
}
