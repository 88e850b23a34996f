import { sql } from 'drizzle-orm'
import { listAudit } from '../audit/list.ts'
import { rows } from '../db/database.ts'
import { KEY_ROW, type KeyRow, type LockedKey, readKey } from '../keys/change.ts'
import type { KeyServices } from '../keys/services.ts'
import type { Recover } from '../stacks/recover.ts'
import { type AuditFault, differences, type ReplayedKey, replayAudit } from './replay.ts'

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

/** A key's row, with the hash of the message that its `grant_id` refers to. */
interface CheckedRow extends KeyRow {
  grantHash: string | null
}

/**
 * Compares every key's row with what its owner signed: its MAC, and each column with the events that made it. A whole row
 * that was put back as it once was has a valid MAC, so only the events reveal it.
 */
export async function checkAudit(services: CheckServices): Promise<AuditCheck> {
  const wallets = await rows<{ wallet: string }>(
    services.db,
    sql`SELECT wallet_address AS wallet FROM api_keys UNION SELECT wallet_address FROM audit_events ORDER BY 1`,
  )
  const check: AuditCheck = { wallets: wallets.length, keys: 0, events: 0, faults: [] }
  for (const { wallet } of wallets) {
    const { keys, events, faults } = await checkWallet(services, wallet)
    check.keys += keys
    check.events += events
    for (const fault of faults) check.faults.push({ walletAddress: wallet, ...fault })
  }
  return check
}

async function checkWallet(
  services: CheckServices,
  walletAddress: string,
): Promise<{ keys: number; events: number; faults: AuditFault[] }> {
  const { db, config, recover } = services
  // One snapshot for events and rows, because the service goes on writing both.
  const [events, found] = await db.transaction(
    async (tx) => [
      await listAudit(tx, walletAddress, { after: 0, limit: 1_000_000 }),
      await rows<CheckedRow>(
        tx,
        sql`SELECT ${KEY_ROW}, (SELECT encode(message_hash, 'hex') FROM signed_actions WHERE id = grant_id) AS "grantHash"
          FROM api_keys WHERE wallet_address = ${walletAddress} ORDER BY id`,
      ),
    ],
    { isolationLevel: 'repeatable read' },
  )
  const options = { walletAddress, network: config.STACKS_NETWORK, recover }
  const { keys, faults } = replayAudit(events, options)
  for (const row of found) {
    const key = readKey(services, row)
    const keyId = key.rights.id
    for (const fault of rowFaults(key, row.grantHash, keys.get(keyId)))
      faults.push({ keyId, fault })
    keys.delete(keyId)
  }
  for (const keyId of keys.keys()) faults.push({ keyId, fault: 'its row is gone' })
  return { keys: found.length, events: events.length, faults }
}

/** What is wrong with a row: its MAC, and each column that is not what the key's events made it. */
function rowFaults(
  { rights, terms, isIntact }: LockedKey,
  grantHash: string | null,
  made: ReplayedKey | undefined,
): string[] {
  const faults = isIntact ? [] : ['its row was edited: its MAC does not fit']
  if (made === undefined) return [...faults, 'no event created it']
  const wrong = differences({ ...rights, ...terms, grantHash }, made)
  return [...faults, ...wrong.map((name) => `${name} is not what its events made it`)]
}
