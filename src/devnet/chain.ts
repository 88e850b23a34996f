import { readFile } from 'node:fs/promises'
import type { DeployContractOptions } from '@stacks/clarinet-sdk'
import {
  type ClarityAbi,
  type ClarityValue,
  cvToString,
  noneCV,
  principalCV,
  responseErrorCV,
  responseOkCV,
  trueCV,
  uintCV,
} from '@stacks/transactions'
import { committedRouterSources } from '../contracts/sources.ts'
import {
  BASE_TOKEN,
  COMMITTED_ROUTER,
  DEPLOYER,
  DEVNET_GENESIS_TIME,
  DEVNET_OPERATOR_ADDRESS,
  DEVNET_SECONDS_PER_BLOCK,
  FAR_TOKEN,
  FAUCET_BASE_TOKEN,
  FAUCET_INPUT_TOKEN,
  FAUCET_STX,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  VAULTS,
} from './constants.ts'

export interface ChainEvent {
  event: string
  data: Record<string, unknown>
}

/** What a call took of a block's budget. */
export interface Cost {
  runtime: number
  readCount: number
  readLength: number
  writeCount: number
  writeLength: number
}

export interface Execution {
  ok: boolean
  result: ClarityValue
  events: ChainEvent[]
  cost: Cost
  vmError: string | null
}

export type ChainAction =
  | { kind: 'call'; contract: string; fn: string; args: ClarityValue[] }
  | { kind: 'transfer'; recipient: string; amount: bigint }
  | { kind: 'deploy'; name: string; source: string; clarityVersion?: number | undefined }
  /** The fee is charged and nothing happens. */
  | { kind: 'nothing' }

/** One Clarity state. It cannot remove a block: a replay leaves it out. */
export interface ClarityChain {
  /** Back to the first block. */
  restart(): Promise<void>
  height(): number
  stxBalance(principal: string): bigint
  tokenBalance(token: string, principal: string): bigint
  interfaceOf(contract: string): ClarityAbi | undefined
  sourceOf(contract: string): string | undefined
  readOnly(contract: string, fn: string, args: ClarityValue[], sender: string): ClarityValue
  /** One block: the fee leaves the sender, then the action. */
  mine(sender: string, fee: bigint, action: ChainAction): Execution
  grant(address: string): void
  /** Mines empty blocks, for as long on the chain's clock. */
  passTime(seconds: number): void
}

const FEES_GO_TO = 'ST000000000000000000002AMW42H'
const OPERATOR_STX = 100_000_000_000n
const CLARITY_VERSION = 3
const ONE_TOKEN = 1_000_000n

/** The epoch of mainnet: a deployment that names no version gets one without `as-contract`, as there. */
const EPOCH = '4.0'
const DEFAULT_CLARITY_VERSION = 6
const SECONDS_PER_BURN_BLOCK = 600
/** What the VM adds to the clock of the machine for its first block. */
const FIRST_BLOCK_SECONDS = 610

const CONTRACTS: { name: string; file: string; names?: Record<string, string> }[] = [
  { name: 'sip010-trait', file: 'sip010-trait' },
  { name: 'subnet-token-trait', file: 'subnet-token-trait' },
  { name: 'vault-trait', file: 'vault-trait' },
  { name: 'intent-verifier', file: 'intent-verifier' },
  { name: 'key-token', file: 'token', names: { 'token-asset': 'key', TKN: 'KEY' } },
  { name: 'usd-token', file: 'token', names: { 'token-asset': 'usd', TKN: 'USD' } },
  { name: 'ore-token', file: 'token', names: { 'token-asset': 'ore', TKN: 'ORE' } },
  {
    name: 'key-token-subnet',
    file: 'subnet-token',
    names: { '.base-token': '.key-token', TKN: 'KEY' },
  },
  ...VAULTS.map(({ vault, tokenA, tokenB }) => ({
    name: nameOf(vault),
    file: 'vault',
    names: { '.token-a': `.${nameOf(tokenA)}`, '.token-b': `.${nameOf(tokenB)}` },
  })),
  { name: 'x-multihop', file: 'router' },
]

