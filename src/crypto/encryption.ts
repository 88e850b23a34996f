import { toHex } from './bytes.ts'
import type { EncryptionKey, EncryptionKeys } from './keys.ts'

const ALGORITHM = 'AES-GCM'
/** A version byte, nonce, ciphertext with its tag: boxes of a release with one key, which they do not name. */
const UNNAMED = 1
/** A version byte, the beginning of the key's fingerprint, nonce, ciphertext with its tag. */
const NAMED = 2
const NAME_BYTES = 4
const NONCE_BYTES = 12

/** Authenticated encryption at rest. A box is bound to its label and does not decrypt under another one. */
export interface Encryption {
  /** Encrypts with the first key. */
  encrypt(secret: Uint8Array<ArrayBuffer>, label: string): Promise<Uint8Array>
  /** Rejects when the box was changed, has another label or was encrypted with a key that is not configured. */
  decrypt(box: Uint8Array, label: string): Promise<Uint8Array<ArrayBuffer>>
  /** Whether a box names the first key. It may still not decrypt. */
  isCurrent(box: Uint8Array): boolean
}

/** AES-256-GCM with one key. A label is authenticated and not part of the ciphertext. */
export interface Cipher {
  /** Resolves to the ciphertext, followed by its tag of 16 bytes. */
  encrypt(secret: Uint8Array<ArrayBuffer>, nonce: Nonce, label: string): Awaitable<Uint8Array>
  /** Throws or rejects when the ciphertext, its nonce or its label was changed. */
  decrypt(sealed: Uint8Array<ArrayBuffer>, nonce: Nonce, label: string): Awaitable<Uint8Array>
}
type Nonce = Uint8Array<ArrayBuffer>
type Awaitable<T> = T | Promise<T>

/** Portable encryption, on WebCrypto; entries use the platform's own ciphers where there are faster ones. */
export function openEncryption(
  keys: EncryptionKeys,
  randomBytes: (length: number) => Uint8Array<ArrayBuffer>,
): Promise<Encryption> {
  return combineCiphers(keys, randomBytes, openCipher)
}

async function openCipher({ bytes }: EncryptionKey): Promise<Cipher> {
  const key = await crypto.subtle.importKey('raw', bytes, ALGORITHM, false, ['encrypt', 'decrypt'])
  const parameters = (iv: Nonce, label: string) => ({
    name: ALGORITHM,
    iv,
    additionalData: new TextEncoder().encode(label),
  })
  return {
    async encrypt(secret, nonce, label) {
      return new Uint8Array(await crypto.subtle.encrypt(parameters(nonce, label), key, secret))
    },
    async decrypt(sealed, nonce, label) {
      return new Uint8Array(await crypto.subtle.decrypt(parameters(nonce, label), key, sealed))
    },
  }
}

/** The encryption with several keys, of which `open` makes the cipher of one. Each box has a random nonce. */
export async function combineCiphers(
  keys: EncryptionKeys,
  randomBytes: (length: number) => Uint8Array<ArrayBuffer>,
  open: (key: EncryptionKey) => Awaitable<Cipher>,
): Promise<Encryption> {
  const opened = await Promise.all(
    keys.map(async (key) => ({
      name: key.fingerprint.slice(0, NAME_BYTES),
      cipher: await open(key),
    })),
  )
  const first = opened[0] as (typeof opened)[number]
  const nameOf = (box: Uint8Array) => toHex(box.subarray(1, 1 + NAME_BYTES))

  /** The keys that a box may be encrypted with, and where its nonce begins. */
  function readHead(box: Uint8Array): { candidates: typeof opened; nonceAt: number } {
    if (box[0] === UNNAMED) return { candidates: opened, nonceAt: 1 }
    if (box[0] !== NAMED) throw new Error(`encrypted box of unknown version ${box[0]}`)
    const name = nameOf(box)
    return {
      candidates: opened.filter((one) => toHex(one.name) === name),
      nonceAt: 1 + NAME_BYTES,
    }
  }

  return {
    async encrypt(secret, label) {
      const nonce = randomBytes(NONCE_BYTES)
      const sealed = await first.cipher.encrypt(secret, nonce, label)
      const box = new Uint8Array(1 + NAME_BYTES + NONCE_BYTES + sealed.byteLength)
      box[0] = NAMED
      box.set(first.name, 1)
      box.set(nonce, 1 + NAME_BYTES)
      box.set(sealed, 1 + NAME_BYTES + NONCE_BYTES)
      return box
    },
    async decrypt(box, label) {
      const { candidates, nonceAt } = readHead(box)
      const nonce = new Uint8Array(box.subarray(nonceAt, nonceAt + NONCE_BYTES))
      const sealed = new Uint8Array(box.subarray(nonceAt + NONCE_BYTES))
      const attempts = candidates.map(async ({ cipher }) => cipher.decrypt(sealed, nonce, label))
      const decrypted = await Promise.any(attempts).catch(() => {
        throw new Error('encrypted box of another key, or changed')
      })
      return new Uint8Array(decrypted)
    },
    isCurrent: (box) => box[0] === NAMED && nameOf(box) === toHex(first.name),
  }
}
