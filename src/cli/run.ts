import { parseArgs } from 'node:util'
import { LatchkeyError } from '../client/index.ts'
import { VERSION } from '../version.ts'
import { COMMANDS, type Command } from './commands.ts'
import { COMMON_OPTIONS, type CommandContext } from './session.ts'
import { clean, paint, type Terminal, UsageError } from './terminal.ts'

const REFUSED = 1
const USAGE = 2
const UNREACHABLE = 3

/** The codes that are not the service's refusal. */
const EXIT_CODES: Record<string, number> = {
  INVALID_ARGUMENT: USAGE,
  SIGNER_MISSING: USAGE,
  SIGNING_FAILED: USAGE,
  WRONG_NETWORK: USAGE,
  UNREACHABLE,
  TIMEOUT: UNREACHABLE,
  BAD_RESPONSE: UNREACHABLE,
}

/** Runs one command line; answers its exit code. */
export async function run(terminal: Terminal): Promise<number> {
  const isJson = terminal.args.includes('--json')
  try {
    refuseSecrets(terminal.args)
    return await dispatch(terminal)
  } catch (error) {
    if (!(error instanceof LatchkeyError) && !(error instanceof UsageError)) throw error
    terminal.err(isJson ? `${JSON.stringify(describe(error))}\n` : tell(terminal, error))
    return error instanceof UsageError ? USAGE : (EXIT_CODES[error.code] ?? REFUSED)
  }
}

async function dispatch(terminal: Terminal): Promise<number> {
  const { args } = terminal
  if (args[0] === '--version') return say(terminal, `${VERSION}\n`)
  const wanted = args[0] === 'help' ? args.slice(1) : args
  const name = Object.keys(COMMANDS).find(
    (name) => name === wanted.slice(0, name.split(' ').length).join(' '),
  )
  const command = name === undefined ? undefined : COMMANDS[name]
  if (name === undefined || command === undefined) {
    if (['--help', '-h', undefined].includes(wanted[0])) return say(terminal, help())
    throw new UsageError(
      `There is no command ${clean(wanted.slice(0, 2).join(' '))}; see latchkey help`,
    )
  }
  const rest = wanted.slice(name.split(' ').length)
  const session = parse(terminal, name, command, rest)
  if (args[0] === 'help' || session.options.help === true)
    return say(terminal, helpOf(name, command))

  const missing = command.args?.[session.args.length]
  if (missing !== undefined) throw new UsageError(`latchkey ${name} needs ${missing}`)
  const { json, text, exitCode = 0 } = await command.run(session)
  terminal.out(session.options.json === true ? `${JSON.stringify(json, null, 2)}\n` : text)
  return exitCode
}

function say(terminal: Terminal, text: string): number {
  terminal.out(text)
  return 0
}

function parse(terminal: Terminal, name: string, command: Command, args: string[]): CommandContext {
  const own = Object.entries(command.options ?? {}).map(([option, { type }]) => [option, { type }])
  try {
    const { values, positionals } = parseArgs({
      args,
      options: { ...COMMON_OPTIONS, ...Object.fromEntries(own) },
      allowPositionals: true,
    })
    if (positionals.length > (command.args?.length ?? 0))
      throw new UsageError(`latchkey ${name} takes ${command.args?.join(' ') ?? 'no argument'}`)
    return { terminal, args: positionals, options: values as CommandContext['options'] }
  } catch (error) {
    if (error instanceof TypeError)
      throw new UsageError(`${error.message}; see latchkey help ${name}`)
    throw error
  }
}

const SECRET_OPTION = /^--?(private-?key|api-?key|secret|mnemonic|seed)(=|$)/i
const SECRET_TEXT = /(^|=)((0x)?[0-9a-f]{64}(01)?|ck_[a-z]+_[0-9A-Za-z]{20,})$/i

/** Arguments are seen by every process of the machine, and kept by shells. Nothing of them is repeated. */
function refuseSecrets(args: string[]): void {
  if (!args.some((arg) => SECRET_OPTION.test(arg) || SECRET_TEXT.test(arg))) return
  throw new UsageError(
    'A secret is never an argument: other processes see it, and the shell keeps it. Put a private key into LATCHKEY_PRIVATE_KEY or a file for --key-file, an API key into LATCHKEY_API_KEY or a file for --api-key-file. If this one was real, replace it',
  )
}

function tell(terminal: Terminal, error: LatchkeyError | UsageError): string {
  if (error instanceof UsageError) return `${paint(terminal, 'red', error.message)}.\n`
  const { code, message, details, requestId } = error
  const lines = [`${paint(terminal, 'red', code)}: ${clean(message)}`]
  if (details !== undefined) lines.push(paint(terminal, 'dim', clean(JSON.stringify(details))))
  if (requestId !== undefined) lines.push(paint(terminal, 'dim', `request ${clean(requestId)}`))
  return `${lines.join('\n')}\n`
}

function describe(error: LatchkeyError | UsageError) {
  if (error instanceof UsageError) return { code: 'USAGE', message: error.message }
  const { code, message, status, details, requestId, retryAfterSeconds } = error
  return { code, message, status, details, requestId, retryAfterSeconds }
}

function help(): string {
  const width = Math.max(
    ...Object.entries(COMMANDS).map(([name, command]) => usage(name, command).length),
  )
  const commands = Object.entries(COMMANDS).map(
    ([name, command]) => `  ${usage(name, command).padEnd(width)}  ${command.summary}`,
  )
  return `latchkey: API keys that a Stacks wallet grants, and orders that they execute

${commands.join('\n')}
  ${'help [COMMAND]'.padEnd(width)}  Show this, or the options of a command
  ${'--version'.padEnd(width)}  Show the version

With every command:
  --url URL             the service; or LATCHKEY_URL; by default http://127.0.0.1:8787
  --key-file PATH       a file with the wallet's private key; or the key in LATCHKEY_PRIVATE_KEY
  --api-key-file PATH   a file with an API key; or the key in LATCHKEY_API_KEY
  --network NETWORK     sign for this network only; by default for the one that the service is on
  --allow-insecure      allow http:// to another machine
  --json                print one JSON document; an error is one too, on stderr

Exit codes: 0 done, 1 refused by the service, 2 the command line is wrong, 3 the service cannot be reached.
`
}

function helpOf(name: string, command: Command): string {
  const options = Object.entries(command.options ?? {})
  const flag = ([option, { type }]: (typeof options)[number]) =>
    type === 'boolean' ? `--${option}` : `--${option} VALUE`
  const width = Math.max(0, ...options.map((option) => flag(option).length))
  const lines = options.map((option) => `  ${flag(option).padEnd(width)}  ${option[1].help}`)
  return `latchkey ${usage(name, command)}${lines.length > 0 ? ' [options]' : ''}\n\n${command.summary}.\n${
    lines.length > 0 ? `\n${lines.join('\n')}\n` : ''
  }\nOptions of every command: latchkey help\n`
}

function usage(name: string, { args = [] }: Command): string {
  return [name, ...args].join(' ')
}
