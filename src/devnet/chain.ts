import { readFile } from 'node:fs/promises'
import {
  type ClarityAbi,
  type ClarityValue,
  cvToString,
  noneCV,
  principalCV,
  responseErrorCV,
  uintCV,
} from '@stacks/transactions'
import {
  BASE_TOKEN,
  DEPLOYER,
  DEVNET_OPERATOR_ADDRESS,
  FAR_TOKEN,
  FAUCET_BASE_TOKEN,
  FAUCET_INPUT_TOKEN,
  FAUCET_STX,
  INPUT_TOKEN,
  OUTPUT_TOKEN,
  VAULTS,
} from './constants.ts'

export interface ChainEvent {
  event: string
  data: Record<string, unknown>
}

export interface Outcome {
  ok: boolean
  result: ClarityValue
  events: ChainEvent[]
  vmError: string | null
}

export type ChainAction =
  | { kind: 'call'; contract: string; fn: string; args: ClarityValue[] }
  | { kind: 'transfer'; recipient: string; amount: bigint }
  /** The fee is charged and nothing happens. */
  | { kind: 'nothing' }

/** One Clarity state. It only goes forward: what must be undone is left out of a replay. */
export interface ClarityChain {
  /** Back to the first block. */
  restart(): Promise<void>
  height(): number
  stxBalance(principal: string): bigint
  tokenBalance(token: string, principal: string): bigint
  interfaceOf(contract: string): ClarityAbi | undefined
  readOnly(contract: string, fn: string, args: ClarityValue[], sender: string): ClarityValue
  /** One block: the fee leaves the sender, then the action. */
  mine(sender: string, fee: bigint, action: ChainAction): Outcome
  grant(address: string): void
}

const FEES_GO_TO = 'ST000000000000000000002AMW42H'
const OPERATOR_STX = 100_000_000_000n
const CLARITY_VERSION = 3
const ONE_TOKEN = 1_000_000n

const CONTRACTS: { name: string; file: string; names?: Record<string, string> }[] = [
  { name: 'sip010-trait', file: 'sip010-trait' },
  { name: 'subnet-token-trait', file: 'subnet-token-trait' },
  { name: 'vault-trait', file: 'vault-trait' },
  { name: 'intent-verifier', file: 'intent-verifier' },
  { name: 'key-token', file: 'token', names: { 'token-asset': 'key', TKN: 'KEY' } },
  { name: 'usd-token', file: 'token', names: { 'token-asset': 'usd', TKN: 'USD' } },
  { name: 'ore-token', file: 'token', names: { 'token-asset': 'ore', TKN: 'ORE' } },
  { name: 'key-token-subnet', file: 'subnet-token', names: { '.base-token': '.key-token' } },
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

  const simnet = await getSDK()
  const sources = await Promise.all(CONTRACTS.map(readSource))
  let interfaces: ReturnType<typeof simnet.getContractsInterfaces>

  const call = (contract: string, fn: string, args: ClarityValue[], sender = DEPLOYER) =>
    tx.callPublicFn(contract, fn, withoutJson(args), sender)

  // Balances bound both amounts, and all STX there is stays below 2^53 micro-STX.
  const send = (amount: bigint, recipient: string, sender: string) =>
    tx.transferSTX(Number(amount), recipient, sender)

  const mint = (token: string, recipient: string, amount: bigint) =>
    token === INPUT_TOKEN
      ? [
          call(BASE_TOKEN, 'mint', [uintCV(amount), principalCV(DEPLOYER)]),
          call(INPUT_TOKEN, 'deposit', [uintCV(amount), principalCV(recipient)]),
        ]
      : [call(token, 'mint', [uintCV(amount), principalCV(recipient)])]

  const chain: ClarityChain = {
    async restart() {
      await simnet.initEmptySession({ enabled: false })
      simnet.deployer = DEPLOYER
      simnet.setEpoch('3.0')
      for (const { name, source } of sources) {
        const options = { clarityVersion: CLARITY_VERSION }
        quietly(() => simnet.deployContract(name, source, options, DEPLOYER))
      }
      interfaces = simnet.getContractsInterfaces()

      const seeds = RESERVES.flatMap(([token, vault, amount]) => mint(token, vault, amount))
      for (const { result } of quietly(() => simnet.mineBlock(seeds))) {
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

    readOnly: (contract, fn, args, sender) =>
      quietly(() => simnet.callReadOnlyFn(contract, fn, args, sender)).result,

    mine(sender, fee, action) {
      const txs: ReturnType<typeof send | typeof call>[] = [send(fee, FEES_GO_TO, sender)]
      if (action.kind === 'call') txs.push(call(action.contract, action.fn, action.args, sender))
      if (action.kind === 'transfer') txs.push(send(action.amount, action.recipient, sender))
      try {
        const done = quietly(() => simnet.mineBlock(txs)).at(-1)
        if (done === undefined || action.kind === 'nothing') return NOTHING
        const ok = done.result.type === 'ok'
        return { ok, result: done.result, events: done.events as ChainEvent[], vmError: null }
      } catch (thrown) {
        // The SDK throws where a chain answers abort_by_response; the fee is spent either way.
        return {
          ok: false,
          result: responseErrorCV(noneCV()),
          events: [],
          vmError: thrown instanceof Error ? thrown.message : String(thrown),
        }
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
  }

  await chain.restart()
  return chain
}

const NOTHING: Outcome = { ok: true, result: noneCV(), events: [], vmError: null }

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
