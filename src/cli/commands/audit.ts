import { archiveFiles } from '../../archive-file.ts'
import {
  type AuditEvent,
  type AuditExport,
  type AuditHeadStore,
  type AuditVerdict,
  LatchkeyError,
  verifyAudit,
} from '../../client/index.ts'
import { archivesIn } from '../archive-files.ts'
import { openHeadsFile } from '../audit-heads.ts'
import { type CliCommand, type CommandResult, commaList } from '../command.ts'
import { headsFileOf, openClient, type ServiceContext, serviceUrl } from '../connect.ts'
import { CommandError, UsageError } from '../errors.ts'
import { readJson, saveNew } from '../files.ts'
import { keyValues, table } from '../layout.ts'
import { jsonText } from '../output.ts'

/** Faults that people are shown; `--json` has them all. */
const SHOWN_FAULTS = 100

export function addAuditCommands(program: CliCommand): void {
  const audit = program
    .command('audit')
    .summary('what happened to the keys of the wallet')
    .description(
      'The audit of the wallet: every change of a key, with the message that asked for it.',
    )

  audit
    .command('export')
    .option('--out <file>', 'a new file; by default standard output')
    .summary("write the wallet's audit to a file that proves itself")
    .example('latchkey audit export --out audit.json')
    .runs(exportAudit)

  audit
    .command('verify')
    .argument('<file>', 'what audit export wrote')
    .option('--older <file>', 'an export from before, which this one must continue')
    .option(
      '--archive <files>',
      'archives, or folders of them, separated by commas: of events that the export has no longer',
      commaList,
    )
    .summary('check an exported audit offline: chain, signatures, kept head and every key')
    .example('latchkey audit verify audit.json --older audit-of-last-month.json')
    .runs(checkExport)
}

async function exportAudit(context: ServiceContext<{ out?: string }>): Promise<CommandResult> {
  const { out } = context.options
  const client = await openClient(context)
  if (out === undefined) return { json: await client.audit.export() }
  const audit = await saveNew(out, () => client.audit.export(), jsonText)
  const events = audit.events.length
  return { json: { savedTo: out, events }, lines: [`${events} events saved to ${out}`] }
}

async function checkExport(
  context: ServiceContext<{ older?: string; archive?: string[] }>,
): Promise<CommandResult> {
  const { args, options } = context
  const path = args[0] ?? ''
  const audit = readJson(path) as AuditExport
  const older = options.older === undefined ? undefined : (readJson(options.older) as AuditExport)
  const heads = keptHeads(context)
  const archived = await readArchives(options.archive ?? [], audit)
  const verdict = await verify(path, audit, { older, archived, heads })
  const { faults, vouched, unproven, ...counts } = verdict
  const rows = faults
    .slice(0, SHOWN_FAULTS)
    .map(({ sequence, keyId, fault }) => ({ event: sequence, key: keyId, fault }))
  const hidden = faults.length - rows.length
  return {
    json: verdict,
    lines: [
      ...keyValues({
        wallet: audit.walletAddress,
        ...counts,
        vouched: vouched.length,
        unproven: unproven.length,
        faults: faults.length,
      }),
      ...(rows.length === 0 ? [] : table(rows)),
      ...(verdict.archived === 0 ? [] : [archivedLine(verdict, audit)]),
      ...(hidden === 0 ? [] : [`and ${hidden} more, which --json shows`]),
    ],
    exitCode: verdict.ok ? 0 : 1,
  }
}

/** The heads that the file of heads has of this service. */
function keptHeads(context: ServiceContext): AuditHeadStore | undefined {
  const path = headsFileOf(context)
  return path === undefined ? undefined : openHeadsFile(path, serviceUrl(context))
}

/** Where the events are that the export does not have. */
function archivedLine({ archived }: AuditVerdict, audit: AuditExport): string {
  const numbers = (audit.archived?.archives ?? []).map(({ archive }) => archive).join(', ')
  return `${archived} events are in archives of the operator (${numbers}), and were not checked: add --archive`
}

/** The events of a wallet in archives. A file that is missing, cut off or changed is refused before anything is verified. */
async function readArchives(given: readonly string[], audit: AuditExport): Promise<AuditEvent[]> {
  // A file may hold any JSON; the verifier refuses what is no export.
  const { walletAddress, network }: Partial<AuditExport> = audit ?? {}
  const events: AuditEvent[] = []
  for (const path of given.flatMap(archivesIn)) {
    let isOther = false
    await archiveFiles
      .read(path, ({ kind, text }, header) => {
        isOther ||= header.network !== network
        if (kind !== 'event' || !text.includes(String(walletAddress))) return
        const { event, action } = JSON.parse(text) as ArchivedEvent
        if (event.wallet_address !== walletAddress) return
        const previous = events.at(-1)?.sequence ?? 0
        if (event.sequence > previous + 1)
          throw new CommandError(
            'ARCHIVE_MISSING',
            `${path} goes on with event ${event.sequence}: the archive with event ${previous + 1} is missing, or comes later`,
          )
        if (event.sequence <= previous) return
        events.push({
          sequence: event.sequence,
          body: event.body,
          hash: event.hash.slice(2),
          ...(action !== null && {
            message: action.message,
            signature: action.signature,
            publicKey: action.public_key,
          }),
        })
      })
      .catch((error: unknown) => {
        if (!(error instanceof Error && 'kind' in error)) throw error
        throw new CommandError(`ARCHIVE_${String(error.kind).toUpperCase()}`, error.message)
      })
    if (isOther) throw new CommandError('ARCHIVE_OTHER', `${path} is of another network`)
  }
  return events
}

/** An event as an archive has it: rows of the database. */
interface ArchivedEvent {
  event: { wallet_address: string; sequence: number; body: string; hash: string }
  action: { message: string; signature: string; public_key: string } | null
}

/** A file may hold any JSON: what the verifier cannot even read is refused in a sentence. */
async function verify(
  path: string,
  audit: AuditExport,
  {
    older,
    archived,
    heads,
  }: {
    older: AuditExport | undefined
    archived: readonly AuditEvent[]
    heads: AuditHeadStore | undefined
  },
): Promise<AuditVerdict> {
  try {
    return verifyAudit(audit, { older, archived, head: await heads?.get(audit.walletAddress) })
  } catch (error) {
    if (error instanceof LatchkeyError) throw error
    throw new UsageError(
      `${path}${older === undefined ? '' : ', or the older export,'} is no export of an audit: it has members that none has (${(error as Error).name})`,
    )
  }
}
