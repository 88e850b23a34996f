import { MAX_MESSAGE_AGE_SECONDS, messageFreshness } from '../actions/action.ts'
import { type AuditBody, bodyText, chainHash, FIRST_HASH } from '../audit/event.ts'
import { sha256, toHex } from '../crypto/bytes.ts'
import { endReason } from '../keys/liveness.ts'
import { type KeyTerms, TERM_MEMBERS, type TermMembers, termsAfter } from '../keys/rights.ts'
import { resumed, suspended } from '../keys/suspension.ts'
import type { Network } from '../stacks/network.ts'
import type { Recover } from '../stacks/recover.ts'
import { verifyMessage } from '../stacks/signature.ts'
import { canonicalIpRange } from '../wire/ip.ts'

/** An event of the audit as it is kept: its body, its place in the chain, and what the owner signed for it. */
export interface AuditEvent {
  /** From 1, without gaps. */
  sequence: number
  /** Canonical JSON (RFC 8785): the very text that is hashed. */
  body: string
  /** SHA-256 of the hash before and of SHA-256 of the body, hex. */
  hash: string
  /** The owner's message, when an owner did it. */
  message?: string
  signature?: string
  publicKey?: string
}

/** What an audit cannot account for. */
export interface AuditFault {
  sequence?: number
  keyId?: string
  fault: string
}

/** A key as its events made it, and nothing else. Times are milliseconds since 1970, hashes hex. */
export interface ReplayedKey {
  keyId: string
  terms: KeyTerms
  keyHash: string
  previousKeyHash: string | null
  previousUntil: number | null
  createdAt: number
  suspendedAt: number | null
  suspendedBy: string | null
  revokedAt: number | null
}

export interface Replayed {
  keys: Map<string, ReplayedKey>
  faults: AuditFault[]
}

export interface ReplayOptions {
  walletAddress: string
  network: Network
  recover?: Recover
}

type Members = TermMembers & {
  action?: unknown
  keyId?: unknown
  graceSeconds?: unknown
  timestamp?: unknown
  notAfter?: string | number
}

/**
 * Goes through a wallet's audit with nothing but its events: every link of the chain, every signature, and every key as
 * what its owner signed makes it. What it cannot know is whether events are missing at the end: an older export can.
 */
export function replayAudit(events: readonly AuditEvent[], options: ReplayOptions): Replayed {
  const faults: AuditFault[] = []
  const keys = new Map<string, ReplayedKey>()
  const used = new Set<string>()
  let previous = FIRST_HASH
  for (const [at, event] of events.entries()) {
    const say = (fault: string) => faults.push({ sequence: event.sequence, fault })
    if (event.sequence !== at + 1) say(`is number ${at + 1} of the chain`)
    if (chainHash(previous, event.body) !== event.hash)
      say('breaks the chain: its hash is not of its body')
    previous = event.hash
    const body = readBody(event.body)
    if (body === undefined || body.walletAddress !== options.walletAddress) {
      say('is no event of this wallet')
      continue
    }
    const members = body.messageHash === null ? undefined : proven(event, body, options)
    if (body.messageHash !== null && members === undefined) {
      say('is not what the owner signed')
      continue
    }
    if (body.messageHash !== null && used.has(body.messageHash)) say('uses a message a second time')
    if (body.messageHash !== null) used.add(body.messageHash)
    const fault = apply(keys, body, members)
    if (fault !== undefined) say(fault)
  }
  return { keys, faults }
}

/** The members of the message that vouches for an event; undefined when it does not. */
function proven(
  { message, signature }: AuditEvent,
  body: AuditBody,
  { walletAddress, network, recover }: ReplayOptions,
): Members | undefined {
  if (message === undefined || signature === undefined) return undefined
  if (toHex(sha256(message)) !== body.messageHash) return undefined
  const proof = verifyMessage({
    message,
    signature,
    walletAddress,
    network,
    ...(recover !== undefined && { recover }),
  })
  return proof.ok ? (JSON.parse(message) as Members) : undefined
}

/** What may happen to a key without its owner's signature: it only ever loses by it, but for the operator's own doing. */
const UNSIGNED: Readonly<Record<string, readonly string[]>> = {
  suspend_api_key: ['operator'],
  resume_api_key: ['operator'],
  delete_api_key: ['key'],
  suspend_wallet: ['operator'],
  resume_wallet: ['operator'],
  refused: ['service'],
}

/** Whether a service could have honoured a message at a time, with the longest SIGNATURE_MAX_AGE_SECONDS there is. */
function isTimely({ action, timestamp, notAfter }: Members, at: number): boolean {
  const dated = { action: String(action), timestamp: Number(timestamp), notAfter }
  return messageFreshness(dated, at, MAX_MESSAGE_AGE_SECONDS) === 'fresh'
}

/** Of these, what they did to keys is told by events of their own, or there is nothing to tell. */
const SAYS_NOTHING_OF_KEYS = new Set([
  'refused',
  'create_session',
  'suspend_wallet',
  'resume_wallet',
])

