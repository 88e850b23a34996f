const ALGORITHM = 'AES-GCM'
const VERSION = 1
const NONCE_BYTES = 12

/** Encryption at rest. What is sealed for one name opens under no other. */
export interface Encryption {
  encrypt(secret: Uint8Array<ArrayBuffer>, name: string): Promise<Uint8Array>
  /** Throws when the box was changed, belongs to another name or was sealed with another key. */
  decrypt(box: Uint8Array, name: string): Promise<Uint8Array<ArrayBuffer>>
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
  const parameters = (iv: Uint8Array<ArrayBuffer>, name: string) => ({
    name: ALGORITHM,
    iv,
    additionalData: new TextEncoder().encode(name),
  })
  return {
    async encrypt(secret, name) {
      const nonce = randomBytes(NONCE_BYTES)
      const sealed = await crypto.subtle.encrypt(parameters(nonce, name), imported, secret)
      const box = new Uint8Array(1 + NONCE_BYTES + sealed.byteLength)
      box[0] = VERSION
      box.set(nonce, 1)
      box.set(new Uint8Array(sealed), 1 + NONCE_BYTES)
      return box
    },
    async decrypt(box, name) {
      if (box[0] !== VERSION) throw new Error(`sealed box of unknown version ${box[0]}`)
      const nonce = box.slice(1, 1 + NONCE_BYTES)
      const sealed = box.slice(1 + NONCE_BYTES)
      return new Uint8Array(await crypto.subtle.decrypt(parameters(nonce, name), imported, sealed))
    },
  }
}
