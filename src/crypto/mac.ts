import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { toHex } from './bytes.ts'
import { deriveFrom, type EncryptionKey, type EncryptionKeys } from './keys.ts'

/** HMAC-SHA-256 of a text's UTF-8, hex. Synchronous, because the gate computes it on its hot path. */
export interface Mac {
  /** Computes with the first encryption key: every MAC that is written. */
  (text: string): string
  /** The MACs that verify a text: with each key, the one that is written first. A MAC does not name its key. */
  accepted(text: string): readonly string[]
  /** Whether a stored MAC is of a text. The other keys are tried only when the first one does not fit. */
  verify(text: string, stored: string | null): boolean
}

/** Computes MACs with one key. */
export type ComputeMac = (text: string) => string

/** The key that rights are authenticated with: derived from the encryption key, and used for nothing else. */
export function macKey({ bytes }: EncryptionKey): Uint8Array {
  return deriveFrom(bytes, 'latchkey rights v1', 32)
}

/** A portable MAC; entries use the platform's own HMAC where there is a faster one. */
export function openMac(keys: EncryptionKeys): Mac {
  return combineMacs(keys, (key) => {
    const derived = macKey(key)
    return (text) => toHex(hmac(sha256, derived, new TextEncoder().encode(text)))
  })
}

/** The MAC of several keys, of which `open` computes with one. */
export function combineMacs(
  [first, ...others]: EncryptionKeys,
  open: (key: EncryptionKey) => ComputeMac,
): Mac {
  const compute = open(first)
  const older = others.map(open)
  return Object.assign((text: string) => compute(text), {
    accepted: (text: string) => [compute(text), ...older.map((one) => one(text))],
    verify: (text: string, stored: string | null) =>
      stored !== null && (compute(text) === stored || older.some((one) => one(text) === stored)),
  })
}
