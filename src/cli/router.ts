import { setTimeout as pause } from 'node:timers/promises'
import { Option } from 'commander'
import { privateKeySigner } from '../client/index.ts'
import {
  COMMITTED_ROUTER_ERRORS,
  type ContractSource,
  type RouterClarityVersion,
} from '../contracts/committed-router.ts'
import { committedRouterSources } from '../contracts/sources.ts'
import { readChainConfig } from '../env.ts'
import type { Chain } from '../settlement/chain.ts'
import {
  contractSource,
  type RouterInfo,
  refundFor,
  resultOf,
  routerInfo,
} from '../settlement/deployment.ts'
import { openStacksApi, type StacksApi } from '../settlement/stacks-api.ts'
import { connectStacksNode } from '../settlement/stacks-node.ts'
import {
  payloadOf,
  type SignedTransaction,
  type SigningOptions,
  signAllowInput,
  signDeployment,
  signRefund,
} from '../settlement/transaction.ts'
import { isContractId } from '../stacks/address.ts'
import { swapAccountOf } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import { type CliCommand, type CommandContext, type CommandResult, wholeNumber } from './command.ts'
import { readSecret } from './connect.ts'
import { CommandError, UsageError } from './errors.ts'
import { keyValues } from './layout.ts'

const POLL_MS = 500
const NODE_TIMEOUT_MS = 30_000

interface DeployerOptions {
  keyFile?: string
  fee?: number
  timeout: number
}

/** Adds the commands of the account that deploys a committed router. It is no operator, and has no other secret of the service. */
export function addRouterCommands(program: CliCommand, now: () => number): void {
  const router = program
    .command('router')
    .summary('committed routers')
    .description(
      "Committed routers: contracts that execute an order on its owner's terms. It reads STACKS_NETWORK, STACKS_API_URL, STACKS_API_KEY and INTENT_VERIFIER_CONTRACT.",
    )
  addDeployer(router.command('deploy'))
    .option('--name <name>', 'of the contract', 'committed-router')
    .addOption(
      new Option('--clarity-version <version>', '6 where nodes no longer take 3')
        .choices(['3', '6'])
        .default('3'),
    )
    .summary('deploy a router and its account; what is deployed already is left as it is')
    .example('latchkey-admin router deploy --key-file deployer.key')
    .runs(onChain(now, deploy))
  addDeployer(router.command('allow-input').argument('<router>', 'its contract id'))
    .argument('<tokens...>', 'contract ids of subnet tokens')
    .summary(
      'allow input tokens, for ever; their code is trusted with the inputs that wait for a refund',
    )
    .example(
      'latchkey-admin router allow-input ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.committed-router ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.key-token-subnet --key-file deployer.key',
    )
    .runs(onChain(now, allowInputs))
  router
    .command('check')
    .argument('<router>', 'its contract id')
    .argument('[tokens...]', 'input tokens that it should allow')
    .summary('compare a router on chain with the source of this release')
    .example(
      'latchkey-admin router check ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.committed-router',
    )
    .runs(onChain(now, check))
  addDeployer(router.command('refund').argument('<router>', 'its contract id'))
    .option('--txid <txid>', 'the transaction that moved the input to the router')
    .summary('pay an input back to its owner that was moved to the router without a swap')
    .example(
      `latchkey-admin router refund ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.committed-router --txid ${'1f'.repeat(32)} --key-file deployer.key`,
    )
    .runs(onChain(now, refund))
}

function addDeployer(command: CliCommand): CliCommand {
  return command
    .option(
      '--key-file <file>',
      "the deployer's private key; or LATCHKEY_KEY_FILE, or the key itself in LATCHKEY_PRIVATE_KEY",
    )
    .addOption(
      new Option(
        '--fee <number>',
        'micro-STX a transaction; by default what the node estimates',
      ).argParser(wholeNumber(1, 100_000_000)),
    )
    .addOption(
      new Option('--timeout <seconds>', 'how long to wait for a block')
        .argParser(wholeNumber(1, 86_400))
        .default(3_600),
    )
}

/** The chain, for the time of a command. */
interface Stage<Options> {
  context: CommandContext<Options>
  network: Network
  verifier: string
  chain: Chain
  api: StacksApi
}

function onChain<Options extends object>(
  now: () => number,
  act: (stage: Stage<Options>) => Promise<CommandResult>,
) {
  return async (context: CommandContext<Options>): Promise<CommandResult> => {
    const { terminal } = context
    const { network, apiUrl, apiKey, verifier } = readChainConfig(terminal.env)
    const options = {
      apiUrl,
      fetch: globalThis.fetch,
      now,
      timeoutMs: NODE_TIMEOUT_MS,
      apiHeaders: apiKey === undefined ? {} : { 'x-api-key': apiKey },
    }
    const chain = connectStacksNode({ ...options, network, quoteUrl: apiUrl })
    return act({ context, network, verifier, chain, api: openStacksApi(options) })
  }
}