const RESERVES: readonly (readonly [token: string, vault: string, amount: bigint])[] = [
  [INPUT_TOKEN, VAULTS[0].vault, 1_000_000n * ONE_TOKEN],
  [OUTPUT_TOKEN, VAULTS[0].vault, 500_000n * ONE_TOKEN],
  [OUTPUT_TOKEN, VAULTS[1].vault, 400_000n * ONE_TOKEN],
  [FAR_TOKEN, VAULTS[1].vault, 100_000n * ONE_TOKEN],
]

export const TOKENS = [BASE_TOKEN, INPUT_TOKEN, OUTPUT_TOKEN, FAR_TOKEN] as const

export async function startChain(): Promise<ClarityChain> {
  const { getSDK, tx } = await import('@stacks/clarinet-sdk')
  // The SDK adds it on import: with it, JSON.stringify hides a bigint that was never meant for the wire.
  Reflect.deleteProperty(BigInt.prototype, 'toJSON')

  const simnet = await getSDK({ trackCosts: true, trackCoverage: false })
  const sources = [
    ...(await Promise.all(CONTRACTS.map(readSource))),
    ...(await committedRouterSources({
      network: 'devnet',
      router: COMMITTED_ROUTER,
      verifier: INTENT_VERIFIER,
    })),
  ]
  let interfaces: ReturnType<typeof simnet.getContractsInterfaces>

  const call = (contract: string, fn: string, args: ClarityValue[], sender = DEPLOYER) =>
    tx.callPublicFn(contract, fn, withoutJson(args), sender)

  // Balances bound both amounts, and all STX there is stays below 2^53 micro-STX.
  const send = (amount: bigint, recipient: string, sender: string) =>
    tx.transferSTX(Number(amount), recipient, sender)

  const deploy = (action: Extract<ChainAction, { kind: 'deploy' }>, sender: string) => {
    const options = { clarityVersion: action.clarityVersion ?? DEFAULT_CLARITY_VERSION }
    // The VM does not survive a second contract of the same name; what replaces it does not parse.
    const exists = interfaces.has(`${sender}.${action.name}`)
    const source = exists ? '(contract already exists' : action.source
    return tx.deployContract(action.name, source, options as DeployContractOptions, sender)
  }

  const mint = (token: string, recipient: string, amount: bigint) =>
    token === INPUT_TOKEN
      ? [
          call(BASE_TOKEN, 'mint', [uintCV(amount), principalCV(DEPLOYER)]),
          call(INPUT_TOKEN, 'deposit', [uintCV(amount), principalCV(recipient)]),
        ]
      : [call(token, 'mint', [uintCV(amount), principalCV(recipient)])]

  const chain: ClarityChain = {
    async restart() {
      await atTime(DEVNET_GENESIS_TIME - FIRST_BLOCK_SECONDS, () =>
        simnet.initEmptySession({ enabled: false }),
      )
      simnet.deployer = DEPLOYER
      simnet.setEpoch(EPOCH)
      for (const { name, source } of sources) {
        const options = { clarityVersion: CLARITY_VERSION }
        quietly(() => simnet.deployContract(name, source, options, DEPLOYER))
      }
      interfaces = simnet.getContractsInterfaces()

      const seeds = RESERVES.flatMap(([token, vault, amount]) => mint(token, vault, amount))
      const allow = call(COMMITTED_ROUTER, 'allow-input', [principalCV(INPUT_TOKEN)])
      for (const { result } of quietly(() => simnet.mineBlock([...seeds, allow]))) {
        if (result.type !== 'ok') throw new Error(`no reserves: ${cvToString(result)}`)
      }
      quietly(() => simnet.mintSTX(DEVNET_OPERATOR_ADDRESS, OPERATOR_STX))
    },

    height: () => simnet.stacksBlockHeight,

    stxBalance: (principal) =>
      asBigInt(quietly(() => simnet.execute(`(stx-get-balance '${principal})`)).result),

    tokenBalance: (token, principal) =>
      asBigInt(chain.readOnly(token, 'get-balance', [principalCV(principal)], DEPLOYER)),

    interfaceOf: (contract) => interfaces.get(contract) as ClarityAbi | undefined,

    sourceOf: (contract) =>
      interfaces.has(contract) ? simnet.getContractSource(contract) : undefined,

    readOnly: (contract, fn, args, sender) =>
      quietly(() => simnet.callReadOnlyFn(contract, fn, args, sender)).result,

    mine(sender, fee, action) {
      const txs: ReturnType<typeof send | typeof call | typeof deploy>[] = [
        send(fee, FEES_GO_TO, sender),
      ]
      if (action.kind === 'call') txs.push(call(action.contract, action.fn, action.args, sender))
      if (action.kind === 'transfer') txs.push(send(action.amount, action.recipient, sender))
      if (action.kind === 'deploy') txs.push(deploy(action, sender))
      try {
        const done = quietly(() => simnet.mineBlock(txs)).at(-1)
        if (done === undefined || action.kind === 'nothing') return NOTHING
        const cost = done.costs?.total ?? NO_COST
        const events = done.events as ChainEvent[]
        if (action.kind !== 'deploy') {
          const ok = done.result.type === 'ok'
          return { ok, result: done.result, events, cost, vmError: null }
        }
        interfaces = simnet.getContractsInterfaces()
        return { ok: true, result: responseOkCV(trueCV()), events, cost, vmError: null }
      } catch (thrown) {
        // The SDK throws where a chain reports abort_by_response; the fee is charged either way.
        const vmError = thrown instanceof Error ? thrown.message : String(thrown)
        return { ok: false, result: BROKEN, events: [], cost: NO_COST, vmError }
      }
    },

    grant(address) {
      quietly(() => simnet.mintSTX(address, FAUCET_STX))
      quietly(() =>
        simnet.mineBlock([
          ...mint(BASE_TOKEN, address, FAUCET_BASE_TOKEN),
          ...mint(INPUT_TOKEN, address, FAUCET_INPUT_TOKEN),
        ]),
      )
    },

    passTime(seconds) {
      const until = Number(simnet.getBlockTime()) + seconds
      const left = () => until - Number(simnet.getBlockTime())
      // A burn block ends 600 s after the last one, however many blocks were mined in between.
      while (left() >= SECONDS_PER_BURN_BLOCK) {
        const burnBlocks = Math.floor(left() / SECONDS_PER_BURN_BLOCK)
        quietly(() => simnet.mineEmptyBurnBlocks(burnBlocks))
      }
      const blocks = Math.ceil(left() / DEVNET_SECONDS_PER_BLOCK)
      quietly(() => simnet.mineEmptyStacksBlocks(blocks))
    },
  }

  await chain.restart()
  return chain
}

