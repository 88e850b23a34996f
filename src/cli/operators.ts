import { Option } from 'commander'
import { toHex } from '../crypto/bytes.ts'
import { readConfig } from '../env.ts'
import { withOperatorKeys } from '../node/operator-keys.ts'
import type { ActOutput, Perform } from '../operator/acts.ts'
import { signTransfer } from '../settlement/transfer.ts'
import { addressOf } from '../stacks/sign.ts'
import { outputOf, type RunAct } from './acts.ts'
import { type CliCommand, type CommandContext, type CommandResult, wholeNumber } from './command.ts'
import { newPrivateKey, readSecret } from './connect.ts'
import { CommandError, UsageError } from './errors.ts'
import { saveNew } from './files.ts'
import { keyValues, table } from './layout.ts'

/** More STX than there will be. */
const MAX_MICRO_STX = 2_000_000_000_000_000
const MAX_ACCOUNTS = 100

/** Adds the commands for operator accounts and for the treasury that funds them. */
export function addOperatorCommands(program: CliCommand, onService: RunAct): void {
  const operators = program
    .command('operators')
    .summary('the accounts that pay for settlement')
    .description('The accounts that pay for settlement.')
  operators
    .command('list')
    .summary('use, pending transactions, nonce and balance of each; the chain is not asked')
    .example('latchkey-admin operators list')
    .runs(onService(list))
  operators
    .command('retire')
    .argument('<address>', 'of an operator account')
    .summary(
      'take an account out of use at once; once nothing is pending, return its funds to TREASURY_ADDRESS',
    )
    .example('latchkey-admin operators retire ST3WDX1WNQY9ZSR56GXGEJRJZYWC8TZN42XKDFC8Q')
    .runs(onService(retire))
  operators
    .command('resume')
    .argument('<address>', 'of a retired account')
    .summary('take a retirement back')
    .example('latchkey-admin operators resume ST3WDX1WNQY9ZSR56GXGEJRJZYWC8TZN42XKDFC8Q')
    .runs(onService(resume))
  operators
    .command('new-keys')
    .option('--count <n>', 'how many', wholeNumber(1, MAX_ACCOUNTS), 1)
    .option('--out <file>', 'a new file for OPERATOR_KEYS_FILE')
    .summary('make private keys of new operator accounts')
    .example('latchkey-admin operators new-keys --count 100 --out operator-keys')
    .runs(newKeys)
  program
    .command('treasury')
    .summary('the account that funds the operators')
    .description('The account that funds the operators. Its key stays with this command.')
    .command('top-up')
    .option(
      '--key-file <file>',
      "the treasury's private key; or LATCHKEY_KEY_FILE, or the key itself in LATCHKEY_PRIVATE_KEY",
    )
    .addOption(
      new Option(
        '--below <micro-stx>',
        'fill up accounts that have less; by default LOW_BALANCE_IN_MICRO_STX',
      ).argParser(wholeNumber(1, MAX_MICRO_STX)),
    )
    .addOption(
      new Option(
        '--up-to <micro-stx>',
        'fill them up to so much; by default twice as much',
      ).argParser(wholeNumber(1, MAX_MICRO_STX)),
    )
    .option('--dry-run', 'show what it would send')
    .summary('send STX to the operator accounts that have little')
    .example('latchkey-admin treasury top-up --key-file treasury.key --dry-run')
    .runs(onService(topUp))
}

async function list(perform: Perform): Promise<CommandResult> {
  const all = await outputOf(perform, 'operators', {})
  const rows = all.map(
    ({ address, use, pending, nextNonce, balance, balanceAgeSeconds, followedBy }) => ({
      address,
      use,
      pending,
      nonce: nextNonce,
      microStx: balance ?? '-',
      age: balanceAgeSeconds === null ? '-' : `${balanceAgeSeconds} s`,
      followedBy: followedBy ?? '-',
    }),
  )
  return { json: all, lines: rows.length === 0 ? ['No operator accounts.'] : table(rows) }
}

const KEPT = {
  pending: 'It takes no claims any more. Repeat this once its pending transactions have ended.',
  chain:
    'It takes no claims any more. The chain does not respond: repeat this to return its funds.',
  no_treasury: 'It is retired. Its funds stay: TREASURY_ADDRESS is not set.',
  no_key: 'It is retired. Its funds stay: its key is not configured.',
  empty: 'It is retired, and has nothing to return.',
} as const

/** Exits with 1 while there is something left to do. */
async function retire(
  perform: Perform,
  _: object,
  { args }: CommandContext<object>,
): Promise<CommandResult> {
  const [address = ''] = args
  const done = await outputOf(perform, 'retireOperator', { address })
  const { returned, kept, pending, balance } = done
  const isDone = kept !== 'pending' && kept !== 'chain'
  return {
    json: done,
    lines: [
      ...keyValues({ address, pending, balance, txid: returned?.txid }),
      kept === null
        ? `It is retired. ${returned?.amountInMicroStx} micro-STX return to ${returned?.recipient}.`
        : KEPT[kept],
    ],
    exitCode: isDone ? 0 : 1,
  }
}

