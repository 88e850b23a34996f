import { ok, type Result, refuse } from '../result.ts'
import { ArchiveFault, type ArchiveHeader, archiveName, type RowKind } from './format.ts'
import {
  beginRemoval,
  endArchive,
  type Lease,
  ownsTables,
  previousDigest,
  releaseLease,
  renewLease,
  takeLease,
  usageThrough,
} from './lease.ts'
import { passBarrier, type Removed, removeRows, storeUuids } from './remove.ts'
import { type Held, rowsThatLeave } from './select.ts'
import type { ArchiveServices } from './services.ts'

/*
 * An archive is made in three steps, each of which can be stopped at any moment and repeated. Its file is written, is on disk, and is read
 * back; the database records its digest; then the rows that the file has are removed, in batches. Until the record, nothing is removed;
 * from then on the file is not written again. So a row is in the database, in the file, or in both. Usage is copied, and deleted when it is
 * old: see src/usage/forget.ts.
 */

/** What came of an archive. */
export interface Archived {
  number: number
  /** ISO 8601. */
  before: string
  path: string
  digest: string
  /** Rows of the file. */
  rows: Partial<Record<RowKind, number>>
  /** Rows that this run removed; an earlier one may have removed others. */
  removed: Removed
  /** Wallets and orders that do not verify, and stay. */
  held: Held
  /** Whether an earlier run had begun it. */
  resumed: boolean
}

export type ArchiveRefusal =
  | 'archiveTooYoung'
  | 'archiveRunning'
  | 'archiveOnManyServers'
  | 'archiveNotOwner'

/** Renews the lease while rows are read: so many rows apart. */
const ROWS_PER_LEASE = 2_000

/** Moves what ended before a moment into a file of a folder. An archive that an earlier run left open is finished first, and alone. */
export async function archive(
  services: ArchiveServices,
  {
    before,
    folder,
    usage = false,
  }: { before: number; folder: string; usage?: boolean | undefined },
): Promise<Result<Archived, ArchiveRefusal>> {
  if (services.distribution?.hasManyServers === true) return refuse('archiveOnManyServers')
  if (!(await ownsTables(services.db))) return refuse('archiveNotOwner')
  const lease = await takeLease(services.db, before)
  if (lease === 'young') return refuse('archiveTooYoung')
  if (lease === undefined) return refuse('archiveRunning')
  try {
    return ok(await run(services, lease, folder, usage))
  } finally {
    await releaseLease(services.db, lease).catch(() => {})
  }
}

async function run(
  services: ArchiveServices,
  lease: Lease,
  folder: string,
  hasUsage: boolean,
): Promise<Archived> {
  const { db, archiveFiles } = services
  const held: Held = { wallets: [], orders: [] }
  const path =
    lease.digest === null
      ? await writeFile(services, lease, folder, { held, hasUsage })
      : `${folder}/${archiveName(lease.number, lease.digest)}`
  const { header, trailer } = await archiveFiles.read(path, everySoOften(services, lease))
  if (
    header.number !== lease.number ||
    header.previous !== (await previousDigest(db, lease.number))
  )
    throw new ArchiveFault(path, 'tampered', `is not archive ${lease.number} of this database`)
  if (lease.state === 'writing')
    await beginRemoval(db, lease, trailer.digest, header.usage?.through)
  else if (lease.digest !== trailer.digest)
    throw new ArchiveFault(path, 'tampered', 'is not the file that was verified')
  const removed = await removeAll(services, lease, path)
  await endArchive(db, lease)
  return {
    number: lease.number,
    before: new Date(lease.before).toISOString(),
    path,
    digest: trailer.digest,
    rows: trailer.rows,
    removed,
    held,
    resumed: lease.isResumed,
  }
}

async function writeFile(
  services: ArchiveServices,
  lease: Lease,
  folder: string,
  { held, hasUsage }: { held: Held; hasUsage: boolean },
): Promise<string> {
  const { db, archiveFiles, config } = services
  const usage = hasUsage ? await hoursOf(services, lease) : undefined
  const writer = await archiveFiles.write(folder, lease.holder, {
    number: lease.number,
    network: config.STACKS_NETWORK,
    before: new Date(lease.before).toISOString(),
    previous: await previousDigest(db, lease.number),
    ...(usage && { usage }),
  })
  const pulse = everySoOften(services, lease)
  try {
    for await (const row of rowsThatLeave(services, lease.before, { held, usage })) {
      await writer.write(row)
      await pulse()
    }
    return await writer.finish()
  } catch (error) {
    await writer.abandon().catch(() => {})
    throw error
  }
}

const HOUR_MS = 3_600_000

/** The whole hours of usage that an archive takes: those that ended before it, behind the ones that archives have. */
async function hoursOf(
  { db }: ArchiveServices,
  { before, number }: Lease,
): Promise<NonNullable<ArchiveHeader['usage']>> {
  const end = Math.floor(before / HOUR_MS) * HOUR_MS
  const from = await usageThrough(db, number)
  // An archive may be of an earlier moment than the one before it, which then has all of these hours.
  const through = Math.max(end, from ?? 0)
  return {
    from: from === null ? null : new Date(from).toISOString(),
    through: new Date(through).toISOString(),
  }
}

/** Renews the lease now and then: another process that took over has the file from then on. */
function everySoOften({ db }: ArchiveServices, lease: Lease): () => Promise<void> {
  let rows = 0
  return async () => {
    rows += 1
    if (rows % ROWS_PER_LEASE === 0) await renewLease(db, lease)
  }
}

async function removeAll(services: ArchiveServices, lease: Lease, path: string): Promise<Removed> {
  const { db, archiveFiles } = services
  const uuids = storeUuids(services, lease)
  await archiveFiles.read(path, (row) => uuids.take(row))
  await uuids.close()
  await passBarrier(db, 'orders')
  await passBarrier(db, 'signed_actions')
  const removed: Removed = {}
  const removal = removeRows(services, lease, removed)
  await archiveFiles.read(path, (row) => removal.take(row))
  await removal.close()
  return removed
}