async function deploy(
  stage: Stage<DeployerOptions & { name: string; clarityVersion: string }>,
): Promise<CommandResult> {
  const { network, verifier, context } = stage
  const { address } = await deployerOf(stage)
  const router = `${address}.${context.options.name}`
  const clarityVersion = Number(context.options.clarityVersion) as RouterClarityVersion
  requireContract(router, network)
  const sources = await committedRouterSources({ network, router, verifier, clarityVersion })
  const transactions: { contract: string; txid: string | null }[] = []
  for (const source of sources) {
    const contract = `${address}.${source.name}`
    const isThere = await isDeployed(stage, contract, source)
    if (isThere) await context.note(`${contract} is deployed already.`)
    const send = (options: SigningOptions) => signDeployment(source, options)
    transactions.push({ contract, txid: isThere ? null : await settle(stage, contract, send) })
  }
  const next = `latchkey-admin router allow-input ${router} TOKEN`
  return {
    json: { router, verifier, clarityVersion, transactions },
    lines: [...keyValues({ router, verifier, clarityVersion }), `It takes no input yet: ${next}`],
  }
}

/** Throws where another contract has the name: no contract can be replaced. */
async function isDeployed(
  { api }: Stage<unknown>,
  contract: string,
  { source }: ContractSource,
): Promise<boolean> {
  const found = reached(await contractSource(api, contract))
  if (found === 'absent') return false
  if (found === source) return true
  throw new CommandError(
    'CONTRACT_DIFFERS',
    `${contract} is another contract: choose another --name`,
  )
}

async function allowInputs(stage: Stage<DeployerOptions>): Promise<CommandResult> {
  const { context, chain, network } = stage
  const [router = '', ...tokens] = context.args
  for (const id of [router, ...tokens]) requireContract(id, network)
  await requireDeployerOf(stage, router)
  const transactions: { token: string; txid: string | null }[] = []
  for (const token of tokens) {
    const isAllowed = reached(await chain.isInputAllowed(router, token))
    const send = (options: SigningOptions) => signAllowInput({ router, token }, options)
    transactions.push({ token, txid: isAllowed ? null : await settle(stage, token, send) })
  }
  const lines = transactions.map(({ token, txid }) =>
    txid === null ? `${token} was allowed before` : `${token} is allowed`,
  )
  return { json: { router, transactions }, lines }
}

async function check(stage: Stage<object>): Promise<CommandResult> {
  const { context, chain, api, network, verifier } = stage
  const [router = '', ...tokens] = context.args
  for (const id of [router, ...tokens]) requireContract(id, network)
  if (reached(await contractSource(api, router)) === 'absent')
    throw new CommandError('CONTRACT_NOT_FOUND', `There is no contract ${router} on ${network}`)
  const info = await routerInfo(api, router)
  const clarityVersion = info === undefined ? undefined : await versionOf(stage, router, info)
  const inputs = Object.fromEntries(
    await Promise.all(
      tokens.map(
        async (token) => [token, reached(await chain.isInputAllowed(router, token))] as const,
      ),
    ),
  )
  const faults = [
    ...(clarityVersion === undefined
      ? ["its source is not that of this release's committed router"]
      : []),
    ...(info !== undefined && info.verifier !== verifier
      ? [`its verifier is ${info.verifier}, and INTENT_VERIFIER_CONTRACT is ${verifier}`]
      : []),
    ...tokens.filter((token) => !inputs[token]).map((token) => `it does not take ${token}`),
  ]
  const routerContract = faults.length === 0 ? `committed:${router}` : null
  return {
    json: {
      router,
      routerContract,
      clarityVersion: clarityVersion ?? null,
      ...info,
      inputs,
      faults,
    },
    lines: [
      ...keyValues({ router, clarityVersion, ...info, ...inputs }),
      ...faults.map((fault) => `Fault: ${fault}`),
      routerContract === null
        ? 'Do not list it in ROUTER_CONTRACT as committed.'
        : `List it in ROUTER_CONTRACT as ${routerContract}`,
    ],
    exitCode: faults.length === 0 ? 0 : 1,
  }
}

/** The Clarity version in which both contracts on chain equal this release's; undefined where neither does. */
async function versionOf(
  { api, network }: Stage<unknown>,
  router: string,
  { verifier }: RouterInfo,
): Promise<RouterClarityVersion | undefined> {
  const onChain = [
    reached(await contractSource(api, swapAccountOf(router))),
    reached(await contractSource(api, router)),
  ]
  for (const clarityVersion of [3, 6] as const) {
    const ours = await committedRouterSources({ network, router, verifier, clarityVersion })
    if (ours.every(({ source }, at) => source === onChain[at])) return clarityVersion
  }
  return undefined
}

