import { toHex } from './bytes.ts'
import type { EncryptionKeys } from './keys.ts'

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

/** AES-256-GCM with a random nonce. */
export async function openEncryption(
  keys: EncryptionKeys,
  randomBytes: (length: number) => Uint8Array<ArrayBuffer>,
): Promise<Encryption> {
  const opened = await Promise.all(
    keys.map(async ({ bytes, fingerprint }) => ({
      name: fingerprint.slice(0, NAME_BYTES),
      key: await crypto.subtle.importKey('raw', bytes, ALGORITHM, false, ['encrypt', 'decrypt']),
    })),
  )
  const first = opened[0] as (typeof opened)[number]
  const parameters = (iv: Uint8Array<ArrayBuffer>, label: string) => ({
    name: ALGORITHM,
    iv,
    additionalData: new TextEncoder().encode(label),
  })
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
      const ciphertext = await crypto.subtle.encrypt(parameters(nonce, label), first.key, secret)
      const box = new Uint8Array(1 + NAME_BYTES + NONCE_BYTES + ciphertext.byteLength)
      box[0] = NAMED
      box.set(first.name, 1)
      box.set(nonce, 1 + NAME_BYTES)
      box.set(new Uint8Array(ciphertext), 1 + NAME_BYTES + NONCE_BYTES)
      return box
    },
    async decrypt(box, label) {
      const { candidates, nonceAt } = readHead(box)
      const nonce = box.slice(nonceAt, nonceAt + NONCE_BYTES)
      const ciphertext = box.slice(nonceAt + NONCE_BYTES)
      const attempts = candidates.map(({ key }) =>
        crypto.subtle.decrypt(parameters(nonce, label), key, ciphertext),
      )
      const decrypted = await Promise.any(attempts).catch(() => {
        throw new Error('encrypted box of another key, or changed')
      })
      return new Uint8Array(decrypted)
    },
    isCurrent: (box) => box[0] === NAMED && nameOf(box) === toHex(first.name),
  }
}
