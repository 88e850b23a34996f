import { outputOf, type RunAct } from './acts.ts'
import { type CliCommand, commaList } from './command.ts'
import { keyValues, table } from './layout.ts'

/** Adds the commands about the operator's own webhooks, which are told of every wallet. */
export function addOperatorWebhookCommands(program: CliCommand, run: RunAct): void {
  const webhooks = program
    .command('webhooks')
    .summary('where the operator is told of every wallet')
    .description(
      'Webhooks of the operator, which are told of every wallet, and of heads of audits.',
    )
  webhooks
    .command('add')
    .requiredOption('--to <address>', 'where notices are sent')
    .requiredOption('--events <types>', 'types of notices, separated by commas, or *', commaList)
    .option('--label <text>', 'a note')
    .summary('make a webhook; its secret is shown this once')
    .example('latchkey-admin webhooks add --to https://ops.example/hook --events audit.head')
    .runs<{ to: string; events: string[]; label?: string }>(
      run(async (perform, { to, events, label }) => {
        const made = await outputOf(perform, 'addWebhook', {
          url: to,
          events,
          ...(label !== undefined && { label }),
        })
        const { webhookId, secret, url } = made
        const shown = `${secret}   (shown this once)`
        return { json: made, lines: keyValues({ webhookId, secret: shown, url }) }
      }),
    )
  webhooks
    .command('list')
    .summary('list them, and how their deliveries fare')
    .example('latchkey-admin webhooks list')
    .runs(
      run(async (perform) => {
        const found = await outputOf(perform, 'webhooks', {})
        const rows = found.map(
          ({ webhookId, status, waiting, dead, url, events, lastFailure }) => ({
            ...{ webhookId, status, waiting, dead, url },
            ...{ events: events.join(','), lastFailure },
          }),
        )
        return { json: found, lines: rows.length === 0 ? ['No webhooks.'] : table(rows) }
      }),
    )
  webhooks
    .command('remove')
    .requiredOption('--webhook <id>', 'as webhooks list shows it')
    .summary('delete one, and what it still had to receive')
    .example('latchkey-admin webhooks remove --webhook wh_1a2b3c')
    .runs<{ webhook: string }>(
      run(async (perform, { webhook }) => {
        await outputOf(perform, 'removeWebhook', { webhookId: webhook })
        return { json: { removed: webhook }, lines: [`${webhook} is removed.`] }
      }),
    )
  webhooks
    .command('replay')
    .requiredOption('--webhook <id>', 'as webhooks list shows it')
    .summary('enable one again, and send what was given up')
    .example('latchkey-admin webhooks replay --webhook wh_1a2b3c')
    .runs<{ webhook: string }>(
      run(async (perform, { webhook }) => {
        const { queued } = await outputOf(perform, 'replayWebhook', { webhookId: webhook })
        return { json: { queued }, lines: [`${queued} deliveries are sent next.`] }
      }),
    )
}
