import { sha256, toHex } from '../crypto/bytes.ts'
import type { Encryption } from '../crypto/encryption.ts'

/**
 * The key of HMAC signatures (`hmac-sha256` of RFC 9421) that follows from the secret of an API key: a labelled hash, so that neither the
 * stored hash of the secret nor a signature says anything about it, and so that it is no secret that X-API-Key accepts.
 */
export function macKeyOf(secret: string): Uint8Array<ArrayBuffer> {
  return new Uint8Array(sha256(`latchkey request signature v1 ${secret}`))
}

/** The label of such a key at rest: a box of another key, or of a secret before a rotation, does not decrypt. */
export function macKeyLabel(keyId: string, keyHash: string): string {
  return `request signatures of ${keyId} ${keyHash}`
}

/** The box of the MAC key of a secret, as hex. */
export async function encryptMacKey(
  encryption: Encryption,
  { secret, keyId, keyHash }: { secret: string; keyId: string; keyHash: string },
): Promise<string> {
  return toHex(await encryption.encrypt(macKeyOf(secret), macKeyLabel(keyId, keyHash)))
}
