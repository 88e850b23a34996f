import {
  lastFreshMs,
  MAX_FUTURE_SECONDS,
  MAX_MESSAGE_AGE_SECONDS,
  messageFreshness,
} from '../actions/action.ts'
import {
  type Actor,
  type AuditBody,
  type AuditEvent,
  type AuditHead,
  bodyText,
  canonicalJson,
  chainHash,
  FIRST_HASH,
  linkHash,
  type UnrecordedAction,
} from '../audit/event.ts'
import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import type { KeyStatus } from '../keys/key.ts'
import { endReason, inactiveReason } from '../keys/liveness.ts'
import { hashOfGrant } from '../keys/public-key.ts'
import { isSuspendingRule, resumed, type SuspendingRule, suspended } from '../keys/suspension.ts'
import {
  canonicalTerm,
  isTermName,
  type KeyTerms,
  TERM_MEMBERS,
  type TermMembers,
  termsAfter,
} from '../keys/terms.ts'
import type { Network } from '../stacks/network.ts'
import type { Recover } from '../stacks/recover.ts'
import { verifyMessage } from '../stacks/signature.ts'
import type { Json } from '../wire/json.ts'

/** What an audit cannot account for, in words. */
export interface AuditFault {
  sequence?: number
  keyId?: string
  fault: string
}

