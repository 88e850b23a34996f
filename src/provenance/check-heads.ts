import { sql } from 'drizzle-orm'
import { hashesOfChain, readArchivedAudit } from '../audit/archived.ts'
import type { AuditHead } from '../audit/event.ts'
import { HEAD_EVENT } from '../audit/heads.ts'
import { type Database, rows } from '../db/database.ts'
import { walletShard } from '../db/shard.ts'
import type { AuditFault } from './replay.ts'

/** A fault of a wallet's audit, or of one of its orders. */
export interface WalletFault extends AuditFault {
  walletAddress: string
  orderUuid?: string
}

export interface HeadCheck {
  /** How many heads were compared. */
  heads: number
  /** Lines that are no JSON: the last one of a process that was killed may be torn. */
  unreadableLines: number
}

interface KeptHead extends AuditHead {
  walletAddress: string
}

const PAGE = 500

/**
 * Compares heads that were kept outside the database with the chains in it. The lines are those of the log, or of
 * AUDIT_HEADS_FILE; lines of other events are passed over.
 */
export async function checkHeads(
  db: Database,
  lines: AsyncIterable<string>,
  report: (fault: WalletFault) => void,
): Promise<HeadCheck> {
  const check: HeadCheck = { heads: 0, unreadableLines: 0 }
  let page: KeptHead[] = []
  const flush = async () => {
    for (const fault of await compareHeads(db, page)) report(fault)
    check.heads += page.length
    page = []
  }
  for await (const line of lines) {
    if (line.trim() === '') continue
    const head = readLine(line)
    if (head === 'unreadable') check.unreadableLines += 1
    else if (head !== undefined) page.push(head)
    if (page.length === PAGE) await flush()
  }
  await flush()
  return check
}

/** The head of a line; undefined for a line of another event. */
function readLine(line: string): KeptHead | 'unreadable' | undefined {
  try {
    const { event, walletAddress, sequence, hash } = JSON.parse(line)
    if (event !== HEAD_EVENT) return undefined
    const isHead =
      typeof walletAddress === 'string' &&
      Number.isSafeInteger(sequence) &&
      /^[0-9a-f]{64}$/.test(hash)
    return isHead ? { walletAddress, sequence, hash } : 'unreadable'
  } catch {
    return 'unreadable'
  }
}

async function compareHeads(db: Database, heads: readonly KeptHead[]): Promise<WalletFault[]> {
  if (heads.length === 0) return []
  const placed = heads.map((head) => ({ ...head, shard: walletShard(head.walletAddress) }))
  const found = await rows<{ at: number; hash: string | null }>(
    db,
    sql`SELECT kept.at::int AS at, encode(event.hash, 'hex') AS hash
      FROM jsonb_array_elements(${JSON.stringify(placed)}::text::jsonb) WITH ORDINALITY AS kept (head, at)
      LEFT JOIN audit_events AS event ON event.wallet_address = head ->> 'walletAddress'
        AND event.shard = (head ->> 'shard')::int AND event.sequence = (head ->> 'sequence')::bigint`,
  )
  const archived = new Map<string, string[]>()
  for (const { at, hash } of found) {
    const { walletAddress = '' } = heads[at - 1] ?? {}
    if (hash !== null || archived.has(walletAddress)) continue
    const left = await readArchivedAudit(db, walletAddress)
    archived.set(walletAddress, hashesOfChain(left?.bodyHashes ?? ''))
  }
  return found.flatMap(({ at, hash: stored }) => {
    const head = heads[at - 1]
    if (head === undefined) return []
    const hash = stored ?? archived.get(head.walletAddress)?.[head.sequence - 1] ?? null
    if (head.hash === hash) return []
    const fault =
      hash === null
        ? 'is gone, and a kept head names it'
        : 'is another event than the kept head names'
    return [{ walletAddress: head.walletAddress, sequence: head.sequence, fault }]
  })
}
