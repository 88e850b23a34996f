import { LatchkeyError } from '../client/index.ts'
import {
  type CliCommand,
  type CommandContext,
  type CommandResult,
  PrintRequest,
  type Terminal,
} from './command.ts'
import { CommandError, UsageError } from './errors.ts'
import { paint } from './layout.ts'
import { type Line, OutputError } from './output.ts'

const REFUSED = 1
const USAGE = 2
const UNREACHABLE = 3

/** Errors of the SDK that are not the service's refusal. */
const EXIT_CODES: Readonly<Record<string, number>> = {
  INVALID_ARGUMENT: USAGE,
  SIGNER_MISSING: USAGE,
  SIGNING_FAILED: USAGE,
  WRONG_NETWORK: USAGE,
  WRONG_DOMAIN: USAGE,
  WRONG_ROUTER: USAGE,
  CLOCK_SKEW: USAGE,
  UNREACHABLE,
  TIMEOUT: UNREACHABLE,
  BAD_RESPONSE: UNREACHABLE,
}

/** A failure as it is printed: the members of the JSON document, the lines for people, the exit code. */
export interface Failure {
  json: object
  lines: readonly Line[]
  exitCode: number
}

/**
 * Runs one command line and returns its exit code. The result goes to stdout, a failure to stderr; with `--json` each is one
 * document. `explain` names the failures that the program knows beside its own.
 */
export async function runProgram(
  program: CliCommand,
  terminal: Terminal,
  explain: (error: unknown) => Failure | undefined = explainError,
): Promise<number> {
  const isJson = terminal.args.includes('--json')
  const notes: string[] = []
  const note = async (text: string) => {
    if (notes.includes(text)) return
    notes.push(text)
    if (!isJson) await terminal.err.print([text])
  }
  try {
    const exitCode = await execute(program, terminal, note, isJson)
    if (isJson && notes.length > 0) await terminal.err.printJson({ notes })
    return exitCode
  } catch (error) {
    if (error instanceof OutputError && error.isReaderGone) return 0
    const { json, lines, exitCode } = explain(error) ?? explainUnexpected(error, terminal)
    if (isJson) await terminal.err.printJson(notes.length > 0 ? { ...json, notes } : json)
    else await terminal.err.print(lines)
    return exitCode
  }
}

async function execute(
  program: CliCommand,
  terminal: Terminal,
  note: CommandContext['note'],
  isJson: boolean,
): Promise<number> {
  refuseSecrets(terminal.args)
  const parsed = parseLine(program, terminal.args)
  const result =
    'printed' in parsed ? parsed.printed : await handle(parsed.command, { terminal, note })
  const { json, lines, exitCode = 0, isPrinted = false, whenLost } = result
  if (isPrinted) return exitCode
  try {
    if (isJson || lines === undefined) await terminal.out.printJson(json)
    else await terminal.out.print(lines)
  } catch (error) {
    if (!(error instanceof OutputError)) throw error
    if (whenLost !== undefined) throw await whenLost(error)
    if (!error.isReaderGone) throw error
  }
  return exitCode
}

async function handle(
  command: CliCommand,
  given: Pick<CommandContext, 'terminal' | 'note'>,
): Promise<CommandResult> {
  if (command.handler === undefined) throw new Error(`${command.path()} has no handler`)
  return command.handler({ ...given, args: command.args, options: command.optsWithGlobals() })
}

/** Finds the command that a line names, or what to print in its place. Throws a `UsageError`. */
export function parseLine(
  program: CliCommand,
  args: readonly string[],
): { command: CliCommand } | { printed: CommandResult } {
  let chosen = program
  program.hook('preAction', (_, command) => {
    chosen = command as CliCommand
  })
  try {
    program.parse([...args], { from: 'user' })
    if (chosen.name() === 'help') program.parse([...chosen.args, '--help'], { from: 'user' })
    return { command: chosen }
  } catch (error) {
    if (error instanceof PrintRequest) return { printed: error.result }
    throw error
  }
}

const SECRET_OPTION = /^--?(private-?key|api-?key|session|secret|mnemonic|seed)(=|$)/i
const SECRET_TEXT = /(^|=)((0x)?[0-9a-f]{64}(01)?|c[ks]_([a-z]+_)?[0-9A-Za-z]{20,})$/i

/** The id of a transaction is public, and as long as a private key without its suffix. */
const TXID = /^(0x)?[0-9a-f]{64}$/i

/** Other processes of the machine read arguments, and shells keep them. The refusal repeats nothing of them. */
function refuseSecrets(args: readonly string[]): void {
  const named = args.filter((arg, at) => !(args[at - 1] === '--txid' && TXID.test(arg)))
  if (!named.some((arg) => SECRET_OPTION.test(arg) || SECRET_TEXT.test(arg))) return
  throw new UsageError(
    'A secret is never an argument: other processes see it, and the shell keeps it. Put a private key into LATCHKEY_PRIVATE_KEY or a file for --key-file, an API key into LATCHKEY_API_KEY or a file for --api-key-file. If this one was real, replace it',
  )
}

/** Explains the failures that the command line and the SDK know. */
export function explainError(error: unknown): Failure | undefined {
  if (error instanceof CommandError) {
    const { code, message, details, exitCode } = error
    const end = /[.?!]$/.test(message) ? '' : '.'
    return { json: { code, message, details }, lines: [[paint('red', message + end)]], exitCode }
  }
  if (!(error instanceof LatchkeyError)) return undefined
  const { code, message, status, details, requestId, retryAfterSeconds } = error
  return {
    json: { code, message, status, details, requestId, retryAfterSeconds },
    lines: [
      [paint('red', code), `: ${message}`],
      ...(details === undefined ? [] : [[paint('dim', JSON.stringify(details))]]),
      ...(requestId === undefined ? [] : [[paint('dim', `request ${requestId}`)]]),
    ],
    exitCode: EXIT_CODES[code] ?? REFUSED,
  }
}

/** A bug, or a response of a shape that no service has. Its stack is for who looks for the bug. */
function explainUnexpected(error: unknown, { env }: Terminal): Failure {
  const { name, message, stack } = error instanceof Error ? error : new Error(String(error))
  const sentence = `Unexpected ${name}: ${message}. LATCHKEY_DEBUG=1 shows where`
  const lines = env.LATCHKEY_DEBUG === '1' ? (stack ?? sentence).split('\n') : [`${sentence}.`]
  return { json: { code: 'UNEXPECTED', message: sentence }, lines, exitCode: REFUSED }
}
