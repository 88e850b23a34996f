import { hkdf } from '@noble/hashes/hkdf.js'
import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { toHex } from './bytes.ts'

/** HMAC-SHA-256 of a text's UTF-8, hex. Synchronous, because the gate computes it on its hot path. */
export type Mac = (text: string) => string

/** The key that rights are authenticated with: derived from the encryption key, and used for nothing else. */
export function macKey(encryptionKey: Uint8Array): Uint8Array {
  return hkdf(sha256, encryptionKey, undefined, utf8('latchkey rights v1'), 32)
}

/** A portable MAC; entries use the platform's own HMAC where there is a faster one. */
export function openMac(encryptionKey: Uint8Array): Mac {
  const key = macKey(encryptionKey)
  return (text) => toHex(hmac(sha256, key, utf8(text)))
}

function utf8(text: string): Uint8Array {
  return new TextEncoder().encode(text)
}
