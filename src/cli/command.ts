import { type Argument, Command, Help, InvalidArgumentError } from 'commander'
import type { Fetch } from '../client/index.ts'
import { type CommandError, UsageError } from './errors.ts'
import type { Line, Output, OutputError } from './output.ts'

/** What a process is started with, and the streams that it has. */
export interface Terminal {
  args: readonly string[]
  env: Record<string, string | undefined>
  out: Output
  err: Output
  /** Asks the person at the terminal for a line; absent where there is none. */
  ask?: ((question: string) => Promise<string>) | undefined
  /** In place of the network, for tests. */
  fetch?: Fetch
}

/** A parsed command line, as the handler of its command gets it. */
export interface CommandContext<Options = object> {
  terminal: Terminal
  args: readonly string[]
  options: Options & { json?: boolean }
  /** Says something beside the result: a line on stderr, or a member of the JSON document there. */
  note(text: string): Promise<void>
}

/** The result of a command. Without `lines`, people get the JSON too. */
export interface CommandResult {
  json: unknown
  lines?: readonly Line[]
  exitCode?: number
  /** Whether the command has printed its result itself, line by line. */
  isPrinted?: boolean
  /** Makes up for a result that could not be printed; the error that it resolves to is reported. */
  whenLost?: (error: OutputError) => Promise<CommandError>
}

type Handler<Options> = (context: CommandContext<Options>) => Promise<CommandResult>

/** Thrown by the parser in place of printing help or the version: the caller decides where it goes. */
export class PrintRequest extends Error {
  readonly result: CommandResult

  constructor(name: string, text: string) {
    super()
    this.result = { json: { [name]: text }, lines: text.split('\n') }
  }
}

/** A command with examples and a handler. Its errors are thrown, and nothing is printed while a line is parsed. */
export class CliCommand extends Command {
  readonly examples: string[] = []
  handler: Handler<object> | undefined
  #closing: string | undefined

  override createCommand(name?: string): CliCommand {
    return new CliCommand(name)
  }

  override createHelp(): Help {
    return Object.assign(new CliHelp(), this.configureHelp())
  }

  /** Adds a whole command line that works as it is written. */
  example(line: string): this {
    this.examples.push(line)
    return this
  }

  /** Sets the last line of the help. */
  closing(line: string): this {
    this.#closing = line
    return this
  }

  /** Sets the handler. `Options` are the command's own and its parents', as they were declared. */
  runs<Options extends object>(handler: Handler<Options>): this {
    this.handler = handler as Handler<object>
    return this.action(() => {})
  }

  /** The names that lead here, as `latchkey keys create`. */
  path(): string {
    const parent = this.parent as CliCommand | null
    return parent === null ? this.name() : `${parent.path()} ${this.name()}`
  }

  /** Every command below that does something. */
  leaves(): CliCommand[] {
    return (this.commands as CliCommand[]).flatMap((command) =>
      command.commands.length === 0 ? [command] : command.leaves(),
    )
  }

  override helpInformation(): string {
    const program = this.path().split(' ', 1)
    const closing = this.#closing ?? `Options of every command: ${program} --help`
    const examples = this.examples.map((line) => `  ${line}`)
    return [
      super.helpInformation().trimEnd(),
      ...(examples.length === 0 ? [] : [`Examples:\n${examples.join('\n')}`]),
      closing,
    ].join('\n\n')
  }

  override outputHelp(): never {
    // `keyz --help` reaches the group above with the unknown name in its arguments; alone, that name is an error. `keys help` arrives
    // here with its own word as the first one.
    const [name = '-'] = this.args[0] === 'help' ? this.args.slice(1) : this.args
    if (this.commands.length > 0 && !name.startsWith('-')) this.parse([name], { from: 'user' })
    throw new PrintRequest('help', this.helpInformation())
  }

  override error(message: string): never {
    throw new UsageError(`${sentence(message)} See ${this.path()} --help`)
  }
}

/** Help that lists whole command lines: of a group, and of all groups at the top. */
class CliHelp extends Help {
  #isPrinted = false

  override prepareContext(context: Parameters<Help['prepareContext']>[0]): void {
    super.prepareContext(context)
    this.#isPrinted = true
  }

  /** Suggestions for a mistyped name ask the same, and want the names at this level. */
  override visibleCommands(command: CliCommand): CliCommand[] {
    return this.#isPrinted ? command.leaves() : (super.visibleCommands(command) as CliCommand[])
  }

  override commandDescription(command: CliCommand): string {
    const summary = command.summary()
    return command.description() || `${summary.charAt(0).toUpperCase()}${summary.slice(1)}.`
  }

  override subcommandTerm(command: CliCommand): string {
    const [, ...names] = command.path().split(' ')
    const given = command.registeredArguments.map(argumentTerm)
    return [...names, ...given].join(' ')
  }
}

function argumentTerm(argument: Argument): string {
  const name = `${argument.name()}${argument.variadic ? '...' : ''}`
  return argument.required ? `<${name}>` : `[${name}]`
}

/** Commander writes `error: unknown command 'kesy'` and, on a line of its own, `(Did you mean keys?)`. */
function sentence(message: string): string {
  const [first = '', suggestion] = message.replace(/^error: /, '').split('\n')
  const start = `${first.charAt(0).toUpperCase()}${first.slice(1).replace(/\.$/, '')}.`
  return suggestion === undefined ? start : `${start} ${suggestion.slice(1, -1)}`
}

/** Reads the value of an option that is a whole number in a range. */
export function wholeNumber(min: number, max: number): (value: string) => number {
  return (value) => {
    const number = Number(value)
    if (/^[0-9]{1,15}$/.test(value) && number >= min && number <= max) return number
    throw new InvalidArgumentError(`It is a whole number from ${min} to ${max}.`)
  }
}

/** Reads the value of an option that is a list separated by commas. */
export function commaList(value: string): string[] {
  return value
    .split(',')
    .map((part) => part.trim())
    .filter((part) => part !== '')
}
