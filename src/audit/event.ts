import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import type { Json } from '../wire/json.ts'

/** Who acted: the wallet with a signed message, a key on itself, the operator with a reason, or the service. */
export type Actor = 'owner' | 'key' | 'operator' | 'service'

/** An event of a wallet's chain, named so that no other chain has it: the hash covers every event up to it. */
export interface AuditHead {
  /** From 1. */
  sequence: number
  /** Hex. */
  hash: string
}

/** What an audit still has of the events that left the database with an archive. */
export interface ArchivedEvents {
  /** SHA-256 of each event's body, from the first event on, hex: the hashes of the chain follow from them. */
  bodyHashes: string[]
  /** The archives that have the events, oldest first, each up to a sequence. */
  archives: { archive: number; through: number }[]
}

/** A message that the service accepted for a recorded action, and that no event names. */
export interface UnrecordedAction {
  message: string
  signature: string
  /** Milliseconds since 1970. */
  acceptedAt: number
}

/** The member of a signed message that names the newest event of the wallet's chain that its signer knows. */
export interface HeadMember {
  auditHead?: AuditHead | undefined
}

/** One event of a wallet's audit, as it is hashed. */
export interface AuditBody {
  v: 1
  /** The action that was signed, or what happened without a signature, as `refused` and `suspend_wallet`. */
  event: string
  walletAddress: string
  keyId: string | null
  actor: Actor
  /** Milliseconds since 1970. */
  at: number
  /** SHA-256 of the owner's signed message, hex. */
  messageHash: string | null
  details: { [name: string]: Json }
  /** The event that the owner's message names. Absent where it names none. */
  auditHead?: AuditHead
}

/** An event as it is stored and exported: its body, its place in the chain, and what the owner signed for it. */
export interface AuditEvent {
  /** From 1, without gaps. */
  sequence: number
  /** Canonical JSON (RFC 8785): the exact text that is hashed. */
  body: string
  /** SHA-256 of the previous event's hash and of SHA-256 of the body, hex. */
  hash: string
  /** The owner's message, where an owner acted. */
  message?: string
  signature?: string
  publicKey?: string
}

/** The hash before a chain's first event. */
export const FIRST_HASH = '0'.repeat(64)

/** Canonical JSON (RFC 8785), as far as bodies need it: sorted names, whole numbers, well-formed text. */
export function canonicalJson(value: Json): string {
  if (Array.isArray(value)) return `[${value.map(canonicalJson).join(',')}]`
  if (typeof value !== 'object' || value === null) return JSON.stringify(value)
  const names = Object.keys(value).sort()
  return `{${names.map((name) => `${JSON.stringify(name)}:${canonicalJson(value[name] as Json)}`).join(',')}}`
}

/** The text of an event that is hashed and stored. */
export function bodyText(body: AuditBody): string {
  return canonicalJson(body as unknown as Json)
}

/** The hash of an event: SHA-256 of the previous hash and of SHA-256 of its body. Hashes are hex. */
export function chainHash(previous: string, body: string): string {
  return linkHash(previous, sha256(body))
}

/** As `chainHash`, of an event whose body is known by its hash alone. */
export function linkHash(previous: string, bodyHash: Uint8Array): string {
  const bytes = new Uint8Array(64)
  bytes.set(fromHex(previous))
  bytes.set(bodyHash, 32)
  return toHex(sha256(bytes))
}
