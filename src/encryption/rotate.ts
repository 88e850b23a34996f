import { type SQL, sql } from 'drizzle-orm'
import { type ArchivedAudit, archivedAuditText } from '../audit/archived.ts'
import { fromHex, toHex } from '../crypto/bytes.ts'
import type { Encryption } from '../crypto/encryption.ts'
import { signatureLabel, transactionLabel, webhookSecretLabel } from '../crypto/labels.ts'
import type { Mac } from '../crypto/mac.ts'
import { type Database, rows } from '../db/database.ts'
import { orderJson, orderOfJson } from '../db/order-row.ts'
import { KEY_ROW, type KeyRow } from '../keys/change.ts'
import { macKeyLabel } from '../keys/mac-key.ts'
import { readRights, rightsText } from '../keys/rights.ts'
import { stateText, termsText } from '../orders/integrity.ts'
import { type CredentialRow, credentialText } from '../service-credentials/credential.ts'
import { CREDENTIAL_ROW } from '../service-credentials/use.ts'
import { SESSION_ROW } from '../sessions/find.ts'
import { type SessionRow, sessionText } from '../sessions/session.ts'
import { WEBHOOK_ROW, type WebhookRow } from '../webhooks/find.ts'
import { webhookText } from '../webhooks/webhook.ts'

/*
 * Rotation to another encryption key while the service runs. Every process reads with both keys and writes with the new one, so
 * rows of the old key only become fewer. Pages are rewritten by primary key; of a row that changed since it was read, or that
 * another transaction holds, nothing is written: the next pass reads it again. What does not verify is left as it is, because
 * a new MAC would authenticate the edit.
 */

export interface RotateServices {
  db: Database
  mac: Mac
  encryption: Encryption
}

/** What one pass found in one table. */
export interface TableProgress {
  table: string
  rows: number
  rewritten: number
  /** Rows that changed or were locked meanwhile. */
  skipped: number
  /** Rows whose MAC does not fit or whose box does not decrypt, with any configured key. */
  unverified: number
}

export interface Rotated {
  rewritten: number
  unverified: number
  /** False when rows of another key were still being written after the last pass. */
  isDone: boolean
}

const PAGE = 200
const MAX_PASSES = 20

/**
 * Rewrites every box and every MAC with the first key, until a whole pass finds nothing to rewrite. It can be stopped at any
 * time and repeated: what has the first key already is only read.
 */
export async function rotateEncryption(
  services: RotateServices,
  report: (progress: TableProgress) => Promise<void>,
): Promise<Rotated> {
  const total = { rewritten: 0, unverified: 0 }
  for (let pass = 0; pass < MAX_PASSES; pass++) {
    let open = 0
    total.unverified = 0
    for (const table of TABLES) {
      const progress = await rotateTable(services, table)
      await report(progress)
      open += progress.rewritten + progress.skipped
      total.rewritten += progress.rewritten
      total.unverified += progress.unverified
    }
    if (open === 0) return { ...total, isDone: true }
    // The database waits: this room has no timer.
    await rows(services.db, sql`SELECT pg_sleep(0.1)`)
  }
  return { ...total, isDone: false }
}

/** Columns under an encryption key, as hex; null where a row has none. */
type Secured = readonly (string | null)[]

/** A row as it was read, and as it is with the first key; undefined when it does not verify. */
interface Rewrite {
  key: string
  before: Secured
  after: Secured | undefined
}

interface RotatedTable {
  name: string
  /** The primary key. */
  key: string
  columns: readonly string[]
  /** Rows after a primary key, in its order. */
  read(services: RotateServices, after: string): Promise<Rewrite[]>
}

