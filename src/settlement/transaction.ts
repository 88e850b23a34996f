import {
  bufferCV,
  type ClarityValue,
  contractPrincipalCV,
  deserializeCV,
  deserializeTransaction,
  makeContractCall,
  makeSTXTokenTransfer,
  makeUnsignedContractCall,
  noneCV,
  type PostCondition,
  PostConditionMode,
  principalCV,
  type StacksTransactionWire,
  serializePayloadBytes,
  someCV,
  stringAsciiCV,
  TransactionSigner,
  tupleCV,
  uintCV,
} from '@stacks/transactions'
import { fromHex } from '../crypto/bytes.ts'
import { swapAccountOf } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import type { RoutableOrder, Route } from './swap.ts'

/** A signed transaction. Its txid is a hash of its bytes, so it is known before they are sent. */
export interface SignedTransaction {
  txid: string
  raw: Uint8Array<ArrayBuffer>
  nonce: number
  feeInMicroStx: number
}

/** What a swap is built from: a verified order and its route. */
export type Swap = Pick<
  RoutableOrder,
  | 'router'
  | 'inputToken'
  | 'amountIn'
  | 'signature'
  | 'uuid'
  | 'outputToken'
  | 'recipient'
  | 'minAmountOut'
  | 'commitSalt'
  | 'commitUntil'
  | 'committedBy'
> &
  Pick<Route, 'hops' | 'outputAsset' | 'minimumReceived'>

/** A swap that is not signed yet. */
export interface UnsignedSwap {
  /** The serialized payload, by which a node estimates a fee. */
  payload: Uint8Array
  /** The size of the signed transaction. */
  byteLength: number
  sign(operator: Omit<SigningOptions, 'network'>): Promise<SignedTransaction>
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

/** Any public key: it does not change a transaction's size. */
const PLACEHOLDER_PUBLIC_KEY = `02${'79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'}`

/** Builds `x-swap-N` of the order's router: one tuple for the input, one for each hop, one for the output. */
export async function buildSwap(swap: Swap, network: Network): Promise<UnsignedSwap> {
  const [contractAddress, contractName] = contractParts(swap.router)
  const call = {
    contractAddress,
    contractName,
    functionName: `x-swap-${swap.hops.length}`,
    functionArgs: [inputOf(swap), ...hopsOf(swap), outputOf(swap)],
    postConditionMode: PostConditionMode.Deny,
    postConditions: postConditionsOf(swap),
    network,
    validateWithAbi: false,
  }
  const unsigned = await makeUnsignedContractCall({
    ...call,
    publicKey: PLACEHOLDER_PUBLIC_KEY,
    nonce: 0,
    fee: 0,
  })
  return {
    payload: serializePayloadBytes(unsigned.payload),
    byteLength: unsigned.serializeBytes().length,
    async sign({ privateKey, nonce, feeInMicroStx }) {
      const transaction = await makeContractCall({
        ...call,
        senderKey: privateKey,
        nonce,
        fee: feeInMicroStx,
      })
      return signed(transaction, { nonce, feeInMicroStx })
    },
  }
}

function inputOf({ inputToken, amountIn, signature, uuid }: Swap): ClarityValue {
  return tupleCV({
    token: contractOf(inputToken),
    amount: uintCV(BigInt(amountIn)),
    signature: bufferCV(signature),
    uuid: stringAsciiCV(uuid),
  })
}

/** To a committed router, each hop before the last also names the token that it pays, where that is known. */
function hopsOf(swap: Swap): ClarityValue[] {
  return swap.hops.map(({ vault, opcode, asset }, at) => {
    const hop = { vault: contractOf(vault), opcode: bufferCV(fromHex(opcode.replace(/^0x/, ''))) }
    if (swap.commitSalt === null || at === swap.hops.length - 1) return tupleCV(hop)
    const paid = asset?.split('::')[0]
    return tupleCV({ ...hop, token: paid === undefined ? noneCV() : someCV(contractOf(paid)) })
  })
}

/** To a committed router, the terms that the uuid is derived from. */
function outputOf(swap: Swap): ClarityValue {
  const { outputToken, recipient, minAmountOut, commitSalt, commitUntil, committedBy } = swap
  const token = contractOf(outputToken)
  const to = principalCV(recipient)
  if (minAmountOut === null || commitSalt === null || commitUntil === null)
    return tupleCV({ token, to })
  return tupleCV({
    by: committedBy === null ? noneCV() : someCV(principalCV(committedBy)),
    min: uintCV(BigInt(minAmountOut)),
    salt: bufferCV(commitSalt),
    to,
    token,
    until: uintCV(commitUntil),
  })
}

/**
 * Builds and signs a call of the verifier that uses up a uuid. The signature may be any from which a public key can be
 * recovered: the verifier marks the uuid as used for every caller.
 */
export async function signBurn(
  { verifier, uuid }: { verifier: string; uuid: string },
  operator: SigningOptions,
): Promise<SignedTransaction> {
  const [contractAddress, contractName] = contractParts(verifier)
  const transaction = await makeContractCall({
    contractAddress,
    contractName,
    functionName: 'execute',
    functionArgs: [
      bufferCV(fromHex(RECOVERABLE_SIGNATURE)),
      stringAsciiCV('BURN'),
      noneCV(),
      noneCV(),
      noneCV(),
      stringAsciiCV(uuid),
    ],
    postConditionMode: PostConditionMode.Deny,
    postConditions: [],
    senderKey: operator.privateKey,
    nonce: operator.nonce,
    fee: operator.feeInMicroStx,
    network: operator.network,
    validateWithAbi: false,
  })
  return signed(transaction, operator)
}

/** RSV whose r is the x coordinate of the curve's generator and whose s is 1: a public key can be recovered for any hash. */
const RECOVERABLE_SIGNATURE = `79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798${'1'.padStart(64, '0')}00`

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
 * contract that swaps passes it on. A malicious token contract in a trader's order cannot move the operator's own assets.
 */
function postConditionsOf(swap: Swap): PostCondition[] {
  const output = `${swap.outputToken}::${swap.outputAsset}`
  const last = swap.hops.length - 1
  const swapper = swap.commitSalt === null ? swap.router : swapAccountOf(swap.router)
  return swap.hops.flatMap((hop, at) => {
    const asset = at === last ? output : hop.asset
    if (asset === undefined) return []
    return [
      sends(hop.vault, asset, at === last ? swap.minimumReceived : '0'),
      sends(swapper, asset, '0'),
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
