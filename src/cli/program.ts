import { Argument } from 'commander'
import { VERSION } from '../version.ts'
import { CliCommand, PrintRequest } from './command.ts'
import { addAuditCommands } from './commands/audit.ts'
import { addInfoCommands } from './commands/info.ts'
import { addKeyCommands } from './commands/keys.ts'
import { addOrderCommands } from './commands/orders.ts'
import { addRotateCommand } from './commands/rotate.ts'
import { addScanCommand } from './commands/scan.ts'
import { addSessionCommands } from './commands/sessions.ts'
import { addWalletCommands } from './commands/wallet.ts'
import { addWatchCommand } from './commands/watch.ts'
import { addWebhookCommands } from './commands/webhooks.ts'
import { completionScript, SHELLS, type Shell } from './completion.ts'
import { addServiceOptions } from './connect.ts'

const HELP_COLUMNS = 100

/** The whole command line of `latchkey`. */
export function createProgram(columns = HELP_COLUMNS): CliCommand {
  const program = addServiceOptions(openProgram('latchkey', columns))
    .description('API keys that a Stacks wallet grants, and orders that they execute.')
    .example('latchkey help keys create')
    .example('latchkey demo')
    .closing(
      'Exit codes: 0 done, 1 refused by the service, 2 the command line is wrong, 3 the service cannot be reached.',
    )
  addKeyCommands(program)
  addRotateCommand(program)
  addOrderCommands(program)
  addWalletCommands(program)
  addSessionCommands(program)
  addWebhookCommands(program)
  addAuditCommands(program)
  addInfoCommands(program)
  addWatchCommand(program)
  addScanCommand(program)
  program
    .command('completion')
    .addArgument(new Argument('<shell>').choices(SHELLS))
    .summary('print a script that completes command lines in a shell')
    .example('latchkey completion bash')
    .runs(async ({ args }) => {
      const script = completionScript(program, args[0] as Shell)
      return { json: { script }, lines: script.split('\n') }
    })
  addHelpCommand(program)
  return program
}

/** An empty program with the options that every program has. */
export function openProgram(name: string, columns = HELP_COLUMNS): CliCommand {
  return new CliCommand(name)
    .configureHelp({ helpWidth: Math.min(columns, HELP_COLUMNS) })
    .helpOption('-h, --help', 'show the help of a command')
    .helpCommand(false)
    .option('--version', 'show the version')
    .on('option:version', () => {
      throw new PrintRequest('version', VERSION)
    })
}

/** Adds `help`, which `parseLine` turns into the option `--help` of the named command. */
export function addHelpCommand(program: CliCommand): void {
  program
    .command('help')
    .argument('[command...]')
    .summary('show this, or the help of a command')
    .example(`${program.name()} help`)
    .action(() => {})
}
