import { createHmac, createSecretKey } from 'node:crypto'
import { type Mac, macKey } from '../mac.ts'

/** The same as `openMac`, ten times faster. */
export function openNativeMac(encryptionKey: Uint8Array): Mac {
  const key = createSecretKey(macKey(encryptionKey))
  return (text) => createHmac('sha256', key).update(text).digest('hex')
}
