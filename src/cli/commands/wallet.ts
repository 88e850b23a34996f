import { privateKeySigner } from '../../client/index.ts'
import type { CliCommand, CommandResult } from '../command.ts'
import {
  clientWith,
  networkOf,
  newPrivateKey,
  readSecret,
  type ServiceContext,
} from '../connect.ts'
import { UsageError } from '../errors.ts'
import { saveNew } from '../files.ts'
import { keyValues } from '../layout.ts'

const DEFAULT_KEY_FILE = 'latchkey-wallet.key'

export function addWalletCommands(program: CliCommand): void {
  const wallet = program
    .command('wallet')
    .summary('throw-away wallets')
    .description('Wallets for devnets and tests: a private key in a file.')

  wallet
    .command('new')
    .summary(`make a wallet: a new file (0600) at --key-file, or ${DEFAULT_KEY_FILE}`)
    .example('latchkey wallet new --key-file my-wallet.key')
    .runs(makeWallet)

  wallet
    .command('address')
    .summary("show the wallet's address on the network of the service, or on --network")
    .example('latchkey wallet address --key-file my-wallet.key --network devnet')
    .runs(showAddress)
}

async function makeWallet({ options }: ServiceContext): Promise<CommandResult> {
  const path = options.keyFile ?? DEFAULT_KEY_FILE
  const privateKey = await saveNew(path, async () => newPrivateKey(), String)
  const addresses = {
    mainnet: privateKeySigner(privateKey, 'mainnet').address,
    testnet: privateKeySigner(privateKey, 'testnet').address,
  }
  return {
    json: { keyFile: path, addresses },
    lines: keyValues({
      'key file': `${path}   (a reader of it can sign as the wallet)`,
      mainnet: addresses.mainnet,
      'testnet, devnet': addresses.testnet,
    }),
  }
}

async function showAddress(context: ServiceContext): Promise<CommandResult> {
  const privateKey = await readSecret(context, 'privateKey')
  if (privateKey === undefined) throw new UsageError('There is no private key to read it from')
  const network = networkOf(context) ?? (await clientWith(context).info()).network
  const { address } = privateKeySigner(privateKey, network)
  return { json: { address, network }, lines: [address] }
}