function apply(
  keys: Map<string, ReplayedKey>,
  body: AuditBody,
  members: Members | undefined,
): string | undefined {
  const { event, actor, at, details } = body
  const isAdopted = event === 'adopt_api_key' && actor === 'service'
  if (members === undefined) {
    if (!UNSIGNED[event]?.includes(actor)) return `is a ${event} that nobody signed`
  } else if (members.action !== (isAdopted ? 'create_api_key' : event))
    return 'is another action than the signed one'
  else if (actor !== 'owner' && !isAdopted)
    return 'was signed by its owner and done by somebody else'
  else if (!isAdopted && !isTimely(members, at))
    return 'comes at a time when its message was not good'
  if (members?.keyId !== undefined && members.keyId !== body.keyId)
    return 'is about another key than the signed one'
  if (SAYS_NOTHING_OF_KEYS.has(event)) return undefined

  if (event === 'create_api_key' || isAdopted) {
    const { keyHash, createdAt = at, revokedAt = null, suspendedAt = null } = details
    if (body.keyId === null || keys.has(body.keyId) || members === undefined)
      return 'makes no new key'
    keys.set(body.keyId, {
      keyId: body.keyId,
      terms: termsAfter(termMembersOf(members)),
      keyHash: String(keyHash),
      previousKeyHash: null,
      previousUntil: null,
      createdAt: Number(createdAt),
      suspendedAt: suspendedAt === null ? null : Number(suspendedAt),
      suspendedBy: null,
      revokedAt: revokedAt === null ? null : Number(revokedAt),
    })
    return undefined
  }
  if (event === 'revoke_all_api_keys') {
    for (const key of keys.values()) key.revokedAt ??= at
    return undefined
  }
  const key = keys.get(body.keyId ?? '')
  if (key === undefined) return 'is about a key that was never made'
  return change(key, body, members ?? {})
}

function change(key: ReplayedKey, body: AuditBody, members: Members): string | undefined {
  const { event, at, details } = body
  const actor = body.actor === 'operator' ? 'operator' : 'owner'
  if (event === 'delete_api_key' || event === 'revoke_api_key') {
    key.revokedAt ??= at
    return undefined
  }
  const isOver = endReason({ ...key, expiresAt: key.terms.expiresAt }, at) !== undefined
  if (isOver && actor === 'owner') return 'changes a key that had ended'
  switch (event) {
    case 'update_api_key':
      key.terms = termsAfter(termMembersOf(members), key.terms)
      return undefined
    case 'rotate_api_key':
      key.previousKeyHash = key.keyHash
      key.keyHash = String(details.keyHash)
      key.previousUntil = Math.min(
        at + Number(members.graceSeconds) * 1000,
        key.terms.expiresAt ?? Number.POSITIVE_INFINITY,
      )
      return undefined
    case 'suspend_api_key':
      Object.assign(key, suspended(key, actor, at))
      return undefined
    case 'resume_api_key': {
      const left = resumed(key, actor)
      if (left === undefined) return 'lifts a suspension of somebody else'
      Object.assign(key, left)
      return undefined
    }
    default:
      return `is a ${event}, which is no change that keys know`
  }
}

/** What a key says of itself, in any of the places that show one. */
export interface ClaimedRights extends Partial<KeyTerms> {
  keyHash?: string
  previousKeyHash?: string | null
  previousUntil?: number | null
  createdAt?: number
  suspendedAt?: number | null
  suspendedBy?: string | null
  revokedAt?: number | null
}

/** Names what a key claims that its events did not make. What it does not claim is not compared. */
export function differences(claimed: ClaimedRights, { terms, ...state }: ReplayedKey): string[] {
  const made: Record<string, unknown> = { ...terms, ...state }
  return Object.entries(claimed)
    .filter(([name]) => name in made)
    .filter(([name, value]) => comparable(name, value) !== comparable(name, made[name]))
    .map(([name]) => name)
}

function comparable(name: string, value: unknown): string {
  if (value === null || value === undefined) return 'null'
  if (name === 'ipAllowlist')
    return JSON.stringify((value as string[]).map(canonicalIpRange).sort())
  if (name !== 'maxAmountIn') return JSON.stringify(value)
  const amounts = Object.entries(value as Record<string, { perOrder?: string; perDay?: string }>)
  return JSON.stringify(
    amounts.map(([token, { perOrder, perDay }]) => [token, perOrder, perDay]).sort(),
  )
}

function termMembersOf(members: Members): TermMembers {
  return Object.fromEntries(
    TERM_MEMBERS.filter((name) => members[name] !== undefined).map((name) => [name, members[name]]),
  )
}

/** The body of an event, if its text is canonical: two readers then see one event. */
function readBody(text: string): AuditBody | undefined {
  try {
    const body = JSON.parse(text) as AuditBody
    return body.v === 1 && bodyText(body) === text ? body : undefined
  } catch {
    return undefined
  }
}
