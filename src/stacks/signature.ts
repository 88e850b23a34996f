import { ok, type Result, refuse } from '../result.ts'
import {
  type AddressReason,
  addressOfPublicKey,
  isKeyOf,
  type ParsedAddress,
  parseWalletAddress,
} from './address.ts'
import { isSignable, messageHash } from './message.ts'
import { isNetwork, type Network } from './network.ts'
import { uncompressPublicKey } from './public-key.ts'
import { parseSignature, type Recover, recoverKeys, type SignatureFormReason } from './recover.ts'

/** A message with its signature. Everything but `network` and `recover` is untrusted input. */
export interface MessageClaim {
  readonly message: string
  /** 65 bytes hex, RSV or VRS, with or without 0x. */
  readonly signature: string
  readonly walletAddress: string
  readonly network: Network
  /** Compressed or uncompressed hex. When present, it must be the key that signed. */
  readonly publicKey?: string | undefined
  readonly recover?: Recover | undefined
}

/** Who signed. `publicKey` is compressed, lower-case hex without 0x. */
export interface RecoveredSigner {
  readonly publicKey: string
}

/** Why a signed message is refused. For the log: a response has the code INVALID_SIGNATURE. */
export type SignatureReason =
  | 'unknown_network'
  | AddressReason
  | SignatureFormReason
  | 'message_not_text'
  | 'malformed_public_key'
  | 'public_key_mismatch'
  | 'unrecoverable'
  | 'another_wallet'

const PUBLIC_KEY = /^(?:0x)?(0[23][0-9a-f]{64}|04[0-9a-f]{128})$/i

/**
 * Verifies that the key of a wallet signed a message with `stx_signMessage`. Never throws, whatever
 * it is given.
 *
 * Does not read the message: its length, its freshness, and whether it was used before are the
 * caller's to check.
 */
export function verifyMessage(claim: MessageClaim): Result<RecoveredSigner, SignatureReason> {
  const { message, signature, walletAddress, network, publicKey, recover } = { ...claim }
  if (!isNetwork(network)) return refuse('unknown_network')

  const readings = parseSignature(signature)
  if (!readings.ok) return readings
  const wallet = parseWalletAddress(walletAddress, network)
  if (!wallet.ok) return wallet
  const claimedKey = parsePublicKey(publicKey)
  if (claimedKey === undefined && publicKey !== undefined) return refuse('malformed_public_key')
  if (!isSignable(message)) return refuse('message_not_text')

  const keys = recoverKeys(messageHash(message), readings.value, recover)
  if (keys.length === 0) return refuse('unrecoverable')
  const signer = keys.map((key) => key.publicKey).find((key) => controls(key, wallet.value))
  if (signer === undefined)
    return refuse('another_wallet', {
      recovered: keys.map((key) => addressOfPublicKey(key.publicKey, network)),
    })
  if (claimedKey !== undefined && !isSameKey(claimedKey, signer)) {
    return refuse('public_key_mismatch')
  }
  return ok({ publicKey: signer })
}

// Old wallets hold uncompressed keys: the hash of the same key in its long form makes another address.
function controls(compressedKey: string, wallet: ParsedAddress): boolean {
  return isKeyOf(compressedKey, wallet) || isKeyOf(uncompressPublicKey(compressedKey), wallet)
}

function parsePublicKey(text: unknown): string | undefined {
  return typeof text === 'string' ? PUBLIC_KEY.exec(text)?.[1]?.toLowerCase() : undefined
}

function isSameKey(claimedKey: string, compressedKey: string): boolean {
  if (claimedKey.length === compressedKey.length) return claimedKey === compressedKey
  return claimedKey === uncompressPublicKey(compressedKey)
}
