import { sql } from 'drizzle-orm'
import { listAudit } from '../audit/list.ts'
import { rows } from '../db/database.ts'
import { KEY_ROW, type KeyRow, readKey } from '../keys/change.ts'
import { rightsText } from '../keys/rights.ts'
import type { KeyServices } from '../keys/services.ts'
import type { Recover } from '../stacks/recover.ts'
import { type AuditFault, differences, replayAudit } from './replay.ts'

export interface WalletFault extends AuditFault {
  walletAddress: string
}

export interface AuditCheck {
  wallets: number
  keys: number
  events: number
  faults: WalletFault[]
}

export interface CheckServices extends Pick<KeyServices, 'db' | 'mac'> {
  config: Pick<KeyServices['config'], 'STACKS_NETWORK'>
  recover: Recover
}

/**
 * Holds every key's row against what its owner signed: its seal, and each column against the events that made it. A row
 * that was put back as it once was has a valid seal; here it is found.
 */
export async function checkAudit(services: CheckServices): Promise<AuditCheck> {
  const wallets = await rows<{ wallet: string }>(
    services.db,
    sql`SELECT wallet_address AS wallet FROM api_keys UNION SELECT wallet_address FROM audit_events ORDER BY 1`,
  )
  const check: AuditCheck = { wallets: wallets.length, keys: 0, events: 0, faults: [] }
  // Events and rows of one moment: the service goes on meanwhile.
  for (const { wallet } of wallets)
    await services.db.transaction((db) => checkWallet({ ...services, db }, wallet, check), {
      isolationLevel: 'repeatable read',
    })
  return check
}

async function checkWallet(services: CheckServices, walletAddress: string, check: AuditCheck) {
  const { db, config, recover } = services
  const events = await listAudit(db, walletAddress, { after: 0, limit: 1_000_000 })
  const found = await rows<KeyRow & { grantHash: string | null }>(
    db,
    sql`SELECT ${KEY_ROW}, (SELECT encode(message_hash, 'hex') FROM signed_actions WHERE id = grant_id) AS "grantHash"
      FROM api_keys WHERE wallet_address = ${walletAddress} ORDER BY id`,
  )
  const { keys, faults } = replayAudit(events, {
    walletAddress,
    network: config.STACKS_NETWORK,
    recover,
  })
  const grants = new Map<string, string>()
  for (const { body } of events) {
    const { event, keyId, messageHash } = JSON.parse(body)
    if (event === 'create_api_key' || event === 'adopt_api_key') grants.set(keyId, messageHash)
  }
  check.keys += found.length
  check.events += events.length
  for (const fault of faults) check.faults.push({ walletAddress, ...fault })
  const say = (keyId: string, fault: string) => check.faults.push({ walletAddress, keyId, fault })
  for (const row of found) {
    const { rights, terms } = readKey(services, row)
    if (row.mac !== services.mac(rightsText(row.rights)))
      say(rights.id, 'its row was edited: the seal does not fit')
    const made = keys.get(rights.id)
    if (made === undefined) {
      say(rights.id, 'no event made it')
      continue
    }
    keys.delete(rights.id)
    const { label, justification } = terms
    const claimed = { ...rights, label, justification }
    for (const name of differences(claimed, made))
      say(rights.id, `${name} is not what its events made it`)
    if (row.grantHash !== grants.get(rights.id)) say(rights.id, 'grantId is not its grant')
  }
  for (const keyId of keys.keys()) say(keyId, 'its row is gone')
}
