import {
  AddressHashMode,
  AuthType,
  bufferCV,
  type ClarityValue,
  contractPrincipalCV,
  createMessageSignature,
  createSingleSigSpendingCondition,
  createStandardAuth,
  deserializeCV,
  deserializeTransaction,
  makeContractCall,
  makeContractDeploy,
  makeSTXTokenTransfer,
  makeUnsignedContractCall,
  noneCV,
  type PostCondition,
  PostConditionMode,
  principalCV,
  privateKeyToPublic,
  publicKeyToHex,
  type StacksTransactionWire,
  serializePayloadBytes,
  sigHashPreSign,
  signWithKey,
  someCV,
  stringAsciiCV,
  TransactionSigner,
  tupleCV,
  txidFromData,
  uintCV,
} from '@stacks/transactions'
import type { ContractSource } from '../contracts/committed-router.ts'
import { fromHex } from '../crypto/bytes.ts'
import { memoize } from '../memoize.ts'
import { committedTermsTuple, swapAccountOf } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import type { Hop } from './chain.ts'
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
  | 'terms'
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

/** An intent to make worthless: any sender can burn a uuid at the verifier. */
export interface Burn {
  /** Contract id of the intent verifier. */
  verifier: string
  uuid: string
}

/** An input to pay back: a stranger moved it to a committed router without a swap. */
export interface Refund {
  router: string
  inputToken: string
  amountIn: string
  uuid: string
  /** The owner's intent signature, 65 bytes hex, RSV. */
  signature: string
  owner: string
}

/** The signer's part of a transaction. */
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

/** The x of the generator of secp256k1. */
const GENERATOR_X = '79be667ef9dcbbac55a06295ce870b07029bfcdb2dce28d959f2815b16f81798'

/** Any public key: a transaction's size does not depend on it. */
const PLACEHOLDER_PUBLIC_KEY = `02${GENERATOR_X}`

/**
 * Builds `x-swap-N` of the router: one tuple for the input, one for each hop, one for the output. For a committed router the
 * output is the terms, and a hop before the last names the token that it pays, where the quote says it.
 */
export async function buildSwap(swap: Swap, network: Network): Promise<UnsignedSwap> {
  const functionArgs = [
    tupleCV({
      token: contractOf(swap.inputToken),
      amount: uintCV(BigInt(swap.amountIn)),
      signature: bufferCV(swap.signature),
      uuid: stringAsciiCV(swap.uuid),
    }),
    ...swap.hops.map((hop, at) =>
      tupleCV({
        vault: contractOf(hop.vault),
        opcode: bufferCV(fromHex(hop.opcode.replace(/^0x/, ''))),
        ...(swap.terms !== undefined && at < swap.hops.length - 1 && { token: tokenPaidBy(hop) }),
      }),
    ),
    swap.terms === undefined
      ? tupleCV({ token: contractOf(swap.outputToken), to: principalCV(swap.recipient) })
      : deserializeCV(committedTermsTuple(swap.terms, network)),
  ]
  const call: Call = {
    contract: swap.router,
    functionName: `x-swap-${swap.hops.length}`,
    functionArgs,
    postConditions: postConditionsOf(swap),
  }
  const unsigned = await makeUnsignedContractCall({
    ...callOptions(call, network),
    publicKey: PLACEHOLDER_PUBLIC_KEY,
    nonce: 0,
    fee: 0,
  })
  const payload = serializePayloadBytes(unsigned.payload)
  const byteLength = unsigned.serializeBytes().length
  return { payload, byteLength, sign: signerOf(unsigned) }
}

/**
 * Signs a transaction for operators, nonces and fees. A digest is of the transaction and its signer, so that signing for
 * another nonce builds nothing again. The bytes are those of `makeContractCall`, in a third of its time.
 */
function signerOf(transaction: StacksTransactionWire): UnsignedSwap['sign'] {
  const digestOf = memoize(1, (publicKey) => {
    transaction.auth = createStandardAuth(payerOf(publicKey, { nonce: 0, feeInMicroStx: 0 }))
    return transaction.signBegin()
  })
  return async (operator) => {
    const { privateKey, nonce, feeInMicroStx } = operator
    const publicKey = publicKeyOf(privateKey)
    const digest = sigHashPreSign(digestOf(publicKey), AuthType.Standard, feeInMicroStx, nonce)
    const signature = createMessageSignature(signWithKey(privateKey, digest))
    transaction.auth = createStandardAuth({ ...payerOf(publicKey, operator), signature })
    return signed(transaction, operator)
  }
}

function payerOf(
  publicKey: string,
  { nonce, feeInMicroStx }: Pick<SigningOptions, 'nonce' | 'feeInMicroStx'>,
) {
  return createSingleSigSpendingCondition(AddressHashMode.P2PKH, publicKey, nonce, feeInMicroStx)
}

/** Deriving it takes as long as half a signature. A process has few operators. */
const publicKeyOf = memoize(100, (privateKey) => publicKeyToHex(privateKeyToPublic(privateKey)))