export const NO_COST: Cost = {
  runtime: 0,
  readCount: 0,
  readLength: 0,
  writeCount: 0,
  writeLength: 0,
}
const NOTHING: Execution = { ok: true, result: noneCV(), events: [], cost: NO_COST, vmError: null }
const BROKEN = responseErrorCV(noneCV())

/** The VM begins its clock where the machine's is, which it reads from `Date`. */
async function atTime<T>(seconds: number, run: () => Promise<T>): Promise<T> {
  const machine = globalThis.Date
  const begins = seconds * 1000
  globalThis.Date = class extends machine {
    constructor(...given: [] | [number | string]) {
      super(given[0] ?? begins)
    }
  } as DateConstructor
  try {
    return await run()
  } finally {
    globalThis.Date = machine
  }
}

async function readSource({ name, file, names = {} }: (typeof CONTRACTS)[number]) {
  let source = await readFile(new URL(`./contracts/${file}.clar`, import.meta.url), 'utf8')
  for (const [from, to] of Object.entries(names)) source = source.replaceAll(from, to)
  return { name, source }
}

function nameOf(contract: string): string {
  return contract.slice(contract.indexOf('.') + 1)
}

function asBigInt(value: ClarityValue): bigint {
  if (value.type === 'ok') return asBigInt(value.value)
  if (value.type === 'uint') return BigInt(value.value)
  throw new Error(`expected a uint, got ${cvToString(value)}`)
}

/** mineBlock JSON-stringifies its arguments beside serialising them, and a bigint has no JSON. */
function withoutJson(args: ClarityValue[]): ClarityValue[] {
  return Object.assign([...args], { toJSON: () => [] })
}

/** The SDK writes diagnostics to the console, and stdout belongs to the ready line. */
function quietly<T>(run: () => T): T {
  const { log, info, warn, error, debug } = console
  const silent = () => {}
  Object.assign(console, { log: silent, info: silent, warn: silent, error: silent, debug: silent })
  try {
    return run()
  } catch (thrown) {
    throw thrown instanceof Error ? thrown : new Error(String(thrown))
  } finally {
    Object.assign(console, { log, info, warn, error, debug })
  }
}
