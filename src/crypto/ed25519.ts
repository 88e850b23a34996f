import { memoize } from '../memoize.ts'

const ALGORITHM = 'Ed25519'
const MAX_KEYS = 2_000

/**
 * Whether a signature of Ed25519 (RFC 8032) is of some bytes and a public key of 32 bytes in base64url. On WebCrypto, which Node,
 * workerd and browsers have. False for whatever is no key and no signature.
 */
export async function verifyEd25519(
  publicKey: string,
  signature: Uint8Array<ArrayBuffer>,
  data: Uint8Array<ArrayBuffer>,
): Promise<boolean> {
  try {
    return await crypto.subtle.verify(ALGORITHM, await importKey(publicKey), signature, data)
  } catch {
    return false
  }
}

/** Importing costs a third of verifying. A promise of a key depends on nothing but the key's text. */
const importKey = memoize(MAX_KEYS, (publicKey) => {
  const bytes = Uint8Array.from(
    atob(publicKey.replaceAll('-', '+').replaceAll('_', '/')),
    (character) => character.charCodeAt(0),
  )
  return crypto.subtle.importKey('raw', bytes, ALGORITHM, false, ['verify'])
})
