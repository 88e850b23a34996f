import { Option } from 'commander'
import type { Webhook } from '../../client/index.ts'
import { type CliCommand, type CommandResult, commaList, wholeNumber } from '../command.ts'
import { addConfirmation, type ConfirmOptions, confirm } from '../confirm.ts'
import { openClient, type ServiceContext } from '../connect.ts'
import { CommandError } from '../errors.ts'
import { keyValues, table } from '../layout.ts'
import { addSaveOption, handOver, type SaveOptions } from '../one-time-secret.ts'

const DAY_SECONDS = 86_400

interface HookOptions {
  hookUrl?: string
  events?: string[]
  label?: string
  enable?: boolean
}

export function addWebhookCommands(program: CliCommand): void {
  const webhooks = program
    .command('webhooks')
    .summary('where a server is told of keys and orders')
    .description(
      'Webhooks of the wallet. Its server is told of what happens to keys and orders; the wallet signs every change.',
    )

  addSaveOption(addHookOptions(webhooks.command('create').argument('<address>', 'https://..')))
    .summary('create a webhook; its secret is shown this once')
    .example(
      'latchkey webhooks create https://bot.example/latchkey --events key.leaked,order.failed --save hook.secret',
    )
    .runs(createHook)

  webhooks
    .command('list')
    .summary('list the webhooks, and how their deliveries fare')
    .example('latchkey webhooks list')
    .runs(async (context) => {
      const found = await (await openClient(context)).webhooks.list()
      return { json: found, lines: table(found.map(rowOf)) }
    })

  addHookOptions(withWebhookId(webhooks.command('update')))
    .option('--hook-url <address>', 'where it leads from now on')
    .option('--enable', 'send again what was disabled')
    .summary('change a webhook, or enable it again')
    .example('latchkey webhooks update wh_1a2b3c --enable')
    .runs(updateHook)

  addSaveOption(withWebhookId(webhooks.command('rotate')))
    .addOption(
      new Option('--overlap-seconds <number>', 'how long the old secret signs as well')
        .argParser(wholeNumber(0, 7 * DAY_SECONDS))
        .default(DAY_SECONDS),
    )
    .summary('give a webhook a new secret; both sign for a while')
    .example('latchkey webhooks rotate wh_1a2b3c --save hook.secret.new')
    .runs(rotateHook)

  addConfirmation(withWebhookId(webhooks.command('delete')))
    .summary('delete a webhook, and what it still had to receive')
    .example('latchkey webhooks delete wh_1a2b3c --yes')
    .runs(deleteHook)

  withWebhookId(webhooks.command('test'))
    .summary('send a webhook.test to a webhook')
    .example('latchkey webhooks test wh_1a2b3c')
    .runs(async (context) => {
      await (await openClient(context)).webhooks.test(idOf(context))
      return { json: { queued: 1 }, lines: ['A webhook.test is sent next.'] }
    })

  withWebhookId(webhooks.command('dead'))
    .summary('list the newest deliveries that were given up')
    .example('latchkey webhooks dead wh_1a2b3c')
    .runs(async (context) => {
      const found = await (await openClient(context)).webhooks.deliveries(idOf(context))
      return { json: found, lines: table(found.map((one) => ({ ...one }))) }
    })

  withWebhookId(webhooks.command('replay'))
    .option('--notice <id>', 'only this one, as msg_123abc')
    .summary('send again what was given up')
    .example('latchkey webhooks replay wh_1a2b3c')
    .runs(replayHook)
}

function addHookOptions(command: CliCommand): CliCommand {
  return command
    .option('--events <types>', 'types of notices, separated by commas; all without', commaList)
    .option('--label <text>', 'a note for its owner')
}

function withWebhookId(command: CliCommand): CliCommand {
  return command.argument('<webhook-id>', 'as wh_123abc, from webhooks list')
}

function idOf({ args: [webhookId = ''] }: ServiceContext): string {
  return webhookId
}

function rowOf({ webhookId, url, events, status, waiting, dead, lastFailure }: Webhook) {
  return { webhookId, status, waiting, dead, url, events: events.join(','), lastFailure }
}

function givenOf({ events, label }: HookOptions) {
  return { ...(events !== undefined && { events }), ...(label !== undefined && { label }) }
}

async function createHook(
  context: ServiceContext<HookOptions & SaveOptions>,
): Promise<CommandResult> {
  const client = await openClient(context)
  const [url = ''] = context.args
  const { made, savedTo, whenLost } = await handOver(context, {
    make: () => client.webhooks.create({ url, ...givenOf(context.options) }),
    secretOf: ({ secret }) => secret,
    async withdraw({ webhookId }, reason) {
      const isDeleted = await client.webhooks.delete(webhookId).then(
        () => true,
        () => false,
      )
      const end = isDeleted ? 'It was deleted at once' : `Delete ${webhookId}`
      return new CommandError('SECRET_LOST', `The secret was not handed over (${reason}). ${end}`)
    },
  })
  return secretResult(made, savedTo, whenLost)
}

async function rotateHook(
  context: ServiceContext<{ overlapSeconds: number } & SaveOptions>,
): Promise<CommandResult> {
  const client = await openClient(context)
  const { made, savedTo, whenLost } = await handOver(context, {
    make: () => client.webhooks.rotateSecret(idOf(context), context.options.overlapSeconds),
    secretOf: ({ secret }) => secret,
    async withdraw({ webhookId }, reason) {
      const again = `Rotate ${webhookId} again`
      return new CommandError('SECRET_LOST', `The secret was not handed over (${reason}). ${again}`)
    },
  })
  return secretResult(made, savedTo, whenLost)
}

function secretResult(
  { secret, ...webhook }: Webhook & { secret: string },
  savedTo: string | undefined,
  whenLost: CommandResult['whenLost'],
): CommandResult {
  return {
    json: savedTo === undefined ? { secret, ...webhook } : { ...webhook, savedTo },
    lines: keyValues({
      secret: savedTo === undefined ? `${secret}   (shown this once)` : `saved to ${savedTo}`,
      ...rowOf(webhook),
    }),
    ...(whenLost !== undefined && { whenLost }),
  }
}

async function updateHook(context: ServiceContext<HookOptions>): Promise<CommandResult> {
  const { hookUrl, enable } = context.options
  const changed = await (await openClient(context)).webhooks.update(idOf(context), {
    ...givenOf(context.options),
    ...(hookUrl !== undefined && { url: hookUrl }),
    ...(enable === true && { enabled: true as const }),
  })
  return { json: changed, lines: keyValues(rowOf(changed)) }
}

async function deleteHook(context: ServiceContext<ConfirmOptions>): Promise<CommandResult> {
  const webhookId = idOf(context)
  await confirm(context, `deletes ${webhookId}`, async () => `${webhookId} gets nothing any more.`)
  await (await openClient(context)).webhooks.delete(webhookId)
  return { json: { deleted: webhookId }, lines: [`${webhookId} is deleted.`] }
}

async function replayHook(context: ServiceContext<{ notice?: string }>): Promise<CommandResult> {
  const client = await openClient(context)
  const queued = await client.webhooks.replay(idOf(context), context.options.notice)
  return { json: { queued }, lines: [`${queued} deliveries are sent next.`] }
}
