import { sql } from 'drizzle-orm'
import {
  type ArchivedAudit,
  archivedAuditText,
  hashesOfChain,
  readArchivedAudit,
} from '../audit/archived.ts'
import type { ArchivedEvents, AuditEvent } from '../audit/event.ts'
import { listUnrecorded } from '../audit/list.ts'
import { type Database, messageOf, rows } from '../db/database.ts'
import { isRecordedSql } from '../db/schema.ts'
import { shardSql } from '../db/shard.ts'
import { milliseconds } from '../db/time.ts'
import { KEY_ROW, type KeyRow, type LockedKey, readKey } from '../keys/change.ts'
import type { Recover } from '../stacks/recover.ts'
import { checkHeads, type WalletFault } from './check-heads.ts'
import { checkOrders, type OrderCheckServices } from './check-orders.ts'
import {
  type AuditFault,
  differences,
  openReplay,
  type Replay,
  type ReplayedKey,
  type ReplayStart,
  type ReplayState,
  unrecordedFault,
} from './replay.ts'

export interface AuditCheck {
  wallets: number
  keys: number
  events: number
  /** How many orders were checked. */
  orders: number
  /** Of them, those of a release without MACs. */
  unsealedOrders: number
  /** How many faults there are; `faults` has the first ones of each wallet. */
  faultCount: number
  faults: WalletFault[]
  /** The wallets whose check did not end, and why. */
  unchecked: { walletAddress: string; reason: string }[]
  /** With `heads`: how many were compared, and how many lines could not be read. */
  heads?: number
  unreadableLines?: number
}

export interface CheckServices extends OrderCheckServices {
  recover: Recover
}

export interface CheckOptions {
  /** Lines of heads that were kept outside the database: see `checkHeads`. */
  heads?: AsyncIterable<string> | undefined
}

/** Rows in a page: a transaction reads two pages, and nothing is computed while it is open. */
const PAGE = 1_000
/** The longest audit that a check replays: it keeps a hash of each event. */
const MAX_EVENTS = 500_000
const MAX_FAULTS_OF_WALLET = 100
const MAX_FAULTS = 10_000

/**
 * Compares every key's row with what its owner signed: its MAC, and each column with the events that made it. A whole row
 * that was put back as it once was has a valid MAC, so only the events reveal it. A wallet whose check fails does not keep
 * the others from being checked.
 */
export async function checkAudit(
  services: CheckServices,
  { heads }: CheckOptions = {},
): Promise<AuditCheck> {
  const check: AuditCheck = {
    wallets: 0,
    keys: 0,
    events: 0,
    orders: 0,
    unsealedOrders: 0,
    faultCount: 0,
    faults: [],
    unchecked: [],
  }
  let wallet = await nextWallet(services.db, '')
  while (wallet !== null) {
    check.wallets += 1
    await addWallet(services, check, wallet)
    wallet = await nextWallet(services.db, wallet)
  }
  const orders = await checkOrders(services, openReport(check))
  Object.assign(check, { orders: orders.orders, unsealedOrders: orders.unsealed })
  if (heads !== undefined)
    Object.assign(check, await checkHeads(services.db, heads, openReport(check)))
  return check
}

/** Counts faults, and keeps the first ones. */
function openReport(check: AuditCheck, most = MAX_FAULTS): (fault: WalletFault) => void {
  let reported = 0
  return (fault) => {
    check.faultCount += 1
    reported += 1
    if (reported <= most && check.faults.length < MAX_FAULTS) check.faults.push(fault)
  }
}

async function addWallet(
  services: CheckServices,
  check: AuditCheck,
  walletAddress: string,
): Promise<void> {
  const report = openReport(check, MAX_FAULTS_OF_WALLET)
  try {
    const { keys, events } = await checkWallet(services, walletAddress, (fault) =>
      report({ walletAddress, ...fault }),
    )
    check.keys += keys
    check.events += events
  } catch (error) {
    check.unchecked.push({ walletAddress, reason: messageOf(error) })
  }
}

/** The next wallet of any table, in the order of their addresses: three probes of an index. */
async function nextWallet(db: Database, after: string): Promise<string | null> {
  const least = (table: string, which = sql`true`) =>
    sql`(SELECT min(wallet_address) FROM ${sql.raw(table)} WHERE wallet_address > ${after} AND ${which})`
  const [found] = await rows<{ wallet: string | null }>(
    db,
    sql`SELECT least(${least('api_keys')}, ${least('audit_events')}, ${least('signed_actions', isRecordedSql)}) AS wallet`,
  )
  return found?.wallet ?? null
}

/** An event with the row of `signed_actions` that it refers to. */
interface CheckedEvent {
  cursor: string
  sequence: number
  body: string
  hash: string
  message: string | null
  signature: string | null
  actionId: number | null
  acceptedAt: number | null
}

/** A key's row, with the hash of the message that its `grant_id` refers to. */
interface CheckedRow extends KeyRow {
  id: string
  grantHash: string | null
}

