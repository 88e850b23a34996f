import { ripemd160 } from '@noble/hashes/legacy.js'
import { Point } from '@noble/secp256k1'
import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import { memoize } from '../memoize.ts'

/**
 * HASH160 of a public key, hex: RIPEMD-160 of SHA-256. A compressed key and its uncompressed form have different hashes,
 * and so different addresses.
 */
export function hash160(publicKeyHex: string): string {
  return hashOf(publicKeyHex)
}

/** A wallet signs many orders, and each is compared with its address. */
const hashOf = memoize(1_000, (publicKeyHex) => toHex(ripemd160(sha256(fromHex(publicKeyHex)))))

/** The uncompressed form of a compressed public key: 130 hex characters, lower case. Throws when it is no point of the curve. */
export function uncompressPublicKey(publicKeyHex: string): string {
  return Point.fromHex(publicKeyHex).toHex(false)
}
