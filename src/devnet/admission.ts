import {
  AuthType,
  addressFromVersionHash,
  addressHashModeToVersion,
  addressToString,
  type ClarityAbi,
  createAddress,
  deserializeTransaction,
  isSingleSig,
  PayloadType,
  type SpendingCondition,
  type StacksTransactionWire,
  StacksWireType,
  validateContractCall,
  wireToPostCondition,
} from '@stacks/transactions'
import { ok, type Result, refuse } from '../result.ts'
import type { ChainAction } from './chain.ts'
import { DEVNET_CHAIN_ID } from './constants.ts'
import type { Guards } from './guards.ts'

/** A node's response body for a transaction that it does not admit. */
export interface Rejection {
  error: 'transaction rejected'
  reason: string
  reason_data?: Record<string, unknown>
  txid: string
}

export interface Candidate {
  txid: string
  bytes: Uint8Array
  sender: string
  nonce: number
  fee: bigint
  action: ChainAction
  guards: Guards
}

/** The state of the chain that admission depends on. */
export interface Tip {
  /** In micro-STX a byte. */
  minimumFeeRate: bigint
  nonce(address: string): number
  balance(address: string): bigint
  interfaceOf(contract: string): ClarityAbi | undefined
}

type Refusal = { reason: string; data?: Record<string, unknown> }

const TESTNET = 0x80
/** MAXIMUM_MEMPOOL_TX_CHAINING of stacks-core, which allows one more than that beyond the account's nonce. */
const CHAINING_LIMIT = 25
const HALF_ORDER = 0x7fffffffffffffffffffffffffffffff5d576e7357a4501ddfe92f46681b20a0n
const TESTNET_VERSIONS = [26, 21]

/** Checks in the order of stacks-core's mempool, so that of several faults both report the same one. */
export function admit(bytes: Uint8Array, tip: Tip): Result<Candidate, 'rejected' | 'undecodable'> {
  const tx = decode(bytes)
  if (typeof tx === 'string') return refuse('undecodable', { message: tx })
  const candidate = candidateOf(tx)
  if ('reason' in candidate) return rejected(tx.txid(), candidate)
  const refusal =
    checkTransfer(candidate) ??
    checkSignature(tx) ??
    checkFee(candidate, tip) ??
    checkNonce(candidate, tip) ??
    checkBalance(candidate, tip) ??
    checkCall(tx, tip) ??
    checkDeployment(candidate, tip)
  return refusal === undefined ? ok(candidate) : rejected(candidate.txid, refusal)
}

/** Reads a transaction of the journal, which was admitted before, without checking it again. */
export function readmit(bytes: Uint8Array): Candidate {
  const tx = decode(bytes)
  const candidate = typeof tx === 'string' ? { reason: tx } : candidateOf(tx)
  if ('reason' in candidate) throw new Error(`journal holds no transaction: ${candidate.reason}`)
  return candidate
}

export function rejected(txid: string, { reason, data }: Refusal) {
  const body: Rejection = { error: 'transaction rejected', reason, txid }
  if (data !== undefined) body.reason_data = data
  return refuse('rejected', { ...body })
}

/** The transaction that the bytes begin with, as a node reads them, or the node's error message. */
function decode(bytes: Uint8Array): StacksTransactionWire | string {
  try {
    const tx = deserializeTransaction(bytes)
    const own = tx.serializeBytes()
    if (sameBytes(own, bytes.subarray(0, own.length))) return tx
    throw new Error('not the canonical bytes')
  } catch (fault) {
    return `Failed to decode: Failed to deserialize posted transaction: ${text(fault)}`
  }
}

function candidateOf(tx: StacksTransactionWire): Candidate | Refusal {
  if (tx.transactionVersion !== TESTNET) return { reason: 'BadTransactionVersion' }
  if (tx.auth.authType !== AuthType.Standard) return unsupported('sponsored transactions')
  const action = actionOf(tx)
  if ('reason' in action) return action
  const { spendingCondition } = tx.auth
  return {
    txid: tx.txid(),
    bytes: tx.serializeBytes(),
    sender: addressOf(spendingCondition),
    nonce: Number(spendingCondition.nonce),
    fee: BigInt(spendingCondition.fee),
    action,
    guards: {
      mode: tx.postConditionMode,
      conditions: tx.postConditions.values.map((wire) =>
        wireToPostCondition(wire as Parameters<typeof wireToPostCondition>[0]),
      ),
    },
  }
}

function actionOf({ payload }: StacksTransactionWire): ChainAction | Refusal {
  switch (payload.payloadType) {
    case PayloadType.ContractCall:
      return {
        kind: 'call',
        contract: `${addressToString(payload.contractAddress)}.${payload.contractName.content}`,
        fn: payload.functionName.content,
        args: payload.functionArgs,
      }
    case PayloadType.SmartContract:
    case PayloadType.VersionedSmartContract:
      return {
        kind: 'deploy',
        name: payload.contractName.content,
        source: payload.codeBody.content,
        clarityVersion: 'clarityVersion' in payload ? payload.clarityVersion : undefined,
      }
    case PayloadType.TokenTransfer:
      return { kind: 'transfer', recipient: payload.recipient.value, amount: payload.amount }
    case PayloadType.Coinbase:
    case PayloadType.CoinbaseToAltRecipient:
    case PayloadType.NakamotoCoinbase:
      return { reason: 'NoCoinbaseViaMempool' }
    case PayloadType.TenureChange:
      return { reason: 'NoTenureChangeViaMempool' }
    default:
      return unsupported('poison microblocks')
  }
}

