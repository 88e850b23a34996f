import { Option } from 'commander'
import { type CliCommand, type CommandResult, wholeNumber } from '../command.ts'
import { openClient, type ServiceContext } from '../connect.ts'

interface WatchSettings {
  after?: string
  transport?: 'sse' | 'websocket'
  count?: number
}

export function addWatchCommand(program: CliCommand): void {
  program
    .command('watch')
    .option('--after <id>', 'go on behind the event with this id, which is at most a day old')
    .addOption(
      new Option('--transport <transport>', 'how the events come').choices(['sse', 'websocket']),
    )
    .addOption(
      new Option('--count <number>', 'end after so many events').argParser(
        wholeNumber(1, 999_999_999),
      ),
    )
    .summary('follow every change of the orders and keys of the wallet, as lines of JSON')
    .example('latchkey watch --api-key-file bot.key')
    .runs(watch)
}

/** Prints each event as it comes: a document for each line, also without `--json`. */
async function watch(context: ServiceContext<WatchSettings>): Promise<CommandResult> {
  const { terminal, options } = context
  const { after, transport, count = Number.POSITIVE_INFINITY } = options
  const client = await openClient(context)
  let printed = 0
  for await (const event of client.events({ after, transport })) {
    await terminal.out.print([JSON.stringify(event)])
    if (++printed >= count) break
  }
  return { json: undefined, isPrinted: true }
}
