import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { getPublicKey, hashes, sign } from '@noble/secp256k1'
import { fromHex, toHex } from '../crypto/bytes.ts'
import { addressOfPublicKey, type WalletAddress } from './address.ts'
import { type Intent, intentHash } from './intent.ts'
import { isSignable, messageHash } from './message.ts'
import type { Network } from './network.ts'

// RFC 6979 derives the nonce with HMAC-SHA-256, which @noble/secp256k1 leaves to its caller.
hashes.hmacSha256 = (key, message) => hmac(sha256, key, message)

/** Signs a 32-byte digest with a 32-byte secret: the recovery id, r and s (65 bytes, VRS), low-S, deterministic (RFC 6979). */
export type SignDigest = (digest: Uint8Array, secret: Uint8Array) => Uint8Array

/** The portable engine, JavaScript. */
export const nobleSign: SignDigest = (digest, secret) =>
  sign(digest, secret, { prehash: false, format: 'recovered' })

const PRIVATE_KEY = /^(?:0x)?([0-9a-f]{64}(?:01)?)$/i

/**
 * Signs a message as a wallet's `stx_signMessage` does: 65 bytes hex, RSV, low-S, deterministic (RFC
 * 6979).
 *
 * Throws a TypeError for a text with lone surrogates and for a malformed private key.
 */
export function signMessage({
  message,
  privateKey,
}: {
  readonly message: string
  /** 64 hex characters, or 66 when it ends in 01 (compressed); 0x is tolerated. */
  readonly privateKey: string
}): string {
  if (!isSignable(message)) throw new TypeError('A message is a string without lone surrogates.')
  return signHash(messageHash(message), privateKey)
}

/**
 * Signs an order's intent as a wallet's `stx_signStructuredMessage` does: 65 bytes hex, RSV, low-S.
 * Throws a TypeError for a malformed intent or private key.
 *
 * With a key of 64 characters the signature recovers to the address of the compressed key, not to
 * {@link addressOf} that key: such an owner cannot sign intents.
 */
export function signIntent({
  network,
  privateKey,
  ...intent
}: Intent & { readonly network: Network; readonly privateKey: string }): string {
  return signHash(intentHash(intent, network), privateKey)
}

/**
 * Returns the wallet address of a private key: of the compressed public key when it ends in 01, else of
 * the uncompressed one.
 */
export function addressOf(privateKey: string, network: Network): WalletAddress {
  return addressOfPublicKey(publicKeyOf(privateKey), network)
}

/** Returns the public key, hex: 66 characters when the private key ends in 01 (compressed), else 130. */
export function publicKeyOf(privateKey: string): string {
  const { secret, isCompressed } = parsePrivateKey(privateKey)
  return toHex(getPublicKey(secret, isCompressed))
}

function signHash(digest: Uint8Array, privateKey: string): string {
  const { secret } = parsePrivateKey(privateKey)
  const signature = nobleSign(digest, secret)
  return toHex(signature.subarray(1)) + toHex(signature.subarray(0, 1))
}

/** Throws a TypeError for a malformed private key. It contains no character of the key: errors end in logs. */
export function parsePrivateKey(text: string): { secret: Uint8Array; isCompressed: boolean } {
  const hex = typeof text === 'string' ? PRIVATE_KEY.exec(text)?.[1] : undefined
  if (hex === undefined) {
    throw new TypeError('A private key is 64 hex characters, or 66 ending in 01.')
  }
  return { secret: fromHex(hex.slice(0, 64)), isCompressed: hex.length === 66 }
}
