import {
  type AuditExport,
  type AuditHeadStore,
  type AuditVerdict,
  LatchkeyError,
  verifyAudit,
} from '../../client/index.ts'
import { openHeadsFile } from '../audit-heads.ts'
import type { CliCommand, CommandResult } from '../command.ts'
import { headsFileOf, openClient, type ServiceContext, serviceUrl } from '../connect.ts'
import { UsageError } from '../errors.ts'
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

async function checkExport(context: ServiceContext<{ older?: string }>): Promise<CommandResult> {
  const { args, options } = context
  const path = args[0] ?? ''
  const audit = readJson(path) as AuditExport
  const older = options.older === undefined ? undefined : (readJson(options.older) as AuditExport)
  const heads = keptHeads(context)
  const verdict = await verify(path, audit, older, heads)
  const { faults, vouched, ...counts } = verdict
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
        faults: faults.length,
      }),
      ...(rows.length === 0 ? [] : table(rows)),
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

/** A file may hold any JSON: what the verifier cannot even read is refused in a sentence. */
async function verify(
  path: string,
  audit: AuditExport,
  older: AuditExport | undefined,
  heads: AuditHeadStore | undefined,
): Promise<AuditVerdict> {
  try {
    return verifyAudit(audit, { older, head: await heads?.get(audit.walletAddress) })
  } catch (error) {
    if (error instanceof LatchkeyError) throw error
    throw new UsageError(
      `${path}${older === undefined ? '' : ', or the older export,'} is no export of an audit: it has members that none has (${(error as Error).name})`,
    )
  }
}
