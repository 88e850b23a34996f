import {
  AuthType,
  addressFromVersionHash,
  addressToString,
  deserializeTransaction,
  isSingleSig,
  makeSTXTokenTransfer,
  makeUnsignedSTXTokenTransfer,
  PayloadType,
  type StacksTransactionWire,
  serializePayloadBytes,
} from '@stacks/transactions'
import { toHex } from '../crypto/bytes.ts'
import type { Network } from '../stacks/network.ts'
import { publicKeyOf } from '../stacks/sign.ts'
import type { SignedTransaction, SigningOptions } from './transaction.ts'

/** STX that one account sends another one. */
export interface Transfer {
  recipient: string
  amountInMicroStx: number
}

/** A transfer that was signed, as its bytes say. */
export interface SignedTransfer extends Transfer, SignedTransaction {
  sender: string
}

/** About five times a node's minimum for the size of a transfer. */
const MIN_TRANSFER_FEE = 1_000

/** The fee of a transfer: what the node estimates, up to the ceiling. */
export function transferFee(estimate: number | undefined, ceiling: number): number {
  return Math.min(Math.max(MIN_TRANSFER_FEE, estimate ?? 0), ceiling)
}

/** The serialized payload of a transfer, by which a node estimates a fee, and the size of the signed transaction. */
export async function transferPayload(
  { recipient, amountInMicroStx }: Transfer,
  { privateKey, network }: Pick<SigningOptions, 'network'> & { privateKey?: string },
): Promise<{ payload: Uint8Array; byteLength: number }> {
  const unsigned = await makeUnsignedSTXTokenTransfer({
    recipient,
    amount: BigInt(amountInMicroStx),
    publicKey: publicKeyOf(privateKey ?? ANY_KEY),
    nonce: 0,
    fee: 0,
    network,
  })
  return {
    payload: serializePayloadBytes(unsigned.payload),
    byteLength: unsigned.serializeBytes().length,
  }
}

/** Any private key: a transfer's size does not depend on it. */
const ANY_KEY = `${'1'.padStart(64, '0')}01`

/** Builds and signs a transfer of STX. */
export async function signTransfer(
  { recipient, amountInMicroStx }: Transfer,
  { privateKey, nonce, feeInMicroStx, network }: SigningOptions,
): Promise<SignedTransaction> {
  const transaction = await makeSTXTokenTransfer({
    recipient,
    amount: BigInt(amountInMicroStx),
    senderKey: privateKey,
    nonce,
    fee: feeInMicroStx,
    network,
  })
  const raw = new Uint8Array(transaction.serializeBytes())
  return { txid: transaction.txid(), raw, nonce, feeInMicroStx }
}

const VERSIONS = {
  mainnet: { transaction: 0x00, chain: 1, address: 22 },
  testnet: { transaction: 0x80, chain: 0x80000000, address: 26 },
  devnet: { transaction: 0x80, chain: 0x80000000, address: 26 },
} as const satisfies Record<Network, object>

/**
 * Reads the bytes of a transfer that another process signed; undefined unless they are the canonical bytes of a plain transfer of STX on
 * this network, signed by one key.
 */
export function readTransfer(
  raw: Uint8Array<ArrayBuffer>,
  network: Network,
): SignedTransfer | undefined {
  try {
    const transaction = deserializeTransaction(raw)
    const { payload } = transaction
    if (toHex(transaction.serializeBytes()) !== toHex(raw)) return undefined
    if (payload.payloadType !== PayloadType.TokenTransfer) return undefined
    const sender = senderOf(transaction, network)
    if (sender === undefined) return undefined
    const { nonce, fee } = transaction.auth.spendingCondition
    const numbers = [payload.amount, nonce, fee].map(Number)
    if (!numbers.every(Number.isSafeInteger)) return undefined
    const [amountInMicroStx = 0, ownNonce = 0, feeInMicroStx = 0] = numbers
    const recipient = payload.recipient.value
    return {
      txid: transaction.txid(),
      raw,
      sender,
      recipient,
      amountInMicroStx,
      nonce: ownNonce,
      feeInMicroStx,
    }
  } catch {
    return undefined
  }
}

/** Throws where the signature is not the signer's. */
function senderOf(transaction: StacksTransactionWire, network: Network): string | undefined {
  const { auth, transactionVersion, chainId } = transaction
  const versions = VERSIONS[network]
  if (auth.authType !== AuthType.Standard || !isSingleSig(auth.spendingCondition)) return undefined
  if (transactionVersion !== versions.transaction || chainId !== versions.chain) return undefined
  transaction.verifyOrigin()
  return addressToString(addressFromVersionHash(versions.address, auth.spendingCondition.signer))
}