async function resume(
  perform: Perform,
  _: object,
  { args }: CommandContext<object>,
): Promise<CommandResult> {
  const [address = ''] = args
  const done = await outputOf(perform, 'resumeOperator', { address })
  return { json: done, lines: [done.isNew ? `${address} is used again` : `${address} was in use`] }
}

/** The file is for its owner alone. The keys are printed nowhere. */
async function newKeys({
  options,
  terminal,
}: CommandContext<{ count: number; out?: string }>): Promise<CommandResult> {
  const { count, out } = options
  if (out === undefined) throw new UsageError('It needs --out, a new file for the keys')
  const { STACKS_NETWORK: network } = readConfig(withOperatorKeys(terminal.env))
  const keys = await saveNew(
    out,
    async () => Array.from({ length: count }, newPrivateKey),
    (made) => made.map((key) => `${key} # ${addressOf(key, network)}`).join('\n'),
  )
  const addresses = keys.map((key) => addressOf(key, network))
  return { json: { file: out, addresses }, lines: addresses }
}

interface TopUpOptions {
  below?: number
  upTo?: number
  dryRun?: boolean
}

const RUN_BYTES = 8

/** Signs here, one transfer after another; the service stores each before it sends it. */
async function topUp(
  perform: Perform,
  options: TopUpOptions,
  context: CommandContext<TopUpOptions>,
): Promise<CommandResult> {
  const config = readConfig(withOperatorKeys(context.terminal.env))
  const { STACKS_NETWORK: network, LOW_BALANCE_IN_MICRO_STX } = config
  const privateKey = (await readSecret(context, 'privateKey'))?.trim()
  if (privateKey === undefined)
    throw new UsageError('There is no private key of the treasury: name its file with --key-file')
  const treasury = addressOf(privateKey, network)
  const belowInMicroStx = options.below ?? LOW_BALANCE_IN_MICRO_STX
  const goal = { treasury, belowInMicroStx, upToInMicroStx: options.upTo ?? belowInMicroStx * 2 }
  if (options.dryRun === true) return shown(await outputOf(perform, 'planTopUps', goal), [], true)
  const run = toHex(crypto.getRandomValues(new Uint8Array(RUN_BYTES)))
  const plan = await outputOf(perform, 'planTopUps', { ...goal, run })
  const sent: Sent[] = []
  try {
    for (const { address: recipient, amountInMicroStx } of plan.planned) {
      const transfer = { recipient, amountInMicroStx }
      const nonce = plan.nonce + sent.length
      const { feeInMicroStx } = plan
      const { raw } = await signTransfer(transfer, { privateKey, nonce, feeInMicroStx, network })
      const result = await sendOne(perform, { ...goal, run, transaction: toHex(raw) })
      if (result !== undefined) sent.push({ ...transfer, ...result })
    }
  } finally {
    await perform('endTopUps', { treasury, run })
  }
  return shown(plan, sent, false)
}

interface Sent {
  recipient: string
  amountInMicroStx: number
  txid: string
  sent: string
}

/** Undefined for an account that needs nothing any more. */
async function sendOne(
  perform: Perform,
  input: Parameters<typeof outputOf<'sendTopUp'>>[2],
): Promise<ActOutput<'sendTopUp'> | undefined> {
  try {
    return await outputOf(perform, 'sendTopUp', input)
  } catch (error) {
    if (error instanceof CommandError && error.code === 'TOP_UP_NOT_NEEDED') return undefined
    throw error
  }
}

function shown(
  plan: ActOutput<'planTopUps'>,
  sent: readonly Sent[],
  isDry: boolean,
): CommandResult {
  const { treasury, balance, planned, left, underWay, sentTodayInMicroStx } = plan
  const rows = isDry
    ? planned.map(({ address, amountInMicroStx }) => ({
        operator: address,
        microStx: amountInMicroStx,
      }))
    : sent.map(({ recipient, amountInMicroStx, txid }) => ({
        operator: recipient,
        microStx: amountInMicroStx,
        txid,
      }))
  const heading = isDry ? 'Would send:' : 'Sent:'
  return {
    json: isDry ? { ...plan, dryRun: true } : { ...plan, sent },
    lines: [
      ...keyValues({ treasury, balance, sentTodayInMicroStx, underWay, left }),
      ...(rows.length === 0 ? ['Nothing to send.'] : ['', heading, ...table(rows)]),
    ],
    exitCode: left === 0 ? 0 : 1,
  }
}