async function refund(stage: Stage<DeployerOptions & { txid?: string }>): Promise<CommandResult> {
  const { context, api, network } = stage
  const [router = ''] = context.args
  requireContract(router, network)
  const txid = context.options.txid?.replace(/^0x/, '')
  if (!/^[0-9a-f]{64}$/i.test(txid ?? ''))
    throw new UsageError('It needs --txid, the transaction that moved the input to the router')
  await requireDeployerOf(stage, router)
  const found = await refundFor(api, txid ?? '', router, network)
  if (found === undefined)
    throw new CommandError(
      'NOTHING_TO_REFUND',
      `${txid} is no successful x-transfer to ${router}: nothing shows that an input was moved there`,
    )
  const { signature: _, ...shown } = found
  const sent = await settle(stage, `refund of ${found.uuid}`, (options) =>
    signRefund(found, options),
  )
  return { json: { ...shown, txid: sent }, lines: keyValues({ ...shown, txid: sent }) }
}

async function deployerOf({ context, network }: Stage<DeployerOptions>) {
  const privateKey = await readSecret(context, 'privateKey')
  if (privateKey === undefined)
    throw new UsageError('There is no private key of the deployer: name its file with --key-file')
  return { privateKey: privateKey.trim(), address: privateKeySigner(privateKey, network).address }
}

async function requireDeployerOf(stage: Stage<DeployerOptions>, router: string): Promise<void> {
  const { address } = await deployerOf(stage)
  if (router.startsWith(`${address}.`)) return
  throw new CommandError('NOT_THE_DEPLOYER', `${address} did not deploy ${router}`)
}

/** Sends a transaction of the deployer and waits until it is mined. Returns its txid. */
async function settle(
  stage: Stage<DeployerOptions>,
  what: string,
  sign: (options: SigningOptions) => Promise<SignedTransaction>,
): Promise<string> {
  const { context, chain, network } = stage
  const { privateKey, address } = await deployerOf(stage)
  const { next: nonce } = reached(await chain.nonces(address))
  const signWith = (feeInMicroStx: number) => sign({ privateKey, nonce, feeInMicroStx, network })
  const transaction = await signWith(context.options.fee ?? (await estimate(stage, signWith)))
  const { txid, raw, feeInMicroStx } = transaction
  const submitted = await chain.submit(raw)
  if (submitted.kind !== 'accepted')
    throw new CommandError('NOT_ACCEPTED', `The node did not take ${what}: ${submitted.reason}`, {
      details: { txid, nonce, feeInMicroStx },
    })
  await context.note(`${what}: sent as ${txid}, for ${feeInMicroStx} micro-STX`)
  const height = await mined(stage, what, txid)
  await context.note(`${what}: in block ${height}`)
  return txid
}

async function estimate(
  { chain }: Stage<DeployerOptions>,
  signWith: (feeInMicroStx: number) => Promise<SignedTransaction>,
): Promise<number> {
  const { raw } = await signWith(0)
  const fee = await chain.estimateFee(payloadOf(raw), raw.length)
  if (fee !== undefined) return Math.max(fee, raw.length)
  throw new CommandError('NO_ESTIMATE', 'The node has no estimate: name the --fee in micro-STX')
}

async function mined(
  { context, chain, api }: Stage<DeployerOptions>,
  what: string,
  txid: string,
): Promise<number> {
  const { timeout } = context.options
  for (let waitedMs = 0; waitedMs < timeout * 1_000; waitedMs += POLL_MS) {
    const status = await chain.find(txid)
    if (status.kind === 'mined' && status.outcome === 'success') return status.height
    if (status.kind === 'mined')
      throw new CommandError(
        'ABORTED',
        `${what} aborted: ${explained(await resultOf(api, txid))}`,
        {
          details: { txid, outcome: status.outcome },
        },
      )
    await pause(POLL_MS)
  }
  throw new CommandError(
    'NOT_MINED',
    `${what} is in no block after ${timeout} s; it may still be mined: run the command again`,
    { details: { txid } },
  )
}

/** A router's error, `(err u403103)`, with what it says. */
function explained(result = 'without a result'): string {
  const code = /^\(err u(\d+)\)$/.exec(result)?.[1] ?? ''
  const meaning = (COMMITTED_ROUTER_ERRORS as Readonly<Record<string, string>>)[code]
  return meaning === undefined ? result : `${result}, ${meaning}`
}

function requireContract(id: string, network: Network): void {
  if (!isContractId(id, network)) throw new UsageError(`${id} is no contract id of ${network}`)
}

/** Throws where the API did not respond. */
function reached<T>(response: T | undefined): T {
  if (response !== undefined) return response
  throw new CommandError('CHAIN_UNREACHABLE', 'The Stacks API does not respond', { exitCode: 1 })
}
