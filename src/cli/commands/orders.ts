import { Option } from 'commander'
import {
  type AuthOptions,
  LatchkeyError,
  ORDER_STATUSES,
  type Order,
  type OrderDraft,
  type OrderPage,
  type OrderStatus,
} from '../../client/index.ts'
import { adviseFaucet } from '../balances.ts'
import { type CliCommand, type CommandResult, wholeNumber } from '../command.ts'
import {
  clientWith,
  openClient,
  readKeyCredential,
  readSigner,
  type ServiceContext,
  shellQuoted,
} from '../connect.ts'
import { UsageError } from '../errors.ts'
import { followOrder, type WaitSettings } from '../follow-order.ts'
import { keyValues, table } from '../layout.ts'

interface Authorization {
  auth?: 'api-key' | 'signature'
}

export function addOrderCommands(program: CliCommand): void {
  const orders = program
    .command('orders')
    .summary('orders of the wallet')
    .description(
      'Orders. The wallet signs each; an API key or the wallet executes and cancels them.',
    )

  orders
    .command('create')
    .option('--input-token <id>', 'contract id of the token that pays')
    .option('--output-token <id>', 'contract id, or .stx')
    .option('--amount-in <number>', "whole number in the token's smallest unit")
    .option(
      '--min-amount-out <number>',
      'the least that the recipient gains: the router then executes the order on these terms only',
    )
    .option('--deadline <time>', 'with --min-amount-out; by default --valid-to, or in a day')
    .option('--executor <address>', 'with --min-amount-out: the only address that may execute it')
    .option('--recipient <address>', 'receives the output; by default the owner')
    .option(
      '--uuid <uuid>',
      'by default a random one, or with --min-amount-out the hash of the terms',
    )
    .option('--target-price <price>', 'with --direction and --condition-token')
    .addOption(
      new Option('--direction <direction>', 'above or below the target').choices(['gt', 'lt']),
    )
    .option('--condition-token <id>', 'contract id, or *')
    .option('--base-asset <id>', 'what the target price is counted in')
    .option('--valid-from <time>', 'ISO 8601')
    .option('--valid-to <time>', 'ISO 8601; from then on the order is expired')
    .addOption(authOption())
    .summary('place an order: the wallet signs its intent')
    .example(
      'latchkey orders create --input-token ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.key-token-subnet --output-token ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.usd-token --amount-in 1000000 --min-amount-out 490000',
    )
    .runs(createOrder)

  withUuid(orders.command('get'))
    .summary('show an order')
    .example('latchkey orders get 7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162')
    .runs(async (context) =>
      showOrder(await (await openClient(context)).orders.get(uuidOf(context))),
    )

  orders
    .command('list')
    .option('--owner <address>', 'of one address')
    .option('--mine', "of the wallet's own address")
    .addOption(new Option('--status <status>', 'in one status').choices(ORDER_STATUSES))
    .option('--limit <number>', 'orders a page, at most 100', wholeNumber(1, 100))
    .option('--cursor <cursor>', 'the page that the one before names')
    .option('--all', 'every page, without --cursor')
    .summary('list orders, newest first')
    .example('latchkey orders list --mine --status open')
    .runs(listOrders)

  withUuid(orders.command('execute'))
    .addOption(authOption())
    .option('--wait', 'until it is confirmed, with its progress on stderr')
    .addOption(timeoutOption())
    .summary('execute an open order: settle it on chain, once')
    .example('latchkey orders execute 7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162 --wait')
    .runs(executeOrder)

  withUuid(orders.command('wait'))
    .addOption(timeoutOption())
    .summary('wait until an order is confirmed, with its progress on stderr')
    .example('latchkey orders wait 7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162 --timeout 120')
    .runs(async (context) => showOrder(await watchWithAdvice(context)))

  withUuid(orders.command('cancel'))
    .addOption(authOption())
    .option('--on-chain', 'use its uuid up on chain too: the signed intent is worthless then')
    .summary('cancel an open order')
    .example('latchkey orders cancel 7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162')
    .example('latchkey orders cancel 7f2c1e9a-4a51-4d7c-9a0b-1d2e3f405162 --on-chain')
    .runs(cancelOrder)
}

function withUuid(command: CliCommand): CliCommand {
  return command.argument('<uuid>', 'of the order')
}

function authOption(): Option {
  return new Option(
    '--auth <credential>',
    'by default the API key when there is one, else the signature of the wallet',
  ).choices(['api-key', 'signature'])
}

function timeoutOption(): Option {
  return new Option('--timeout <seconds>', 'wait no longer').argParser(wholeNumber(1, 999_999))
}

function uuidOf({ args }: ServiceContext): string {
  return args[0] ?? ''
}

function authOf({ options: { auth } }: ServiceContext<Authorization>): AuthOptions {
  return auth === undefined ? {} : { auth: auth === 'api-key' ? 'apiKey' : 'signature' }
}

