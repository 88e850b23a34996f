import type { CliCommand, CommandContext, CommandResult } from './command.ts'
import { type CommandError, UsageError } from './errors.ts'
import { saveNew } from './files.ts'

export interface SaveOptions {
  save?: string
}

export function addSaveOption(command: CliCommand): CliCommand {
  return command.option(
    '--save <file>',
    'write the secret to this new file (0600), and do not show it',
  )
}

interface OneTimeSecret<Made> {
  /** Obtains the secret from the service, which shows it this once. */
  make(): Promise<Made>
  secretOf(made: Made): string
  /** Ends a secret that reached no one, so that it is not left valid; resolves to the error that says so. */
  withdraw(made: Made, reason: string): Promise<CommandError>
}

interface HandedOver<Made> extends Pick<CommandResult, 'whenLost'> {
  made: Made
  /** The file that holds the secret; undefined when the result has to show it. */
  savedTo?: string
}

/** Obtains a secret for a file or for standard output. One that reaches neither is withdrawn. */
export async function handOver<Made>(
  { terminal, options }: CommandContext<SaveOptions>,
  { make, secretOf, withdraw }: OneTimeSecret<Made>,
): Promise<HandedOver<Made>> {
  const { save } = options
  if (save !== undefined)
    return { made: await saveNew(save, make, secretOf, withdraw), savedTo: save }
  if (terminal.out.isDiscarded)
    throw new UsageError(
      'The secret would be lost, for standard output is closed or the null device: name a file with --save FILE',
    )
  const made = await make()
  return { made, whenLost: ({ reason }) => withdraw(made, reason) }
}
