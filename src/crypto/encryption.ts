const ALGORITHM = 'AES-GCM'
const VERSION = 1
const NONCE_BYTES = 12

/** Authenticated encryption at rest. A box is bound to its label and does not decrypt under another one. */
export interface Encryption {
  encrypt(secret: Uint8Array<ArrayBuffer>, label: string): Promise<Uint8Array>
  /** Rejects when the box was changed, has another label or was encrypted with another key. */
  decrypt(box: Uint8Array, label: string): Promise<Uint8Array<ArrayBuffer>>
}

/** AES-256-GCM. A box is a version byte, a random nonce, and the ciphertext with its tag. */
export async function openEncryption(
  key: Uint8Array<ArrayBuffer>,
  randomBytes: (length: number) => Uint8Array<ArrayBuffer>,
): Promise<Encryption> {
  const imported = await crypto.subtle.importKey('raw', key, ALGORITHM, false, [
    'encrypt',
    'decrypt',
  ])
  const parameters = (iv: Uint8Array<ArrayBuffer>, label: string) => ({
    name: ALGORITHM,
    iv,
    additionalData: new TextEncoder().encode(label),
  })
  return {
    async encrypt(secret, label) {
      const nonce = randomBytes(NONCE_BYTES)
      const ciphertext = await crypto.subtle.encrypt(parameters(nonce, label), imported, secret)
      const box = new Uint8Array(1 + NONCE_BYTES + ciphertext.byteLength)
      box[0] = VERSION
      box.set(nonce, 1)
      box.set(new Uint8Array(ciphertext), 1 + NONCE_BYTES)
      return box
    },
    async decrypt(box, label) {
      if (box[0] !== VERSION) throw new Error(`encrypted box of unknown version ${box[0]}`)
      const nonce = box.slice(1, 1 + NONCE_BYTES)
      const ciphertext = box.slice(1 + NONCE_BYTES)
      return new Uint8Array(
        await crypto.subtle.decrypt(parameters(nonce, label), imported, ciphertext),
      )
    },
  }
}
