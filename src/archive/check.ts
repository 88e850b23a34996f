import { archivedHash } from '../audit/archived.ts'
import { chainHash } from '../audit/event.ts'
import { ArchiveFault, type ArchiveFaultKind, archiveName, type ChainRow } from './format.ts'
import { listArchives, type RecordedArchive } from './lease.ts'
import { type EventRow, eventOf } from './select.ts'
import type { ArchiveServices } from './services.ts'

/** What is wrong with an archive. */
export interface CheckedArchiveFault {
  archive: number
  kind: ArchiveFaultKind | 'reordered' | 'not_of_this_database'
  fault: string
}

export interface ArchivesCheck {
  archives: number
  events: number
  wallets: number
  /** Hours of usage of a key, by outcome. */
  usage: number
  faults: CheckedArchiveFault[]
}

const MAX_FAULTS = 1_000

/**
 * Compares the archives of the database with the files of a folder: each is there, whole and the one that was verified, follows the one
 * before, and joins the chains that the database goes on with.
 */
export async function checkArchives(
  services: ArchiveServices,
  folder: string,
): Promise<ArchivesCheck> {
  const check: ArchivesCheck = { archives: 0, events: 0, wallets: 0, usage: 0, faults: [] }
  let previous: string | null = null
  for (const recorded of await listArchives(services.db)) {
    const { digest } = recorded
    if (digest === null) continue
    check.archives += 1
    await checkOne(services, { ...recorded, digest }, folder, previous, check)
    previous = digest
  }
  return check
}

async function checkOne(
  { db, archiveFiles }: ArchiveServices,
  { number, digest }: RecordedArchive & { digest: string },
  folder: string,
  previous: string | null,
  check: ArchivesCheck,
): Promise<void> {
  const report = (kind: CheckedArchiveFault['kind'], fault: string) => {
    if (check.faults.length < MAX_FAULTS) check.faults.push({ archive: number, kind, fault })
  }
  const path = `${folder}/${archiveName(number, digest)}`
  const chain = openChain()
  try {
    const { header, trailer } = await archiveFiles.read(path, async ({ kind, text }) => {
      if (kind === 'event') {
        check.events += 1
        chain.push(JSON.parse(text))
      }
      if (kind === 'usage') check.usage += 1
      if (kind !== 'chain') return
      check.wallets += 1
      const row = JSON.parse(text) as ChainRow
      const isWhole = chain.end(row)
      if (!isWhole) report('reordered', `the events of ${row.walletAddress} are no chain`)
      const stored = await archivedHash(db, row.walletAddress, row.through)
      // A removal that has not come to this wallet yet has its events in the table.
      if (stored !== undefined && stored !== row.hash)
        report('not_of_this_database', `another chain of ${row.walletAddress} was archived`)
    })
    if (trailer.digest !== digest) report('tampered', `${path} is not the file that was verified`)
    if (header.number !== number || header.previous !== previous)
      report('not_of_this_database', `${path} does not follow the archive before`)
  } catch (error) {
    if (!(error instanceof ArchiveFault)) throw error
    report(error.kind, error.message)
  }
}

interface ChainEvent {
  wallet: string
  sequence: number
  body: string
  hash: string
}

/** The events of one wallet after the other. */
function openChain(): { push(row: EventRow): void; end(row: ChainRow): boolean } {
  let first: ChainEvent | undefined
  let last: ChainEvent | undefined
  let isWhole = true
  return {
    push(row) {
      const { sequence, body, hash } = eventOf(row)
      const event = { wallet: row.event.wallet_address, sequence, body, hash }
      first ??= event
      if (last !== undefined)
        isWhole &&=
          event.wallet === last.wallet &&
          sequence === last.sequence + 1 &&
          chainHash(last.hash, body) === hash
      last = event
    },
    end({ walletAddress, from, through, previous, hash }) {
      const isOfRow =
        first?.wallet === walletAddress &&
        first.sequence === from &&
        chainHash(previous, first.body) === first.hash &&
        last?.sequence === through &&
        last.hash === hash
      const whole = isWhole && isOfRow
      first = undefined
      last = undefined
      isWhole = true
      return whole
    },
  }
}
