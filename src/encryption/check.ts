import { sql } from 'drizzle-orm'
import { fromHex, toHex } from '../crypto/bytes.ts'
import { openEncryption } from '../crypto/encryption.ts'
import type { EncryptionKey, EncryptionKeys } from '../crypto/keys.ts'
import { signatureLabel } from '../crypto/labels.ts'
import { openMac } from '../crypto/mac.ts'
import { type Database, rows } from '../db/database.ts'
import { KEY_ROW, type KeyRow } from '../keys/change.ts'
import { readRights, rightsText } from '../keys/rights.ts'

/** The number of the advisory lock that recording a key holds; nothing else in the database uses it. */
const RECORD_LOCK = 7_201_404_513
/** Rows of each kind that show which key wrote a database without a record. More than one, because any row may be edited. */
const SAMPLES = 20

const ANOTHER_KEY =
  'ENCRYPTION_KEY is not the one that this database was written with: set the key that the service had'
const KEY_MISSING =
  'ENCRYPTION_KEY lacks a key that this database was written with: add it to the list until latchkey-admin encryption rotate has ended'

/**
 * Throws, with a sentence for the operator, when the database was written with an encryption key that is not among the
 * configured ones: the process could neither decrypt nor verify what it finds, and would take every row for an edited one.
 * Records the key that is written with before anything is written with it. Afterwards it is one statement.
 */
export async function checkEncryptionKeys(db: Database, keys: EncryptionKeys): Promise<void> {
  if (isComplete(await recordedKeys(db), keys)) return
  await db.transaction(async (tx) => {
    // Of two processes that open an empty database with different keys, the second one has to find the first one's record.
    await rows(tx, sql`SELECT pg_advisory_xact_lock(${RECORD_LOCK}::bigint)`)
    const recorded = await recordedKeys(tx)
    const used = recorded.length > 0 ? recorded : await keysOfRows(tx, keys)
    requireKeys(used, keys)
    await record(tx, [...used, toHex(keys[0].fingerprint)])
  })
}

/** Whether every recorded key is configured, and the one that is written with is recorded. */
function isComplete(recorded: readonly string[], keys: EncryptionKeys): boolean {
  if (recorded.length === 0) return false
  requireKeys(recorded, keys)
  return recorded.includes(toHex(keys[0].fingerprint))
}

function requireKeys(used: readonly string[], keys: EncryptionKeys): void {
  const configured = keys.map(({ fingerprint }) => toHex(fingerprint))
  if (used.every((one) => configured.includes(one))) return
  throw new Error(used.some((one) => configured.includes(one)) ? KEY_MISSING : ANOTHER_KEY)
}

async function recordedKeys(db: Database): Promise<string[]> {
  const found = await rows<{ key: string }>(
    db,
    sql`SELECT encode(fingerprint, 'hex') AS key FROM encryption_keys`,
  )
  return found.map(({ key }) => key)
}

async function record(tx: Database, fingerprints: readonly string[]): Promise<void> {
  await rows(
    tx,
    sql`INSERT INTO encryption_keys (fingerprint)
      SELECT decode(key, 'hex') FROM unnest(${`{${fingerprints.join(',')}}`}::text::text[]) AS used (key)
      ON CONFLICT DO NOTHING`,
  )
}

/** Forgets every key but one, which then suffices to start with. Only right when no row needs another key. */
export async function forgetOtherKeys(db: Database, { fingerprint }: EncryptionKey): Promise<void> {
  await rows(
    db,
    sql`DELETE FROM encryption_keys WHERE fingerprint <> decode(${toHex(fingerprint)}, 'hex')`,
  )
}

/** The configured keys that wrote the rows of a database without a record: of an earlier release, or a new one. */
async function keysOfRows(tx: Database, keys: EncryptionKeys): Promise<string[]> {
  const apiKeys = await rows<KeyRow>(
    tx,
    sql`SELECT ${KEY_ROW} FROM api_keys WHERE rights_mac IS NOT NULL ORDER BY id LIMIT ${SAMPLES}::int`,
  )
  const orders = await rows<{ uuid: string; box: string }>(
    tx,
    sql`SELECT uuid, encode(signature_box, 'hex') AS box FROM orders ORDER BY uuid LIMIT ${SAMPLES}::int`,
  )
  if (apiKeys.length + orders.length === 0) return []
  const used: string[] = []
  for (const key of keys) {
    const mac = openMac([key])
    const encryption = await openEncryption([key], noRandomBytes)
    const decrypts = ({ uuid, box }: { uuid: string; box: string }) =>
      encryption.decrypt(fromHex(box), signatureLabel(uuid)).then(
        () => true,
        () => false,
      )
    const wrote =
      apiKeys.some((row) => mac.verify(rightsText(readRights(row.rights)), row.mac)) ||
      (await Promise.all(orders.map(decrypts))).includes(true)
    if (wrote) used.push(toHex(key.fingerprint))
  }
  if (used.length === 0) throw new Error(ANOTHER_KEY)
  return used
}

function noRandomBytes(): never {
  throw new Error('a check encrypts nothing')
}
