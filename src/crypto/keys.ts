import { hkdf } from '@noble/hashes/hkdf.js'
import { sha256 } from '@noble/hashes/sha2.js'
import { toHex } from './bytes.ts'

/** A key that encrypts at rest, and that the keys of MACs are derived from. */
export interface EncryptionKey {
  /** As the operator calls it, or the first digits of its fingerprint. For people: nothing stored depends on it. */
  id: string
  /** 32 bytes. */
  bytes: Uint8Array<ArrayBuffer>
  /** 16 bytes that are derived from the key. They tell keys apart and reveal nothing of them: stored data names its key so. */
  fingerprint: Uint8Array
}

/** The first one encrypts and authenticates; the others only decrypt and verify. */
export type EncryptionKeys = readonly [EncryptionKey, ...EncryptionKey[]]

const FINGERPRINT_BYTES = 16
const BASE64_KEY = '[A-Za-z0-9+/]{42}[AEIMQUYcgkosw048]='
const ONE_KEY = new RegExp(`^${BASE64_KEY}$`)
const NAMED_KEY = new RegExp(`^([a-z0-9][a-z0-9_-]{0,31}):(${BASE64_KEY})$`)

/** As `parseEncryptionKeys`; throws for a text without keys, and its error does not quote it. */
export function readEncryptionKeys(text = ''): EncryptionKeys {
  const keys = parseEncryptionKeys(text)
  if (keys === undefined) throw new Error('ENCRYPTION_KEY must be 32 bytes in base64')
  return keys
}

/**
 * Parses one key in base64, or several as `id:base64,id:base64`; undefined when it is neither, or names an id or a key twice.
 */
export function parseEncryptionKeys(text: string): EncryptionKeys | undefined {
  if (ONE_KEY.test(text)) return [encryptionKey(fromBase64(text))]
  const keys: EncryptionKey[] = []
  for (const part of text.split(',')) {
    const [, id, base64] = NAMED_KEY.exec(part.trim()) ?? []
    if (id === undefined || base64 === undefined) return undefined
    keys.push(encryptionKey(fromBase64(base64), id))
  }
  const hasTwice = (of: (key: EncryptionKey) => string) => new Set(keys.map(of)).size < keys.length
  if (hasTwice(({ id }) => id) || hasTwice(({ fingerprint }) => toHex(fingerprint)))
    return undefined
  return keys as unknown as EncryptionKeys
}

/** A key by its bytes, with its fingerprint. */
export function encryptionKey(bytes: Uint8Array<ArrayBuffer>, id?: string): EncryptionKey {
  const fingerprint = deriveFrom(bytes, 'latchkey key fingerprint v1', FINGERPRINT_BYTES)
  return { id: id ?? toHex(fingerprint).slice(0, 8), bytes, fingerprint }
}

/** Bytes that a key yields for one purpose: HKDF-SHA-256, whose `info` is the purpose. */
export function deriveFrom(key: Uint8Array, purpose: string, length: number): Uint8Array {
  return hkdf(sha256, key, undefined, new TextEncoder().encode(purpose), length)
}

function fromBase64(text: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}
