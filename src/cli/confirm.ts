import type { CliCommand, CommandContext } from './command.ts'
import { UsageError } from './errors.ts'

export interface ConfirmOptions {
  yes?: boolean
}

/** Declares that a command cannot be undone: it then calls `confirm` before it acts. */
export function addConfirmation(command: CliCommand): CliCommand {
  return command.option('--yes', 'do not ask; needed where there is no terminal to ask on')
}

/**
 * Asks before a command does what cannot be undone. `consequence` names it; it is read only where there is a person to read it.
 * With `--json` nothing is asked: stderr is one document then. Throws a `UsageError` unless the answer is yes.
 */
export async function confirm(
  { terminal, options }: CommandContext<ConfirmOptions>,
  what: string,
  consequence: () => Promise<string>,
): Promise<void> {
  if (options.yes === true) return
  if (terminal.ask === undefined || options.json === true)
    throw new UsageError(
      `This ${what}, which cannot be undone: add --yes to do it without being asked`,
    )
  await terminal.err.print([await consequence()])
  const answer = await terminal.ask('Go on? [y/N] ')
  if (!/^\s*y(es)?\s*$/i.test(answer)) throw new UsageError('Not confirmed: nothing was done')
}