const DRAFT_OPTIONS = [
  'inputToken',
  'outputToken',
  'amountIn',
  'minAmountOut',
  'deadline',
  'executor',
  'recipient',
  'uuid',
  'targetPrice',
  'direction',
  'conditionToken',
  'baseAsset',
  'validFrom',
  'validTo',
] as const satisfies (keyof OrderDraft)[]

type DraftOptions = Pick<Partial<OrderDraft>, (typeof DRAFT_OPTIONS)[number]>

async function createOrder(
  context: ServiceContext<DraftOptions & Authorization>,
): Promise<CommandResult> {
  const draft = readDraft(context.options)
  const client = await openClient(context)
  return showOrder(await client.orders.create(draft, authOf(context)))
}

function readDraft(options: DraftOptions): OrderDraft {
  const { inputToken, outputToken, amountIn } = options
  if (inputToken === undefined || outputToken === undefined || amountIn === undefined)
    throw new UsageError('An order needs --input-token, --output-token and --amount-in')
  const given: DraftOptions = Object.fromEntries(
    DRAFT_OPTIONS.map((name) => [name, options[name]]).filter(([, value]) => value !== undefined),
  )
  return { ...given, inputToken, outputToken, amountIn }
}

async function listOrders(
  context: ServiceContext<{
    owner?: string
    mine?: boolean
    status?: OrderStatus
    limit?: number
    cursor?: string
    all?: boolean
  }>,
): Promise<CommandResult> {
  const { mine, status, limit, cursor, all } = context.options
  const client = await openClient(context)
  const signer = await readSigner(context)
  let { owner } = context.options
  if (mine === true) {
    if (signer === undefined) throw new UsageError('--mine needs the key of the wallet')
    owner = await signer.getAddress((await client.info()).network)
  }
  if (all === true && cursor !== undefined) throw new UsageError('--all begins at the first page')
  const filter = Object.fromEntries(
    Object.entries({ owner, status, limit, cursor }).filter(([, value]) => value !== undefined),
  )
  const proves = signer !== undefined && (await readKeyCredential(context)) === undefined
  const auth: AuthOptions = proves ? { auth: 'signature' } : {}
  const page: OrderPage = all === true ? { orders: [] } : await client.orders.list(filter, auth)
  if (all === true)
    for await (const order of client.orders.listAll(filter, auth)) page.orders.push(order)
  const more =
    page.nextCursor === undefined ? [] : [`More: --cursor ${shellQuoted(page.nextCursor)}`]
  return {
    json: page,
    lines:
      page.orders.length === 0 ? ['No orders.'] : [...table(page.orders.map(orderRow)), ...more],
  }
}

async function executeOrder(
  context: ServiceContext<Authorization & WaitSettings & { wait?: boolean }>,
): Promise<CommandResult> {
  const client = await openClient(context)
  const executed = await withAdvice(context, () =>
    client.orders.execute(uuidOf(context), authOf(context)),
  )
  if (context.options.wait === true) return showOrder(await watchWithAdvice(context))
  return {
    json: executed,
    lines: keyValues({ txid: executed.txid, ...executed.order }),
  }
}

function watchWithAdvice(context: ServiceContext<WaitSettings>): Promise<Order> {
  return withAdvice(context, () => followOrder(context, uuidOf(context)))
}

/** On a devnet, an order of a wallet without tokens is refused, or aborts on chain: a note then says where to get some. */
async function withAdvice<T>(context: ServiceContext, attempt: () => Promise<T>): Promise<T> {
  try {
    return await attempt()
  } catch (error) {
    if (error instanceof LatchkeyError && lacksFunds(error)) {
      const order = await clientWith(context).orders.get(uuidOf(context))
      const advice = await adviseFaucet(context, order)
      if (advice !== undefined) await context.note(`${advice}.`)
    }
    throw error
  }
}

function lacksFunds({ details }: LatchkeyError): boolean {
  return details?.reason === 'insufficient_balance' || details?.status === 'failed'
}

async function cancelOrder(
  context: ServiceContext<Authorization & { onChain?: boolean }>,
): Promise<CommandResult> {
  const client = await openClient(context)
  const onChain = context.options.onChain === true
  return showOrder(await client.orders.cancel(uuidOf(context), { ...authOf(context), onChain }))
}

function showOrder(order: Order): CommandResult {
  return { json: order, lines: keyValues({ ...order }) }
}

function orderRow({ uuid, status, amountIn, inputToken, outputToken, createdAt }: Order) {
  return {
    uuid: uuid ?? '(hidden)',
    status,
    amount: amountIn,
    from: nameOf(inputToken),
    to: nameOf(outputToken),
    created: createdAt,
  }
}

function nameOf(token: string): string {
  return token.slice(token.indexOf('.') + 1)
}