const TABLES: readonly RotatedTable[] = [
  {
    name: 'api_keys',
    key: 'id',
    columns: ['rights_mac', 'mac_key_box', 'previous_mac_key_box'],
    async read(services, after) {
      const found = await rows<KeyBoxes>(
        services.db,
        sql`SELECT id, ${KEY_ROW}, encode(mac_key_box, 'hex') AS box, encode(previous_mac_key_box, 'hex') AS "previousBox"
          FROM api_keys WHERE rights_mac IS NOT NULL AND ${nextPage('id', after)}`,
      )
      return Promise.all(found.map((row) => rewriteKey(services, row)))
    },
  },
  {
    name: 'sessions',
    key: 'id',
    columns: ['mac'],
    async read({ db, mac }, after) {
      const found = await rows<SessionRow & { mac: string }>(
        db,
        sql`SELECT ${SESSION_ROW} FROM sessions WHERE ${nextPage('id', after)}`,
      )
      return found.map((row) => rewriteMac(mac, row.id, sessionText(row), row.mac))
    },
  },
  {
    name: 'webhooks',
    key: 'id',
    columns: ['secret_box', 'previous_secret_box', 'mac'],
    async read(services, after) {
      const found = await rows<WebhookRow>(
        services.db,
        sql`SELECT ${WEBHOOK_ROW} FROM webhooks WHERE ${nextPage('id', after)}`,
      )
      return Promise.all(found.map((row) => rewriteWebhook(services, row)))
    },
  },
  {
    name: 'service_credentials',
    key: 'id',
    columns: ['mac'],
    async read({ db, mac }, after) {
      const found = await rows<CredentialRow & { mac: string }>(
        db,
        sql`SELECT ${CREDENTIAL_ROW} FROM service_credentials WHERE ${nextPage('id', after)}`,
      )
      return found.map((row) => rewriteMac(mac, row.id, credentialText(row), row.mac))
    },
  },
  {
    name: 'archived_audits',
    key: 'wallet_address',
    columns: ['mac'],
    async read({ db, mac }, after) {
      const found = await rows<Omit<ArchivedAudit, 'through'> & { wallet: string }>(
        db,
        sql`SELECT wallet_address AS wallet, encode(body_hashes, 'hex') AS "bodyHashes", action_id::float8 AS "actionId", state,
            encode(mac, 'hex') AS mac FROM archived_audits WHERE ${nextPage('wallet_address', after)}`,
      )
      return found.map(({ wallet, mac: stored, ...archived }) =>
        rewriteMac(mac, wallet, archivedAuditText(wallet, archived), stored),
      )
    },
  },
  {
    name: 'orders',
    key: 'uuid',
    columns: ['signature_box', 'terms_mac', 'state_mac'],
    async read(services, after) {
      const found = await rows<{ order: Record<string, unknown> }>(
        services.db,
        sql`SELECT ${orderJson(sql`orders`)} AS "order" FROM orders WHERE ${nextPage('uuid', after)}`,
      )
      return Promise.all(found.map(({ order }) => rewriteOrder(services, order)))
    },
  },
  {
    name: 'transactions',
    key: 'txid',
    columns: ['raw_box'],
    async read({ db, encryption }, after) {
      const found = await rows<{ txid: string; box: string }>(
        db,
        sql`SELECT txid, encode(raw_box, 'hex') AS box FROM transactions WHERE ${nextPage('txid', after)}`,
      )
      return Promise.all(
        found.map(async ({ txid, box }) => {
          const after = await rewriteBox(encryption, box, transactionLabel(txid))
          return { key: txid, before: [box], after: after === undefined ? undefined : [after] }
        }),
      )
    },
  },
]

/** A webhook's MAC covers its boxes: they are written together. */
async function rewriteWebhook(
  { mac, encryption }: RotateServices,
  row: WebhookRow,
): Promise<Rewrite> {
  const label = webhookSecretLabel(row.id)
  const before = [row.secretBox, row.previousSecretBox, row.mac]
  const secretBox = await rewriteBox(encryption, row.secretBox, label)
  const previousSecretBox =
    row.previousSecretBox && (await rewriteBox(encryption, row.previousSecretBox, label))
  const isReadable = secretBox !== undefined && previousSecretBox !== undefined
  if (!isReadable || !mac.verify(webhookText(row), row.mac))
    return { key: row.id, before, after: undefined }
  const rewritten = webhookText({ ...row, secretBox, previousSecretBox })
  return { key: row.id, before, after: [secretBox, previousSecretBox, mac(rewritten)] }
}

function nextPage(key: string, after: string): SQL {
  const column = sql.raw(key)
  return sql`${column} > ${after} ORDER BY ${column} LIMIT ${PAGE}::int`
}

function rewriteMac(mac: Mac, key: string, text: string, stored: string | null): Rewrite {
  return { key, before: [stored], after: mac.verify(text, stored) ? [mac(text)] : undefined }
}

/** The box of the same secret under the first key; undefined when it does not decrypt. */
async function rewriteBox(
  encryption: Encryption,
  box: string,
  label: string,
): Promise<string | undefined> {
  const bytes = fromHex(box)
  const secret = await encryption.decrypt(bytes, label).catch(() => undefined)
  if (secret === undefined) return undefined
  return encryption.isCurrent(bytes) ? box : toHex(await encryption.encrypt(secret, label))
}