async function checkWallet(
  services: CheckServices,
  walletAddress: string,
  report: (fault: AuditFault) => void,
): Promise<{ keys: number; events: number }> {
  const { db, config, recover } = services
  const options = { walletAddress, network: config.STACKS_NETWORK, recover }
  const archived = await readArchivedAudit(db, walletAddress)
  const start = archived && startOf(services, walletAddress, archived)
  if (archived !== undefined && start === undefined)
    report({ fault: 'the record of its archived events was edited' })
  const replay = openReplay(options, report, start)
  const checkAction = openActionCheck(report, archived?.actionId)
  let after = archived === undefined ? BEFORE_FIRST : String(archived.through)
  const push = (events: readonly CheckedEvent[]) => {
    for (const event of events) {
      replay.push(withoutNulls(event))
      checkAction(event)
      after = event.cursor
    }
    if (replay.events > MAX_EVENTS) throw new Error(`its audit has more than ${MAX_EVENTS} events`)
    return events.length === PAGE
  }
  while (push(await readEvents(db, walletAddress, after)));
  const unseen = new Set(replay.keys.keys())
  let keys = 0
  let last = ''
  for (;;) {
    const page = await readRows(db, walletAddress, after, last)
    // The service goes on writing: rows are compared only with all the events of their snapshot.
    if (push(page.events)) continue
    for (const row of page.rows) {
      const key = readKey(services, row)
      for (const fault of rowFaults(key, row.grantHash, replay.keys.get(row.id)))
        report({ keyId: row.id, fault })
      unseen.delete(row.id)
      last = row.id
    }
    keys += page.rows.length
    if (page.rows.length < PAGE) break
  }
  for (const keyId of unseen) report({ keyId, fault: 'its row is gone' })
  await checkUnrecorded(db, walletAddress, replay, report, archived?.actionId)
  return { keys, events: replay.events }
}

/** Where the replay of a wallet begins whose events have left in part; undefined where the record of them was edited. */
export function startOf(
  { mac }: Pick<CheckServices, 'mac'>,
  walletAddress: string,
  archived: ArchivedAudit,
): ReplayStart | undefined {
  if (!mac.verify(archivedAuditText(walletAddress, archived), archived.mac)) return undefined
  const { replay } = JSON.parse(archived.state) as ArchivedState
  return { hashes: hashesOfChain(archived.bodyHashes), state: replay }
}

/** What is stored of the events that have left, beside their hashes. */
export interface ArchivedState extends Pick<ArchivedEvents, 'archives'> {
  /** Behind the last of them. */
  replay: ReplayState
}

/** Before the number of every event, also of one that was edited. */
const BEFORE_FIRST = '-9223372036854775808'
/** No body that the service writes is longer; the hash of a longer one does not fit what is read of it. */
const MAX_BODY_CHARACTERS = 1_000_000

function readEvents(db: Database, walletAddress: string, after: string): Promise<CheckedEvent[]> {
  return rows<CheckedEvent>(
    db,
    sql`SELECT sequence::text AS cursor, sequence::float8 AS sequence, left(body, ${MAX_BODY_CHARACTERS}::int) AS body,
        encode(hash, 'hex') AS hash, message, signature, action_id::float8 AS "actionId",
        ${milliseconds(sql`accepted_at`)} AS "acceptedAt"
      FROM audit_events LEFT JOIN signed_actions ON signed_actions.id = action_id AND signed_actions.shard = ${shardSql(walletAddress)}
      WHERE audit_events.wallet_address = ${walletAddress} AND audit_events.shard = ${shardSql(walletAddress)} AND sequence > ${after}::bigint
      ORDER BY sequence LIMIT ${PAGE}::int`,
  )
}

/** A page of keys, with the events since the last one that was replayed. */
function readRows(
  db: Database,
  walletAddress: string,
  afterEvent: string,
  afterKey: string,
): Promise<{ events: CheckedEvent[]; rows: CheckedRow[] }> {
  return db.transaction(
    async (tx) => ({
      events: await readEvents(tx, walletAddress, afterEvent),
      rows: await rows<CheckedRow>(
        tx,
        sql`SELECT id, ${KEY_ROW}, (SELECT encode(message_hash, 'hex') FROM signed_actions
            WHERE signed_actions.id = grant_id AND signed_actions.shard = ${shardSql(walletAddress)}) AS "grantHash"
          FROM api_keys WHERE wallet_address = ${walletAddress} AND shard = ${shardSql(walletAddress)} AND id > ${afterKey} ORDER BY id LIMIT ${PAGE}::int`,
      ),
    }),
    { isolationLevel: 'repeatable read' },
  )
}

function withoutNulls({ sequence, body, hash, message, signature }: CheckedEvent): AuditEvent {
  return {
    sequence,
    body,
    hash,
    ...(message !== null && { message }),
    ...(signature !== null && { signature }),
  }
}

/**
 * Returns a check of the rows that events refer to: messages are accepted in the order of their events, and at their times.
 * The event of a converted key refers to a grant that was accepted before.
 */
function openActionCheck(
  report: (fault: AuditFault) => void,
  latest = 0,
): (event: CheckedEvent) => void {
  return ({ sequence, actionId, acceptedAt, body }) => {
    if (actionId === null || body.includes('"event":"adopt_api_key"')) return
    if (actionId <= latest)
      report({ sequence, fault: 'its message was accepted before the one of an event ahead of it' })
    if (!body.includes(`"at":${acceptedAt},`))
      report({ sequence, fault: 'its message was accepted at another time' })
    latest = Math.max(latest, actionId)
  }
}

/** Finds the signed actions that no event records. */
async function checkUnrecorded(
  db: Database,
  walletAddress: string,
  replay: Replay,
  report: (fault: AuditFault) => void,
  archivedActionId = 0,
): Promise<void> {
  let after: string | undefined = String(archivedActionId)
  while (after !== undefined) {
    const { found, next }: Awaited<ReturnType<typeof listUnrecorded>> = await listUnrecorded(
      db,
      walletAddress,
      after,
    )
    for (const action of found) {
      const fault = unrecordedFault(action, replay)
      if (fault !== undefined) report(fault)
    }
    after = next
  }
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
