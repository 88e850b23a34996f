import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import type { Json } from '../wire/json.ts'

/** Who did it: the wallet with a signed message, a key with itself, the operator with a reason, or the service. */
export type Actor = 'owner' | 'key' | 'operator' | 'service'

/** One event of a wallet's audit, as it is hashed. */
export interface AuditBody {
  v: 1
  /** The action that was signed, or what happened without one: `refused`, `adopt_api_key`. */
  event: string
  walletAddress: string
  keyId: string | null
  actor: Actor
  /** Milliseconds since 1970. */
  at: number
  /** SHA-256 of the owner's signed message, hex. */
  messageHash: string | null
  details: { [name: string]: Json }
}

export const FIRST_HASH = '0'.repeat(64)

/** Canonical JSON (RFC 8785), as far as bodies need it: names sorted, whole numbers, well-formed text. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const names = Object.keys(value).sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name] as Json)}`).join(',')}}`
}

export function bodyText(body: AuditBody): string {
  return canonicalJson(body as unknown as Json)
}

/** The hash of an event: SHA-256 of the hash before it, and of SHA-256 of its body. All hex. */
export function chainHash(previous: string, body: string): string {
  const bytes = new Uint8Array(64)
  bytes.set(fromHex(previous))
  bytes.set(sha256(body), 32)
  return toHex(sha256(bytes))
}
