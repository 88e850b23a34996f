import { readBalances } from '../balances.ts'
import type { CliCommand, CommandResult } from '../command.ts'
import {
  clientWith,
  openClient,
  openKeyClient,
  readSigner,
  type ServiceContext,
  serviceUrl,
} from '../connect.ts'
import { demo } from '../demo.ts'
import { UsageError } from '../errors.ts'
import { keyValues, table } from '../layout.ts'

export function addInfoCommands(program: CliCommand): void {
  program
    .command('info')
    .summary('show what the service says about itself')
    .example('latchkey info --url https://dex.example')
    .runs(showInfo)

  program
    .command('me')
    .summary('show what the API key that this is run with may do')
    .example('latchkey me --api-key-file bot.key')
    .runs(showMe)

  program
    .command('account')
    .summary(
      'show what the wallet has: balances, nonces, open orders, and what its keys used today',
    )
    .example('latchkey account --api-key-file bot.key')
    .runs(showAccount)

  program
    .command('faucet')
    .argument('[address]', 'by default the address of the wallet')
    .summary('on a devnet: give an address STX and tokens to try orders with')
    .example('latchkey faucet --key-file my-wallet.key')
    .runs(fillFromFaucet)

  program
    .command('demo')
    .summary('on a devnet: play the whole story with a throw-away wallet')
    .example('latchkey demo')
    .runs(demo)
}

async function showInfo(context: ServiceContext): Promise<CommandResult> {
  const info = await clientWith(context).info()
  const { scopes, devnet, ...shown } = info
  return { json: info, lines: keyValues({ ...shown, scopes: scopes.join(', '), ...devnet }) }
}

async function showMe(context: ServiceContext): Promise<CommandResult> {
  const me = await (await openKeyClient(context)).keys.me()
  const { windows, permissions, status: _, ...shown } = me
  const left = windows.map(({ name, remaining }) => `${remaining} this ${name}`).join(', ')
  return {
    json: me,
    lines: keyValues({ ...shown, permissions: permissions.join(', ') || 'none', left }),
  }
}

async function showAccount(context: ServiceContext): Promise<CommandResult> {
  const account = await (await openClient(context)).account()
  const { walletAddress, chain, nonces, balances, openOrders, keys } = account
  const used = keys.flatMap(({ keyId, amounts }) =>
    Object.entries(amounts).map(([token, { reserved, spent, perDay }]) => ({
      key: keyId,
      token,
      reserved,
      spent,
      'a day': perDay,
    })),
  )
  return {
    json: account,
    lines: [
      ...keyValues({
        wallet: walletAddress,
        chain: chain.isCurrent ? 'current' : 'not all of it is known, or current',
        nonce: nonces?.next ?? 'unknown',
        'open orders': `${openOrders.count}${openOrders.hasMore ? ' and more' : ''}`,
      }),
      ...table(
        balances.map(({ token, symbol, decimals, state, amount, ageMs }) => ({
          token,
          symbol,
          decimals,
          amount: amount ?? state,
          'age ms': ageMs,
        })),
      ),
      ...(used.length === 0 ? [] : table(used)),
    ],
  }
}

async function fillFromFaucet(context: ServiceContext): Promise<CommandResult> {
  const client = clientWith(context)
  const { devnet, network } = await client.info()
  if (devnet === undefined)
    throw new UsageError(
      `The service at ${serviceUrl(context)} is on ${network}: only a devnet has a faucet`,
    )
  const address = context.args[0] ?? (await (await readSigner(context))?.getAddress(network))
  if (address === undefined) throw new UsageError('Name an address, or the wallet with --key-file')
  await client.devnet.faucet(address)
  const { inputToken } = devnet
  const held = (await readBalances(context, devnet, address))(inputToken)
  return {
    json: { address, tokens: { [inputToken]: String(held) } },
    lines: [`${address} holds ${held} of ${inputToken}`],
  }
}