function checkTransfer({ action, sender }: Candidate): Refusal | undefined {
  if (action.kind !== 'transfer') return
  if (action.recipient === sender) {
    return { reason: 'TransferRecipientCannotEqualSender', data: { recipient: sender } }
  }
  if (action.amount === 0n) return { reason: 'TransferAmountMustBePositive' }
  const { version } = createAddress(action.recipient.split('.')[0] ?? '')
  if (!TESTNET_VERSIONS.includes(version)) return { reason: 'BadAddressVersionByte' }
}

function checkSignature(tx: StacksTransactionWire): Refusal | undefined {
  const invalid = (message: string) => ({ reason: 'SignatureValidation', data: { message } })
  if (!signaturesOf(tx.auth.spendingCondition).every(isLowS)) return invalid('high-S signature')
  try {
    tx.verifyOrigin()
  } catch (fault) {
    return invalid(text(fault))
  }
  if (tx.chainId !== DEVNET_CHAIN_ID) {
    return invalid(`invalid chain ID ${tx.chainId} (expected ${DEVNET_CHAIN_ID})`)
  }
}

function checkFee({ bytes, fee }: Candidate, { minimumFeeRate }: Tip): Refusal | undefined {
  const expected = BigInt(bytes.length) * minimumFeeRate
  if (fee >= expected) return
  return { reason: 'FeeTooLow', data: { expected: Number(expected), actual: Number(fee) } }
}

function checkNonce({ sender, nonce }: Candidate, tip: Tip): Refusal | undefined {
  const next = tip.nonce(sender)
  const mismatch = (expected: number) => ({
    expected,
    actual: nonce,
    principal: sender,
    is_origin: true,
  })
  if (nonce < next) return { reason: 'BadNonce', data: mismatch(next) }
  const highest = next + 1 + CHAINING_LIMIT
  if (nonce <= highest) return
  const message = 'Nonce would exceed chaining limit in mempool'
  return { reason: 'TooMuchChaining', data: { message, ...mismatch(highest) } }
}

function checkBalance({ sender, fee, action }: Candidate, tip: Tip): Refusal | undefined {
  const needed = fee + (action.kind === 'transfer' ? action.amount : 0n)
  const balance = tip.balance(sender)
  if (balance >= needed) return
  return { reason: 'NotEnoughFunds', data: { expected: hexU128(needed), actual: hexU128(balance) } }
}

function checkCall({ payload }: StacksTransactionWire, tip: Tip): Refusal | undefined {
  if (payload.payloadType !== PayloadType.ContractCall) return
  const contract = `${addressToString(payload.contractAddress)}.${payload.contractName.content}`
  const abi = tip.interfaceOf(contract)
  if (abi === undefined) return { reason: 'NoSuchContract' }
  const fn = abi.functions.find(({ name }) => name === payload.functionName.content)
  if (fn?.access !== 'public') return { reason: 'NoSuchPublicFunction' }
  try {
    validateContractCall(payload, abi)
  } catch (fault) {
    return { reason: 'BadFunctionArgument', data: { message: text(fault) } }
  }
}

function checkDeployment({ action, sender }: Candidate, tip: Tip): Refusal | undefined {
  if (action.kind !== 'deploy') return
  const contract = `${sender}.${action.name}`
  if (tip.interfaceOf(contract) === undefined) return
  return { reason: 'ContractAlreadyExists', data: { contract_identifier: contract } }
}

function addressOf({ hashMode, signer }: SpendingCondition): string {
  const version = addressHashModeToVersion(hashMode, 'testnet')
  return addressToString(addressFromVersionHash(version, signer))
}

function signaturesOf(condition: SpendingCondition): string[] {
  if (isSingleSig(condition)) return [condition.signature.data]
  return condition.fields
    .map(({ contents }) => contents)
    .flatMap((contents) =>
      contents.type === StacksWireType.MessageSignature ? [contents.data] : [],
    )
}

function isLowS(vrs: string): boolean {
  return BigInt(`0x${vrs.slice(66)}`) <= HALF_ORDER
}

export function hexU128(value: bigint): string {
  return `0x${value.toString(16).padStart(32, '0')}`
}

function unsupported(what: string): Refusal {
  return { reason: 'ServerFailureOther', data: { message: `this devnet does not support ${what}` } }
}

function sameBytes(a: Uint8Array, b: Uint8Array): boolean {
  return Buffer.compare(a, b) === 0
}

function text(fault: unknown): string {
  return fault instanceof Error ? fault.message : String(fault)
}
