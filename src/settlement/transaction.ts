import {
  AuthType,
  bufferCV,
  type ClarityValue,
  contractPrincipalCV,
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
  type StacksTransactionWire,
  serializePayloadBytes,
  someCV,
  stringAsciiCV,
  TransactionSigner,
  tupleCV,
  txidFromData,
  uintCV,
} from '@stacks/transactions'
import type { ContractSource } from '../contracts/committed-router.ts'
import { fromHex, sha512_256, toHex } from '../crypto/bytes.ts'
import { memoize } from '../memoize.ts'
import { committedTermsTuple, swapAccountOf } from '../stacks/committed.ts'
import type { Network } from '../stacks/network.ts'
import { hash160 } from '../stacks/public-key.ts'
import {
  nobleSign,
  parsePrivateKey,
  publicKeyOf as publicKeyOfSecret,
  type SignDigest,
} from '../stacks/sign.ts'
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
  payload(): Uint8Array
  /** The size of the signed transaction. */
  byteLength: number
  sign(operator: SwapSigner): Promise<SignedTransaction>
}

export interface SwapSigner extends Omit<SigningOptions, 'network'> {
  /** By default JavaScript signs. */
  signDigest?: SignDigest
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
  const bytes = unsigned.serializeBytes()
  return {
    payload: () => serializePayloadBytes(unsigned.payload),
    byteLength: bytes.length,
    sign: signerOf(bytes),
  }
}

/** Where the bytes of a transaction with a single signature have what its signer decides (SIP-005). */
const SIGNER_AT = 7
const NONCE_AT = 27
const FEE_AT = 35
const KEY_ENCODING_AT = 43
const SIGNATURE_AT = 44
const UNCOMPRESSED = 1

/**
 * Signs the bytes of a transaction for operators, nonces and fees. They are written once, without them: stacks.js would decode every
 * address of the call again for each digest and each signature. The result is that of `makeContractCall`.
 */
function signerOf(unsigned: Uint8Array): UnsignedSwap['sign'] {
  const signedBy = memoize(1, (publicKey) => {
    const bytes = new Uint8Array(unsigned)
    bytes.set(fromHex(hash160(publicKey)), SIGNER_AT)
    if (publicKey.length > PLACEHOLDER_PUBLIC_KEY.length) bytes[KEY_ENCODING_AT] = UNCOMPRESSED
    return { bytes, digest: sha512_256(bytes) }
  })
  return async ({ privateKey, nonce, feeInMicroStx, signDigest = nobleSign }) => {
    const { bytes, digest } = signedBy(publicKeyOf(privateKey))
    const raw = new Uint8Array(bytes)
    const { secret } = parsePrivateKey(privateKey)
    raw.set(signDigest(digestToSign(digest, nonce, feeInMicroStx), secret), SIGNATURE_AT)
    const numbers = new DataView(raw.buffer)
    numbers.setBigUint64(NONCE_AT, BigInt(nonce))
    numbers.setBigUint64(FEE_AT, BigInt(feeInMicroStx))
    return { txid: toHex(sha512_256(raw)), raw, nonce, feeInMicroStx }
  }
}

/** What a signer signs: the digest of the transaction without nonce, fee and signature, and then those two. */
function digestToSign(digest: Uint8Array, nonce: number, feeInMicroStx: number): Uint8Array {
  const text = new Uint8Array(digest.length + 17)
  const numbers = new DataView(text.buffer)
  text.set(digest)
  numbers.setUint8(digest.length, AuthType.Standard)
  numbers.setBigUint64(digest.length + 1, BigInt(feeInMicroStx))
  numbers.setBigUint64(digest.length + 9, BigInt(nonce))
  return sha512_256(text)
}

/** Deriving it takes as long as half a signature. A process has few operators. */
const publicKeyOf = memoize(100, publicKeyOfSecret)

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

/** Its check of the address takes as long as a native signature. Few contracts are traded. */
const contractOf = memoize(1_000, (contractId) => contractPrincipalCV(...contractParts(contractId)))

function contractParts(contractId: string): [address: string, name: string] {
  const [address = '', name = ''] = contractId.split('.')
  return [address, name]
}
