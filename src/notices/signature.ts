import { hmac } from '@noble/hashes/hmac.js'
import { sha256 } from '@noble/hashes/sha2.js'

/*
 * Standard Webhooks 1.0.0: `{id}.{timestamp}.{payload}` under HMAC-SHA-256, one signature for each secret.
 */

export const WEBHOOK_SECRET_PREFIX = 'whsec_'
/** Of a secret that the service makes; others may have up to 64. */
export const WEBHOOK_SECRET_BYTES = 32
const MIN_SECRET_BYTES = 24
const MAX_SECRET_BYTES = 64

const UTF8 = new TextEncoder()

/** The text of a secret, as its owner keeps it. */
export function webhookSecretText(bytes: Uint8Array): string {
  return `${WEBHOOK_SECRET_PREFIX}${toBase64(bytes)}`
}

/** The bytes of a secret, with or without its prefix; undefined for what is none. */
export function webhookSecretBytes(text: string): Uint8Array | undefined {
  const base64 = text.startsWith(WEBHOOK_SECRET_PREFIX)
    ? text.slice(WEBHOOK_SECRET_PREFIX.length)
    : text
  const bytes = fromBase64(base64)
  if (bytes === undefined || bytes.length < MIN_SECRET_BYTES || bytes.length > MAX_SECRET_BYTES)
    return undefined
  return bytes
}

/** What a signature covers beside the secret. */
export interface SignedDelivery {
  id: string
  /** Unix seconds. */
  timestamp: string
  payload: string | Uint8Array
}

/** The value of webhook-signature: one signature for each secret, separated by spaces. */
export function signDelivery(secrets: readonly Uint8Array[], signed: SignedDelivery): string {
  return secrets.map((secret) => `v1,${toBase64(digest(secret, signed))}`).join(' ')
}

/** Whether one of the signatures of a header is by one of the secrets. Signatures of other versions are left out. */
export function isSignedBy(
  secrets: readonly Uint8Array[],
  signed: SignedDelivery,
  header: string,
): boolean {
  const given = header.split(' ').flatMap((part) => {
    const [version, signature = ''] = part.split(',')
    return version === 'v1' ? [signature] : []
  })
  // Each pair is compared, so that the time tells nothing of which one fits.
  let isSigned = false
  for (const secret of secrets) {
    const expected = toBase64(digest(secret, signed))
    for (const signature of given) if (isSameText(signature, expected)) isSigned = true
  }
  return isSigned
}

function digest(secret: Uint8Array, { id, timestamp, payload }: SignedDelivery): Uint8Array {
  const mac = hmac.create(sha256, secret)
  mac.update(UTF8.encode(`${id}.${timestamp}.`))
  mac.update(typeof payload === 'string' ? UTF8.encode(payload) : payload)
  return mac.digest()
}

/** Compares in a time that depends on the length alone. */
function isSameText(one: string, other: string): boolean {
  if (one.length !== other.length) return false
  let difference = 0
  for (let at = 0; at < one.length; at++) difference |= one.charCodeAt(at) ^ other.charCodeAt(at)
  return difference === 0
}

function toBase64(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes))
}

function fromBase64(text: string): Uint8Array | undefined {
  if (!/^[A-Za-z0-9+/]*={0,2}$/.test(text) || text.length % 4 !== 0) return undefined
  return Uint8Array.from(atob(text), (character) => character.charCodeAt(0))
}
