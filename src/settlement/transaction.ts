import {
  bufferCV,
  type ClarityValue,
  contractPrincipalCV,
  deserializeCV,
  deserializeTransaction,
  makeContractCall,
  makeSTXTokenTransfer,
  type PostCondition,
  PostConditionMode,
  principalCV,
  type StacksTransactionWire,
  stringAsciiCV,
  TransactionSigner,
  tupleCV,
  uintCV,
} from '@stacks/transactions'
import { fromHex } from '../crypto/bytes.ts'
import type { Network } from '../stacks/network.ts'
import type { Hop } from './chain.ts'

/** A signed transaction. Its txid is a hash of its bytes, so it is known before they are sent. */
export interface SignedTransaction {
  txid: string
  raw: Uint8Array<ArrayBuffer>
  nonce: number
  feeInMicroStx: number
}

export interface Swap {
  router: string
  inputToken: string
  amountIn: string
  /** The owner's intent signature, RSV. */
  signature: Uint8Array
  uuid: string
  hops: readonly Hop[]
  outputToken: string
  /** The name of the output token's asset, for the post-condition. */
  outputAsset: string
  recipient: string
  minimumReceived: string
}

/** The operator's part of a transaction. */
export interface SigningOptions {
  privateKey: string
  nonce: number
  feeInMicroStx: number
  network: Network
}

/** Burn addresses. Nodes reject transfers of 0 and transfers to the sender. */
const BURN_ADDRESS = {
  mainnet: 'SP000000000000000000002Q6VF78',
  testnet: 'ST000000000000000000002AMW42H',
  devnet: 'ST000000000000000000002AMW42H',
} as const satisfies Record<Network, string>

/** Builds and signs `x-swap-N` of the router: one tuple for the input, one for each hop, one for the output. */
export async function signSwap(swap: Swap, operator: SigningOptions): Promise<SignedTransaction> {
  const [routerAddress, routerName] = contractParts(swap.router)
  const transaction = await makeContractCall({
    contractAddress: routerAddress,
    contractName: routerName,
    functionName: `x-swap-${swap.hops.length}`,
    functionArgs: [
      tupleCV({
        token: contractOf(swap.inputToken),
        amount: uintCV(BigInt(swap.amountIn)),
        signature: bufferCV(swap.signature),
        uuid: stringAsciiCV(swap.uuid),
      }),
      ...swap.hops.map((hop) =>
        tupleCV({
          vault: contractOf(hop.vault),
          opcode: bufferCV(fromHex(hop.opcode.replace(/^0x/, ''))),
        }),
      ),
      tupleCV({ token: contractOf(swap.outputToken), to: principalCV(swap.recipient) }),
    ],
    postConditionMode: PostConditionMode.Deny,
    postConditions: postConditionsOf(swap),
    senderKey: operator.privateKey,
    nonce: operator.nonce,
    fee: operator.feeInMicroStx,
    network: operator.network,
    validateWithAbi: false,
  })
  return signed(transaction, operator)
}

/** Builds and signs a filler, which uses up a nonce: one micro-STX to a burn address. */
export async function signFiller(operator: SigningOptions): Promise<SignedTransaction> {
  const transaction = await makeSTXTokenTransfer({
    recipient: BURN_ADDRESS[operator.network],
    amount: 1n,
    senderKey: operator.privateKey,
    nonce: operator.nonce,
    fee: operator.feeInMicroStx,
    network: operator.network,
  })
  return signed(transaction, operator)
}

/** Signs the same transaction with another fee: a node replaces the first one if this one pays more. */
export function signAgain(
  raw: Uint8Array,
  operator: Omit<SigningOptions, 'network' | 'nonce'>,
): SignedTransaction {
  const transaction = deserializeTransaction(raw)
  transaction.setFee(operator.feeInMicroStx)
  new TransactionSigner(transaction).signOrigin(operator.privateKey)
  const nonce = Number(transaction.auth.spendingCondition.nonce)
  return signed(transaction, { ...operator, nonce })
}

function signed(
  transaction: StacksTransactionWire,
  { nonce, feeInMicroStx }: Pick<SigningOptions, 'nonce' | 'feeInMicroStx'>,
): SignedTransaction {
  return {
    txid: transaction.txid(),
    raw: new Uint8Array(transaction.serializeBytes()),
    nonce,
    feeInMicroStx,
  }
}

/** Parses a router's result, `(ok (list {dx, dy, dk} ..))`: the last `dy` was paid out. */
export function amountOutOf(resultHex: string): string | undefined {
  try {
    const result: ClarityValue = deserializeCV(resultHex)
    const hops = result.type === 'ok' ? result.value : undefined
    const last = hops?.type === 'list' ? hops.value.at(-1) : undefined
    const paid = last?.type === 'tuple' ? last.value.dy : undefined
    return paid?.type === 'uint' ? String(paid.value) : undefined
  } catch {
    return undefined
  }
}

/**
 * Deny mode with these exceptions: the last vault pays at least the minimum, the other vaults pay any amount, and the
 * router passes it on. A malicious token contract in a trader's order cannot move the operator's own assets.
 */
function postConditionsOf(swap: Swap): PostCondition[] {
  const output = `${swap.outputToken}::${swap.outputAsset}`
  const last = swap.hops.length - 1
  return swap.hops.flatMap((hop, at) => {
    const asset = at === last ? output : hop.asset
    if (asset === undefined) return []
    return [
      sends(hop.vault, asset, at === last ? swap.minimumReceived : '0'),
      sends(swap.router, asset, '0'),
    ]
  })
}

function sends(address: string, asset: string, atLeast: string): PostCondition {
  return {
    type: 'ft-postcondition',
    address,
    condition: 'gte',
    amount: atLeast,
    asset: asset as `${string}.${string}::${string}`,
  }
}

function contractOf(contractId: string) {
  return contractPrincipalCV(...contractParts(contractId))
}

function contractParts(contractId: string): [address: string, name: string] {
  const [address = '', name = ''] = contractId.split('.')
  return [address, name]
}
