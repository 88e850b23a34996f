import { createHmac, createSecretKey, hash } from 'node:crypto'
import type { KeyHash, Token } from '../keys/token.ts'
import { type Mac, macKey } from '../mac.ts'

/** The same as `openMac`, ten times faster. */
export function openNativeMac(encryptionKey: Uint8Array): Mac {
  const key = createSecretKey(macKey(encryptionKey))
  return (text) => createHmac('sha256', key).update(text).digest('hex')
}

/** The same as `hashToken`, three times faster. */
export function hashTokenNatively(token: Token): KeyHash {
  return hash('sha256', token) as KeyHash
}
