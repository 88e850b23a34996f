import { Option } from 'commander'
import { type CliCommand, type CommandResult, wholeNumber } from '../command.ts'
import { clientWith, openClient, readSecret, type ServiceContext } from '../connect.ts'
import { CommandError, UsageError } from '../errors.ts'
import { keyValues } from '../layout.ts'
import { addSaveOption, handOver, type SaveOptions } from '../one-time-secret.ts'

export function addSessionCommands(program: CliCommand): void {
  const sessions = program
    .command('sessions')
    .summary('read-only access without the private key')
    .description(
      'Sessions. The wallet signs once; until its end a session lists keys, orders and the audit, and changes nothing.',
    )

  addSaveOption(sessions.command('open'))
    .addOption(
      new Option('--ttl-seconds <number>', 'how long it lasts')
        .argParser(wholeNumber(1, 3_600))
        .default(3_600),
    )
    .summary('open a session; its secret is shown this once')
    .example('latchkey sessions open --ttl-seconds 900 --save session.txt')
    .runs(openSession)

  sessions
    .command('end')
    .summary('end the session of --session-file')
    .example('latchkey sessions end --session-file session.txt')
    .runs(endSession)
}

async function openSession(
  context: ServiceContext<{ ttlSeconds: number } & SaveOptions>,
): Promise<CommandResult> {
  const client = await openClient(context)
  const { made, savedTo, whenLost } = await handOver(context, {
    make: () => client.sessions.open(context.options.ttlSeconds),
    secretOf: ({ session }) => session,
    async withdraw({ session, expiresAt }, reason) {
      const hasEnded = await clientWith(context, { session })
        .sessions.end()
        .then(
          () => true,
          () => false,
        )
      const end = hasEnded ? 'It was ended at once' : `It ends by itself at ${expiresAt}`
      return new CommandError('SECRET_LOST', `The session was not handed over (${reason}). ${end}`)
    },
  })
  const { session, status: _, ...opened } = made
  return {
    json: savedTo === undefined ? { session, ...opened } : { ...opened, savedTo },
    lines: keyValues({
      session: savedTo === undefined ? `${session}   (shown this once)` : `saved to ${savedTo}`,
      ...opened,
    }),
    ...(whenLost !== undefined && { whenLost }),
  }
}

async function endSession(context: ServiceContext): Promise<CommandResult> {
  if ((await readSecret(context, 'session')) === undefined)
    throw new UsageError('There is no session to end: name it with --session-file')
  await (await openClient(context)).sessions.end()
  return { json: { ended: true }, lines: ['The session has ended.'] }
}
