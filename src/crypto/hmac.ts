import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'

/** HMAC-SHA-256 of bytes (RFC 2104): 32 bytes. */
export function hmacSha256(key: Uint8Array, data: Uint8Array): Uint8Array<ArrayBuffer> {
  return new Uint8Array(hmac(sha256, key, data))
}

/** Whether a MAC is the whole HMAC-SHA-256 of bytes. The comparison takes the same time wherever they differ. */
export function verifyHmacSha256(key: Uint8Array, mac: Uint8Array, data: Uint8Array): boolean {
  const expected = hmacSha256(key, data)
  if (mac.length !== expected.length) return false
  let difference = 0
  for (let at = 0; at < expected.length; at++)
    difference |= (expected[at] as number) ^ (mac[at] as number)
  return difference === 0
}
