import { resolve } from 'node:path'
import type { Archived } from '../archive/archive.ts'
import type { ArchivesCheck } from '../archive/check.ts'
import type { RecordedArchive } from '../archive/lease.ts'
import { archiveFiles } from '../archive-file.ts'
import type { Perform } from '../operator/acts.ts'
import { outputOf, type RunAct } from './acts.ts'
import { archivesIn } from './archive-files.ts'
import type { CliCommand, CommandContext, CommandResult } from './command.ts'
import { CommandError, UsageError } from './errors.ts'
import { keyValues, table } from './layout.ts'

interface Ways {
  /** Through the service where it listens for its operator, else on its database. */
  onService: RunAct
  /** As the owner of the tables. */
  onOwner: RunAct
}

/** Adds the commands about what has left the database. */
export function addArchiveCommands(program: CliCommand, { onService, onOwner }: Ways): void {
  const archive = program
    .command('archive')
    .summary('what has ended and leaves the database')
    .description('What has ended and leaves the database for files, without losing a proof.')
  archive
    .command('make')
    .requiredOption('--before <time>', 'move what ended before this, as 2026-01-31', momentOf)
    .requiredOption('--to <folder>', 'where the file is made; of the machine of the service')
    .option(
      '--usage',
      'copy the usage of keys that no archive has; it is then deleted after 90 days, once a file has it',
    )
    .summary('move old events, messages, orders and sessions into a file, while the service runs')
    .example('latchkey-admin archive make --before 2026-01-31 --to /var/lib/latchkey-archives')
    .runs(onOwner(makeArchive))
  archive
    .command('list')
    .summary('list the archives of the database')
    .example('latchkey-admin archive list')
    .runs(onService(listAll))
  archive
    .command('check')
    .argument('<folder>', 'where the files are')
    .summary('compare files with what the database knows of them')
    .example('latchkey-admin archive check /var/lib/latchkey-archives')
    .runs(onService(checkAll))
  archive
    .command('extract')
    .argument('<folder>', 'where the files are')
    .requiredOption('--wallet <address>', 'whose events')
    .requiredOption('--to <folder>', 'where a file for latchkey audit verify --archive is made')
    .summary("copy a wallet's events out of all archives, for its owner")
    .example(
      'latchkey-admin archive extract /var/lib/latchkey-archives --wallet ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM --to .',
    )
    .runs(extract)
}

function momentOf(text: string): number {
  const moment = Date.parse(text)
  if (!Number.isNaN(moment) && /^\d{4}-\d\d-\d\d/.test(text)) return moment
  throw new UsageError(`${text} is no time, as 2026-01-31 or 2026-01-31T12:00:00Z`)
}

async function makeArchive(
  perform: Perform,
  { before, to, usage }: { before: number; to: string; usage?: boolean },
): Promise<CommandResult> {
  const made: Archived = await outputOf(perform, 'archive', {
    before,
    folder: resolve(to),
    usage,
  })
  const { number, path, rows, removed, held, resumed } = made
  const isOther = Date.parse(made.before) !== before
  return {
    json: made,
    lines: [
      ...keyValues({ archive: number, before: made.before, file: path, digest: made.digest }),
      ...table(
        Object.entries(rows)
          .filter(([kind]) => kind !== 'chain')
          .map(([kind, inFile]) => ({
            kind,
            inFile,
            removed: kind === 'usage' ? 'later' : (removed[kind as keyof typeof removed] ?? 0),
          })),
      ),
      ...held.wallets.map((wallet) => `${wallet} does not verify, and stays: audit check`),
      ...held.orders.map((uuid) => `the order ${uuid} was edited, and stays: audit check`),
      ...(resumed && isOther
        ? [`This was finished; it had been begun before. Repeat the command for --before.`]
        : []),
    ],
    exitCode: held.wallets.length + held.orders.length === 0 ? 0 : 1,
  }
}

async function listAll(perform: Perform): Promise<CommandResult> {
  const archives: RecordedArchive[] = await outputOf(perform, 'archives', {})
  const lines = table(
    archives.map(({ digest, usageThrough, ...one }) => ({
      ...one,
      usageThrough: usageThrough ?? '-',
      digest: digest ?? '-',
    })),
  )
  return { json: archives, lines: archives.length === 0 ? ['No archives.'] : lines }
}

async function checkAll(
  perform: Perform,
  _: object,
  { args: [folder = ''] }: CommandContext<object>,
): Promise<CommandResult> {
  const check: ArchivesCheck = await outputOf(perform, 'checkArchives', {
    folder: resolve(folder),
  })
  const { faults, ...counts } = check
  return {
    json: check,
    lines: [
      ...keyValues({ ...counts, faults: faults.length }),
      ...(faults.length === 0 ? [] : table(faults.map((fault) => ({ ...fault })))),
    ],
    exitCode: faults.length === 0 ? 0 : 1,
  }
}

async function extract({
  args: [folder = ''],
  options: { wallet, to },
}: CommandContext<{ wallet: string; to: string }>): Promise<CommandResult> {
  const paths = archivesIn(folder)
  if (paths.length === 0) throw new UsageError(`${folder} has no archive`)
  const { header } = await archiveFiles.read(paths.at(-1) ?? '')
  const { number, network, before } = header
  const writer = await archiveFiles.write(to, `${number}-of-a-wallet-${process.pid}`, {
    number,
    network,
    before,
    previous: null,
    walletAddress: wallet,
  })
  let through = 0
  for (const path of paths)
    await archiveFiles.read(path, async (row) => {
      if (row.kind !== 'event' || !row.text.includes(wallet)) return
      const { event } = JSON.parse(row.text) as {
        event: { wallet_address: string; sequence: number }
      }
      if (event.wallet_address !== wallet || event.sequence <= through) return
      through = event.sequence
      await writer.write(row)
    })
  if (through === 0) {
    await writer.abandon()
    throw new CommandError('NOT_ARCHIVED', `The archives have no events of ${wallet}`)
  }
  const path = await writer.finish()
  return { json: { savedTo: path, through }, lines: [`The events 1 to ${through} are in ${path}`] }
}
