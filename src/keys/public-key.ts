import { sha256, toHex } from '../crypto/bytes.ts'
import type { KeyHash } from './secret.ts'
import type { PublicKey } from './terms.ts'

/**
 * What stands in a row for the hash of a secret where the key has none: the message that named its public key. No text has this hash that
 * X-API-Key accepts. A change of the public key is another message and so gives another hash: what was verified with the key before
 * leads to no row.
 */
export function hashOfGrant(walletAddress: string, messageHash: string): KeyHash {
  return toHex(sha256(`latchkey public key of ${walletAddress} ${messageHash}`)) as KeyHash
}

/** Enough of a public key to recognise it. */
export function previewOfPublicKey({ alg, key }: PublicKey): string {
  return `${alg}:${key.slice(0, 4)}...${key.slice(-4)}`
}
