import { createHmac, createSecretKey, hash } from 'node:crypto'
import { type Mac, macKey } from '../crypto/mac.ts'
import type { KeyHash, Secret } from '../keys/secret.ts'

/** `openMac` on node:crypto, ten times faster. */
export function openNativeMac(encryptionKey: Uint8Array): Mac {
  const key = createSecretKey(macKey(encryptionKey))
  return (text) => createHmac('sha256', key).update(text).digest('hex')
}

/** `hashSecret` on node:crypto, three times faster. */
export function hashSecretNatively(token: Secret): KeyHash {
  return hash('sha256', token) as KeyHash
}