/**
 * Builds and signs a burn: the verifier's `execute`, which uses the uuid up. It needs a signature that recovers to some key,
 * whichever; the other arguments are as short as their types allow.
 */
export async function signBurn(burn: Burn, operator: SigningOptions): Promise<SignedTransaction> {
  const functionArgs = [
    bufferCV(fromHex(ANY_SIGNATURE)),
    stringAsciiCV(''),
    noneCV(),
    noneCV(),
    noneCV(),
    stringAsciiCV(burn.uuid),
  ]
  const call = {
    contract: burn.verifier,
    functionName: 'execute',
    functionArgs,
    postConditions: [],
  }
  return signCall(call, operator)
}

/** Builds and signs the deployment of a contract, in the Clarity version that it is written in. */
export async function signDeployment(
  contract: ContractSource,
  deployer: SigningOptions,
): Promise<SignedTransaction> {
  const transaction = await makeContractDeploy({
    contractName: contract.name,
    codeBody: contract.source,
    clarityVersion: contract.clarityVersion,
    postConditionMode: PostConditionMode.Deny,
    senderKey: deployer.privateKey,
    nonce: deployer.nonce,
    fee: deployer.feeInMicroStx,
    network: deployer.network,
  })
  return signed(transaction, deployer)
}

/** Returns the serialized payload of a transaction, by which a node estimates a fee. */
export function payloadOf(raw: Uint8Array): Uint8Array {
  return serializePayloadBytes(deserializeTransaction(raw).payload)
}

/** Builds and signs a deployer's permission for an input token of its committed router. */
export function signAllowInput(
  { router, token }: { router: string; token: string },
  deployer: SigningOptions,
): Promise<SignedTransaction> {
  const functionArgs = [contractOf(token)]
  const call = { contract: router, functionName: 'allow-input', functionArgs, postConditions: [] }
  return signCall(call, deployer)
}

/** Builds and signs a deployer's refund of an input that waits in its committed router. */
export function signRefund(refund: Refund, deployer: SigningOptions): Promise<SignedTransaction> {
  const input = tupleCV({
    token: contractOf(refund.inputToken),
    amount: uintCV(BigInt(refund.amountIn)),
    signature: bufferCV(fromHex(refund.signature)),
    uuid: stringAsciiCV(refund.uuid),
  })
  const functionArgs = [input, principalCV(refund.owner)]
  const contract = refund.router
  return signCall({ contract, functionName: 'refund', functionArgs, postConditions: [] }, deployer)
}

/** A signature that recovers to a key whatever the message is: r is the x of a point, and s is 1. RSV. */
const ANY_SIGNATURE = `${GENERATOR_X}${'1'.padStart(64, '0')}00`

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

interface Call {
  contract: string
  functionName: string
  functionArgs: ClarityValue[]
  postConditions: PostCondition[]
}

function callOptions({ contract, ...call }: Call, network: Network) {
  const [contractAddress, contractName] = contractParts(contract)
  return {
    ...call,
    contractAddress,
    contractName,
    postConditionMode: PostConditionMode.Deny,
    network,
    validateWithAbi: false,
  }
}

async function signCall(call: Call, operator: SigningOptions): Promise<SignedTransaction> {
  const { privateKey, nonce, feeInMicroStx, network } = operator
  const transaction = await makeContractCall({
    ...callOptions(call, network),
    senderKey: privateKey,
    nonce,
    fee: feeInMicroStx,
  })
  return signed(transaction, operator)
}

function signed(
  transaction: StacksTransactionWire,
  { nonce, feeInMicroStx }: Pick<SigningOptions, 'nonce' | 'feeInMicroStx'>,
): SignedTransaction {
  const raw = new Uint8Array(transaction.serializeBytes())
  return { txid: txidFromData(raw), raw, nonce, feeInMicroStx }
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
  const trader = swap.terms === undefined ? swap.router : swapAccountOf(swap.router)
  return swap.hops.flatMap((hop, at) => {
    const asset = at === last ? output : hop.asset
    if (asset === undefined) return []
    return [
      sends(hop.vault, asset, at === last ? swap.minimumReceived : '0'),
      sends(trader, asset, '0'),
    ]
  })
}

/** The most that a post-condition can name: Clarity's amounts have 128 bits, those of post-conditions 64. */
export const MAX_CONDITION_AMOUNT = 2n ** 64n - 1n

function sends(address: string, asset: string, atLeast: string): PostCondition {
  const amount = BigInt(atLeast)
  return {
    type: 'ft-postcondition',
    address,
    condition: 'gte',
    amount: amount < MAX_CONDITION_AMOUNT ? amount : MAX_CONDITION_AMOUNT,
    asset: asset as `${string}.${string}::${string}`,
  }
}

function tokenPaidBy({ asset }: Hop): ClarityValue {
  const [token] = asset?.split('::') ?? []
  return token === undefined ? noneCV() : someCV(contractOf(token))
}

function contractOf(contractId: string) {
  return contractPrincipalCV(...contractParts(contractId))
}

function contractParts(contractId: string): [address: string, name: string] {
  const [address = '', name = ''] = contractId.split('.')
  return [address, name]
}