/** A key as its events made it. Times are milliseconds since 1970, hashes are hex. */
export interface ReplayedKey {
  keyId: string
  /** SHA-256 of the create_api_key message. */
  grantHash: string
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

/** A chain that is replayed event by event, so that its reader needs not hold all of it. */
export interface Replay {
  readonly keys: Map<string, ReplayedKey>
  /** How many events were replayed. */
  readonly events: number
  /** When the service converted a key of a release without an audit: the latest such event, in milliseconds since 1970. */
  readonly convertedAt: number | null
  /** The keys whose secrets the operator vouched for, because no event of an owner's grant names them. */
  readonly vouched: ReadonlySet<string>
  /** How many of the events are known by the hash of their bodies alone. */
  readonly archived: number
  /** Keys that changed after such an event, which may have made them: what they may do is not proven. */
  readonly unproven: ReadonlySet<string>
  /** The hash of an event that was replayed; undefined where there is none. */
  hashAt(sequence: number): string | undefined
  push(event: AuditEvent): void
  /** Continues the chain with an event whose body is in an archive. Nothing is known of any key then. */
  pushArchived(bodyHash: string): void
  /** What another replay goes on from, with the hashes of the chain. */
  state(): ReplayState
}

/** What a replay knows behind its last event. It is JSON. */
export interface ReplayState {
  /** Of the latest event, in milliseconds since 1970; null where there is none. */
  latest: number | null
  convertedAt: number | null
  vouched: string[]
  /** Messages that a later event could still name, each with the last moment at which it is fresh. */
  consumed: [messageHash: string, lastFresh: number][]
  keys: ReplayedKey[]
}

/** Where a replay begins that has no events before. */
export interface ReplayStart {
  /** Of the events so far, as `hashAt` returns them. */
  hashes: string[]
  state: ReplayState
}

export interface ReplayOptions {
  walletAddress: string
  network: Network
  recover?: Recover
  /** How old a message could be when the service accepted it, at most: its SIGNATURE_MAX_AGE_SECONDS. By default a day, the most. */
  maxMessageAgeSeconds?: number
}

/** The members of a signed message, as far as replay reads them. The service validated them before it acted on them. */
type SignedMembers = TermMembers & {
  action?: unknown
  keyId?: unknown
  graceSeconds?: unknown
  timestamp?: unknown
  notAfter?: string | number
  auditHead?: unknown
  keyHash?: unknown
  previousUntil?: unknown
}

/** An event whose place in the chain and whose signature were checked. `signed` is undefined where no owner signed. */
interface ProvenEvent {
  body: AuditBody
  signed: SignedMembers | undefined
}

/**
 * Replays a wallet's audit from its events alone: checks every link of the chain and every signature, and makes each key what
 * its owner signed. It cannot tell whether events are missing at the end: a head or an older export can.
 */
export function replayAudit(events: readonly AuditEvent[], options: ReplayOptions): Replayed {
  const faults: AuditFault[] = []
  const replay = openReplay(options, (fault) => faults.push(fault))
  for (const event of events) replay.push(event)
  return { keys: replay.keys, faults }
}

/** Opens the replay of a wallet's audit; `report` gets each fault. */
export function openReplay(
  options: ReplayOptions,
  report: (fault: AuditFault) => void,
  start: ReplayStart = { hashes: [], state: NOTHING },
): Replay {
  const keys = new Map(start.state.keys.map((key) => [key.keyId, { ...key }]))
  const vouched = new Set(start.state.vouched)
  const consumed = new Map(start.state.consumed)
  const unproven = new Set<string>()
  const hashes = [...start.hashes]
  let latest = start.state.latest ?? Number.NEGATIVE_INFINITY
  let { convertedAt } = start.state
  let archived = 0

  function faultsOf(event: AuditEvent): (string | undefined)[] {
    const proven = proveEvent(event, options)
    if (typeof proven === 'string') return [proven]
    const { body } = proven
    const { messageHash, at } = body
    const isReused = messageHash !== null && consumed.has(messageHash)
    if (messageHash !== null) consumed.set(messageHash, lastFreshOf(proven.signed))
    const isEarly = at < latest - MAX_FUTURE_SECONDS * 1000
    if (!isUndated(body)) latest = Math.max(latest, at)
    if (isBackfill(body)) {
      convertedAt = at
      vouched.add(String(body.keyId))
    }
    return [
      isReused ? 'uses a message a second time' : undefined,
      isEarly && !isUndated(body) ? 'is dated before an event ahead of it' : undefined,
      headFault(proven, hashes),
      eventFault(proven, options) ?? applyEvent(keys, proven, archived > 0 ? unproven : undefined),
    ]
  }

  return {
    keys,
    vouched,
    unproven,
    get archived() {
      return archived
    },
    get events() {
      return hashes.length
    },
    get convertedAt() {
      return convertedAt
    },
    hashAt: (sequence) => hashes[sequence - 1],
    push(event) {
      const { sequence, body, hash } = event
      const reportAll = (faults: (string | undefined)[]) => {
        for (const fault of faults) if (fault !== undefined) report({ sequence, fault })
      }
      const number = hashes.length + 1
      if (sequence !== number) reportAll([`is number ${number} of the chain`])
      if (chainHash(hashes.at(-1) ?? FIRST_HASH, body) !== hash)
        reportAll(['breaks the chain: its hash is not of its body'])
      reportAll(faultsOf(event))
      hashes.push(hash)
    },
    pushArchived(bodyHash) {
      hashes.push(linkHash(hashes.at(-1) ?? FIRST_HASH, fromHex(bodyHash)))
      archived += 1
      keys.clear()
      vouched.clear()
    },
    state: () => ({
      latest: Number.isFinite(latest) ? latest : null,
      convertedAt,
      vouched: [...vouched],
      consumed: [...consumed].filter(
        ([, lastFresh]) => lastFresh >= latest - MAX_FUTURE_SECONDS * 1000,
      ),
      keys: [...keys.values()],
    }),
  }
}

const NOTHING: ReplayState = {
  latest: null,
  convertedAt: null,
  vouched: [],
  consumed: [],
  keys: [],
}

function lastFreshOf({ action, timestamp, notAfter }: SignedMembers = {}): number {
  const lastFresh = lastFreshMs({ action: String(action), timestamp: Number(timestamp), notAfter })
  return Number.isFinite(lastFresh) ? lastFresh : 0
}

/** SHA-256 of the body of an event, hex: what stays of it once it has left with an archive. */
export function bodyHashOf(body: string): string {
  return toHex(sha256(body))
}

/** A refusal of the gate is recorded some time after it happened. */
function isUndated({ event }: AuditBody): boolean {
  return event === 'refused'
}

/** What is wrong with the head that an event's message names: it must be an event of the chain before this one. */
function headFault({ body, signed }: ProvenEvent, hashes: readonly string[]): string | undefined {
  const named: unknown = signed?.auditHead
  if (named === undefined && body.auditHead === undefined) return undefined
  const [inMessage, inBody] = [headOf(named), headOf(body.auditHead)]
  if (inMessage?.hash !== inBody?.hash || inMessage?.sequence !== inBody?.sequence)
    return 'names another event than its message'
  const isKnown = inMessage !== undefined && hashes[inMessage.sequence - 1] === inMessage.hash
  return isKnown ? undefined : 'names an event that is not in the chain before it'
}

function headOf(value: unknown): AuditHead | undefined {
  const { sequence, hash } = isObject(value) ? (value as Partial<AuditHead>) : {}
  return typeof sequence === 'number' && typeof hash === 'string' ? { sequence, hash } : undefined
}

/**
 * What an accepted message without an event is: a change that was cut out of the chain. The messages of a release without an
 * audit have no events either; when its keys were converted, only their revocations still count.
 */
export function unrecordedFault(
  { message, acceptedAt }: UnrecordedAction,
  { keys, convertedAt }: Pick<Replay, 'keys' | 'convertedAt'>,
): AuditFault | undefined {
  const { action, keyId } = (parseObject(message) ?? {}) as SignedMembers
  const isOlder = convertedAt !== null && acceptedAt <= convertedAt
  const key = keys.get(String(keyId))
  const isHarmless =
    isOlder &&
    (action === 'create_api_key' ||
      (action === 'delete_api_key' && (key === undefined || key.revokedAt !== null)))
  if (isHarmless) return undefined
  return {
    ...(typeof keyId === 'string' && { keyId }),
    fault: `has no event for a ${String(action)} that was accepted at ${timeText(acceptedAt)}`,
  }
}

function timeText(ms: number): string {
  return Number.isFinite(ms) && Math.abs(ms) <= 8.64e15 ? new Date(ms).toISOString() : String(ms)
}

/** The status that a key's events give it at a time. */
export function keyStatusAt(key: ReplayedKey, at: number): KeyStatus {
  return inactiveReason({ ...key, expiresAt: key.terms.expiresAt }, at) ?? 'active'
}

/** Reads an event's body and verifies the message that it names; returns the fault when either fails. */
function proveEvent(event: AuditEvent, options: ReplayOptions): ProvenEvent | string {
  const body = readBody(event.body)
  if (body === undefined || body.walletAddress !== options.walletAddress)
    return 'is no event of this wallet'
  if (body.messageHash === null)
    return event.message === undefined
      ? { body, signed: undefined }
      : 'has a message that it does not name'
  const signed = verifiedMembers(event, body.messageHash, options)
  return signed === undefined ? 'is not what the owner signed' : { body, signed }
}

/** The body of an event; undefined unless its text is canonical, so that all readers see the same event. */
function readBody(text: string): AuditBody | undefined {
  const body = parseObject(text) as AuditBody | undefined
  const isBody =
    body?.v === 1 &&
    typeof body.event === 'string' &&
    typeof body.at === 'number' &&
    (body.messageHash === null || typeof body.messageHash === 'string') &&
    isObject(body.details) &&
    isCanonical(body, text)
  return isBody ? body : undefined
}

/** A body that is nested too deeply for the writer is none that the service wrote. */
function isCanonical(body: AuditBody, text: string): boolean {
  try {
    return bodyText(body) === text
  } catch {
    return false
  }
}

function parseObject(text: string): object | undefined {
  try {
    const value: unknown = JSON.parse(text)
    return isObject(value) ? value : undefined
  } catch {
    return undefined
  }
}

function isObject(value: unknown): value is object {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

/** The members of an event's message; undefined unless its hash and its signature fit. */
function verifiedMembers(
  { message, signature }: AuditEvent,
  messageHash: string,
  { walletAddress, network, recover }: ReplayOptions,
): SignedMembers | undefined {
  if (message === undefined || signature === undefined) return undefined
  if (toHex(sha256(message)) !== messageHash) return undefined
  const proof = verifyMessage({
    message,
    signature,
    walletAddress,
    network,
    ...(recover !== undefined && { recover }),
  })
  return proof.ok ? parseObject(message) : undefined
}

/** The event that a backfill writes for a key of a release without an audit. Its message is the owner's old grant. */
function isBackfill({ event, actor }: AuditBody): boolean {
  return event === 'adopt_api_key' && actor === 'service'
}

/**
 * The events that may come without a signature, and the actors that cause each. Only the operator's resuming gives back a right. The
 * service suspends by a rule that the owner signed.
 */
const UNSIGNED: ReadonlyMap<string, readonly Actor[]> = new Map([
  ['suspend_api_key', ['operator', 'service']],
  ['resume_api_key', ['operator']],
  ['delete_api_key', ['key']],
  ['suspend_wallet', ['operator']],
  ['resume_wallet', ['operator']],
  ['refused', ['service']],
  ['cancel_open_orders', ['service']],
  // Of an operator account's own chain.
  ['fund_operator', ['operator']],
  ['retire_operator', ['operator']],
  ['resume_operator', ['operator']],
  ['return_operator_funds', ['operator']],
  ['create_service_credential', ['operator']],
  ['revoke_service_credential', ['operator']],
])

/** What makes an event impossible, whatever came before it: the wrong actor, message, time or key. */
function eventFault(
  { body, signed }: ProvenEvent,
  { maxMessageAgeSeconds = MAX_MESSAGE_AGE_SECONDS }: ReplayOptions,
): string | undefined {
  const { event, actor, at } = body
  if (signed === undefined)
    return UNSIGNED.get(event)?.includes(actor) === true
      ? undefined
      : `is a ${event} without a signature`
  const isBackfilled = isBackfill(body)
  if (signed.action !== (isBackfilled ? 'create_api_key' : event))
    return 'is another action than the signed one'
  if (actor !== 'owner' && !isBackfilled) return 'was signed by its owner and done by another actor'
  if (!isBackfilled && !isTimely(signed, at, maxMessageAgeSeconds))
    return 'comes at a time when its message was not fresh'
  if (signed.keyId !== undefined && signed.keyId !== body.keyId)
    return 'is about another key than the signed one'
  return undefined
}

/** Whether a service could have accepted a message at a time. */
function isTimely(
  { action, timestamp, notAfter }: SignedMembers,
  at: number,
  maxAgeSeconds: number,
): boolean {
  const dated = { action: String(action), timestamp: Number(timestamp), notAfter }
  return messageFreshness(dated, at, maxAgeSeconds) === 'fresh'
}

/** Events that change no key by themselves; a suspended wallet's keys have events of their own. */
const CHANGES_NO_KEY = new Set([
  'refused',
  'cancel_open_orders',
  'create_session',
  'create_webhook',
  'update_webhook',
  'rotate_webhook_secret',
  'delete_webhook',
  'suspend_wallet',
  'resume_wallet',
  'fund_operator',
  'retire_operator',
  'resume_operator',
  'create_service_credential',
  'revoke_service_credential',
  'return_operator_funds',
])

/**
 * Applies an event to the keys; returns the fault when it does not fit them. `unproven` receives the keys that an archived event may have
 * made.
 */
function applyEvent(
  keys: Map<string, ReplayedKey>,
  { body, signed = {} }: ProvenEvent,
  unproven: Set<string> | undefined,
): string | undefined {
  const { event, at } = body
  if (CHANGES_NO_KEY.has(event)) return undefined
  if (event === 'create_api_key' || isBackfill(body)) return createKey(keys, body, signed)
  if (event === 'revoke_all_api_keys') {
    for (const key of keys.values()) key.revokedAt ??= at
    return undefined
  }
  const key = keys.get(body.keyId ?? '')
  if (key === undefined && unproven !== undefined) {
    unproven.add(body.keyId ?? '')
    return undefined
  }
  if (key === undefined) return 'is about a key that no event created'
  return changeKey(key, body, signed)
}

/** A key without a secret is found by the message that named its public key. */
function isOfPublicKey(
  { publicKey }: SignedMembers,
  { walletAddress, messageHash, details }: AuditBody,
): boolean {
  return publicKey == null || details.keyHash === hashOfGrant(walletAddress, String(messageHash))
}

const OTHER_SECRET = 'has another secret than the signed one'
const NO_PREVIOUS = { previousKeyHash: null, previousUntil: null }

function isOtherSecret({ keyHash }: SignedMembers, details: AuditBody['details']): boolean {
  return keyHash !== undefined && keyHash !== details.keyHash
}

function createKey(
  keys: Map<string, ReplayedKey>,
  body: AuditBody,
  signed: SignedMembers,
): string | undefined {
  const { keyId, at, details, messageHash } = body
  if (keyId === null || messageHash === null || keys.has(keyId)) return 'creates no new key'
  // The owner may have made the secret: then it is proven too.
  if (isOtherSecret(signed, details)) return OTHER_SECRET
  if (!isOfPublicKey(signed, body)) return 'is found by another hash than its public key has'
  // A backfilled key existed before its event, whose details are its state at that time.
  const { keyHash, createdAt = at, revokedAt = null, suspendedAt = null } = details
  keys.set(keyId, {
    keyId,
    grantHash: messageHash,
    terms: termsAfter(signed),
    keyHash: String(keyHash),
    previousKeyHash: null,
    previousUntil: null,
    createdAt: Number(createdAt),
    suspendedAt: suspendedAt === null ? null : Number(suspendedAt),
    suspendedBy: null,
    revokedAt: revokedAt === null ? null : Number(revokedAt),
  })
  return unknownTerms(signed)
}

function changeKey(key: ReplayedKey, body: AuditBody, signed: SignedMembers): string | undefined {
  const { event, at, details } = body
  const actor = body.actor === 'operator' ? 'operator' : 'owner'
  if (event === 'delete_api_key' || event === 'revoke_api_key') {
    key.revokedAt ??= at
    return undefined
  }
  const hasEnded = endReason({ ...key, expiresAt: key.terms.expiresAt }, at) !== undefined
  if (hasEnded && actor === 'owner') return 'changes a key that had ended'
  switch (event) {
    case 'update_api_key':
      if (!isOfPublicKey(signed, body)) return 'is found by another hash than its public key has'
      if (signed.publicKey != null) key.keyHash = String(details.keyHash)
      key.terms = termsAfter(signed, key.terms)
      if (signed.previousUntil === null) Object.assign(key, NO_PREVIOUS)
      return unknownTerms(signed)
    case 'rotate_api_key': {
      if (isOtherSecret(signed, details)) return OTHER_SECRET
      const graceMs = Number(signed.graceSeconds) * 1000
      // A release before kept the hash of a secret that has no grace; its events do not name previousUntil.
      const isDropped = graceMs === 0 && details.previousUntil === null
      const end = Math.min(at + graceMs, key.terms.expiresAt ?? Number.POSITIVE_INFINITY)
      key.previousKeyHash = isDropped ? null : key.keyHash
      key.previousUntil = isDropped ? null : end
      key.keyHash = String(details.keyHash)
      return undefined
    }
    case 'suspend_api_key': {
      const by = body.actor === 'service' ? details.reason : actor
      if (by !== 'owner' && by !== 'operator' && !isSuspendingRule(by))
        return 'suspends by a rule that this release does not know'
      const rule = isSuspendingRule(by) ? ruleFault(key, by) : undefined
      Object.assign(key, suspended(key, by, at))
      return rule
    }
    case 'resume_api_key': {
      const left = resumed(key, actor)
      if (left === undefined) return 'lifts a suspension of another actor'
      Object.assign(key, left)
      return undefined
    }
    default:
      return `is a ${event}, which changes no key`
  }
}

/** What is wrong with a suspension by a rule: the owner signed no such rule, or one that only notifies. */
function ruleFault({ terms }: ReplayedKey, rule: SuspendingRule): string | undefined {
  const isSigned =
    rule === 'heartbeat'
      ? terms.heartbeat?.then === 'suspend'
      : terms.alerts?.[rule]?.action === 'suspend'
  return isSigned ? undefined : `suspends by ${rule}, which its owner did not sign`
}

/** The members of create_api_key and update_api_key that set no term. */
const OTHER_MEMBERS = [
  'action',
  'keyId',
  'timestamp',
  'domain',
  'network',
  'walletAddress',
  'auditHead',
  'keyHash',
  'previousUntil',
]

/** A later release may have terms that this one does not know: what the owner signed is then not proven here. */
function unknownTerms(signed: SignedMembers): string | undefined {
  const known: readonly string[] = [...OTHER_MEMBERS, ...TERM_MEMBERS]
  const unknown = Object.keys(signed).filter((name) => !known.includes(name))
  return unknown.length === 0
    ? undefined
    : `signs ${unknown.join(', ')}, which this release does not know`
}

/** What a row, or a key in a response, claims to be. */
export interface ClaimedRights extends Partial<KeyTerms> {
  grantHash?: string | null
  keyHash?: string
  previousKeyHash?: string | null
  previousUntil?: number | null
  createdAt?: number
  suspendedAt?: number | null
  suspendedBy?: string | null
  revokedAt?: number | null
}

/** The names of claims that are not what the key's events made it. What is not claimed is not compared. */
export function differences(claimed: ClaimedRights, { terms, ...state }: ReplayedKey): string[] {
  const made: Record<string, unknown> = { ...terms, ...state }
  return Object.entries(claimed)
    .filter(([name]) => Object.hasOwn(made, name))
    .filter(([name, value]) => comparable(name, value) !== comparable(name, made[name]))
    .map(([name]) => name)
}

function comparable(name: string, value: unknown = null): string {
  return canonicalJson((isTermName(name) ? canonicalTerm(name, value) : value) as Json)
}