type KeyBoxes = KeyRow & { id: string; box: string | null; previousBox: string | null }

/** The boxes are under labels of the hashes that the MAC covers: of a row that was edited, none is written anew. */
async function rewriteKey(
  { mac, encryption }: RotateServices,
  { id, rights: values, mac: stored, box, previousBox }: KeyBoxes,
): Promise<Rewrite> {
  const rights = readRights(values)
  const { keyHash, previousKeyHash } = rights
  const before = [stored, box, previousBox]
  const after = await Promise.all([
    rewriteMac(mac, id, rightsText(rights), stored).after?.[0],
    box && rewriteBox(encryption, box, macKeyLabel(id, keyHash)),
    previousBox && rewriteBox(encryption, previousBox, macKeyLabel(id, previousKeyHash ?? '')),
  ])
  const isVerified = after.every((value) => value !== undefined)
  return { key: id, before, after: isVerified ? after : undefined }
}

/** An order of a release without MACs has a box only. */
async function rewriteOrder(
  { mac, encryption }: RotateServices,
  json: Record<string, unknown>,
): Promise<Rewrite> {
  const row = orderOfJson(json)
  const hex = (bytes: Uint8Array | null) => (bytes === null ? null : toHex(bytes))
  const [signatureBox, terms, state] = [
    toHex(row.signatureBox),
    hex(row.termsMac),
    hex(row.stateMac),
  ]
  const texts = { terms: termsText(row), state: stateText(row.uuid, row.status) }
  const box = await rewriteBox(encryption, signatureBox, signatureLabel(row.uuid))
  const isIntact =
    (terms === null || mac.verify(texts.terms, terms)) &&
    (state === null || mac.verify(texts.state, state))
  const macs = [terms && mac(texts.terms), state && mac(texts.state)]
  return {
    key: row.uuid,
    before: [signatureBox, terms, state],
    after: box === undefined || !isIntact ? undefined : [box, ...macs],
  }
}

async function rotateTable(services: RotateServices, table: RotatedTable): Promise<TableProgress> {
  const progress = { table: table.name, rows: 0, rewritten: 0, skipped: 0, unverified: 0 }
  let after = ''
  for (;;) {
    const page = await table.read(services, after)
    const due = page.filter((row) => row.after?.some((value, at) => value !== row.before[at]))
    const written = due.length === 0 ? 0 : await write(services.db, table, due)
    progress.rows += page.length
    progress.rewritten += written
    progress.skipped += due.length - written
    progress.unverified += page.filter((row) => row.after === undefined).length
    const last = page.at(-1)
    if (last === undefined || page.length < PAGE) return progress
    after = last.key
  }
}

/**
 * Writes rows that are still as they were read, and returns how many. Locked rows are skipped: a transaction that holds some
 * of them and waits for others would deadlock with this one.
 */
async function write(
  db: Database,
  { name, key, columns }: RotatedTable,
  page: readonly Rewrite[],
): Promise<number> {
  const [table, primary] = [sql.raw(name), sql.raw(`${name}.${key}`)]
  const given = JSON.stringify(
    page.map(({ key, before, after = [] }) => ({ row_key: key, before, after })),
  )
  const value = (side: 'before' | 'after', at: number) =>
    sql`decode(${sql.raw(side)} ->> ${sql.raw(String(at))}, 'hex')`
  const isUnchanged = sql.join(
    columns.map(
      (column, at) =>
        sql`${sql.raw(`${name}.${column}`)} IS NOT DISTINCT FROM ${value('before', at)}`,
    ),
    sql` AND `,
  )
  const assignments = sql.join(
    columns.map((column, at) => sql`${sql.raw(column)} = ${value('after', at)}`),
    sql`, `,
  )
  const written = await rows(
    db,
    sql`WITH given AS (
        SELECT * FROM jsonb_to_recordset(${given}::text::jsonb) AS page (row_key text, before jsonb, after jsonb)
      ), free AS (
        SELECT row_key AS free_key FROM ${table} JOIN given ON ${primary} = row_key
        WHERE ${isUnchanged} FOR NO KEY UPDATE OF ${table} SKIP LOCKED
      )
      UPDATE ${table} SET ${assignments} FROM given JOIN free ON free_key = row_key
      WHERE ${primary} = row_key AND ${isUnchanged} RETURNING 1`,
  )
  return written.length
}
