import type { ArchivedEvents, AuditEvent, AuditHead, UnrecordedAction } from '../audit/event.ts'
import type { Key } from '../keys/key.ts'
import { termsShown } from '../keys/terms.ts'
import {
  type AuditFault,
  bodyHashOf,
  type ClaimedRights,
  differences,
  keyStatusAt,
  openReplay,
  type Replay,
  type ReplayedKey,
  unrecordedFault,
} from '../provenance/replay.ts'
import { isNetwork, type Network } from '../stacks/network.ts'
import { isAuditHead } from './audit-heads.ts'
import type { CallContext, CallOptions, CallPromise, Calls } from './call.ts'
import { LatchkeyError, latchkeyError, requireWhole } from './errors.ts'
import { type PagedList, pagedList } from './paging.ts'
import type { Transport } from './transport.ts'
import type { Wallet } from './wallet.ts'

/** A wallet's whole audit, to be kept as a JSON file. {@link verifyAudit} checks it without a service. */
export interface AuditExport {
  /**
   * `latchkey-audit 1` is of an earlier release: it has neither `serverTime` nor `unrecorded`, and proves less. `latchkey-audit 3` has
   * `archived`, which `latchkey-audit 2` has not.
   */
  format: 'latchkey-audit 3' | 'latchkey-audit 2' | 'latchkey-audit 1'
  network: Network
  walletAddress: string
  /** Events that the service no longer has: its operator keeps them in archives. `events` begin behind them. */
  archived?: ArchivedEvents
  /** Oldest first, each chained to the one before. */
  events: AuditEvent[]
  /** The live keys as the service returned them with the last events. The events alone say what the ended ones were. */
  keys: Key[]
  /** When the service returned the keys, in milliseconds since 1970. */
  serverTime?: number
  /** Messages of the wallet that the service accepted and its audit does not have. */
  unrecorded?: UnrecordedAction[]
}

/** Options of {@link verifyAudit}. */
export interface VerifyOptions {
  /** An export from before, which this one must continue. */
  older?: AuditExport | undefined
  /** An event that the chain must have: the one that `audit.head` resolved with. */
  head?: AuditHead | undefined
  /** Events out of archives, which the export has as hashes alone. */
  archived?: readonly AuditEvent[] | undefined
  /** How old a message could be when the service accepted it: its `limits.signatureMaxAgeSeconds`. By default a day, the most. */
  maxMessageAgeSeconds?: number
  /** The verifier's time, in milliseconds since 1970, which the export cannot be ahead of. By default the system's. */
  now?: number
}

/** The result of {@link verifyAudit}. */
export interface AuditVerdict {
  /** Whether there is no fault, and no event is missing. */
  ok: boolean
  /** How many events were checked. */
  events: number
  /** How many events are in archives that were not given. What they did to keys is not proven. */
  archived: number
  /** The keys that such an event may have made or changed: what they may do is not proven. */
  unproven: string[]
  /** How many keys were checked. */
  keys: number
  /**
   * Keys of a release without an audit, whose secrets the service's operator vouched for: their terms are what their owner
   * signed, and nothing proves that their secret is the one that the owner got.
   */
  vouched: string[]
  faults: AuditFault[]
}

/** The audit of the signer's wallet. */
export interface Audit {
  /**
   * Exports everything that happened to the wallet's keys, in pages of up to 1,000 events. The wallet signs once for them,
   * and again when its message is no longer fresh, or a session authorizes it.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * const { format, events } = await client.audit.export()
   * console.log(format, events.length)
   * ```
   */
  export(options?: CallOptions): CallPromise<AuditExport>
  /**
   * Resolves with the newest event of the wallet's audit that the client knows, from its own changes and from its
   * `auditHeads`; undefined where it knows none. Nothing is sent but a request for the service's network.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner, verifyAudit } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * await client.keys.create({ name: 'Bot of today', permissions: ['execute'] })
   * const head = await client.audit.head()
   * console.log(verifyAudit(await client.audit.export(), { head }).ok)
   * ```
   */
  head(options?: CallOptions): CallPromise<AuditHead | undefined>
  /**
   * Iterates over the events, oldest first. Signs as `export` does, and checks nothing: {@link verifyAudit} takes an export.
   *
   * @example
   * ```ts
   * import { createClient, privateKeySigner } from 'latchkey/client'
   *
   * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
   * const client = createClient({ baseUrl: 'https://dex.example', signer })
   * for await (const { sequence, body } of client.audit.events()) console.log(sequence, JSON.parse(body).event)
   * ```
   */
  events(options?: CallOptions & { limit?: number }): PagedList<AuditEvent>
}

interface AuditPage extends Pick<AuditExport, 'network' | 'walletAddress' | 'events'> {
  archived?: ArchivedEvents & { after: number }
  nextAfter?: number
  /** With the last events. */
  keys?: Key[]
  serverTime?: number
  unrecorded?: UnrecordedAction[]
  nextUnrecordedAfter?: string
}

/** What the audit of a client needs. */
interface Context {
  transport: Transport
  wallet: Wallet
  calls: Calls
}

const MAX_PAGE = 1_000

/** Creates the `audit` of a client. */
export function createAudit({ transport, wallet, calls }: Context): Audit {
  type Query = { after: number; limit?: number | undefined; unrecordedAfter?: string }
  /** Reads pages, all with one proof. */
  function reading() {
    const proof = wallet.prove({ action: 'list_audit' })
    return (query: Query, context: CallContext) =>
      transport.send<AuditPage>({
        method: 'GET',
        path: '/audit',
        query,
        proof,
        repeatable: true,
        isLong: true,
        context,
      })
  }

  return {
    events({ limit, ...options } = {}) {
      const read = reading()
      return pagedList<AuditEvent>(calls, options, async (cursor, context) => {
        requireWhole('limit', limit, 1, MAX_PAGE)
        const { events, nextAfter } = await read({ after: Number(cursor ?? 0), limit }, context)
        return {
          items: events,
          nextCursor: nextAfter === undefined ? undefined : String(nextAfter),
        }
      })
    },
    export: (options) =>
      calls.start(options, async (context) => {
        const readWithin = reading()
        const read = (query: Query) => readWithin(query, context)
        const events: AuditEvent[] = []
        const bodyHashes: string[] = []
        let archives: ArchivedEvents['archives'] = []
        let page: AuditPage
        let after = 0
        let length = 0
        for (;;) {
          page = await read({ after, limit: 1000 })
          const { archived } = page
          if (archived !== undefined) {
            // Events may leave between two pages: those of the pages before have left as well.
            for (const { body } of events.splice(0)) bodyHashes.push(bodyHashOf(body))
            if (archived.after !== after || after !== bodyHashes.length) throw endlessAudit()
            for (const bodyHash of archived.bodyHashes) bodyHashes.push(bodyHash)
            archives = archived.archives
          }
          for (const event of page.events) events.push(event)
          length += JSON.stringify([page.events, archived]).length
          if (page.nextAfter === undefined) break
          const isEmpty = page.events.length === 0 && archived === undefined
          if (!(page.nextAfter > after) || isEmpty) throw endlessAudit()
          if (length > MAX_EXPORT_LENGTH) throw endlessAudit()
          after = page.nextAfter
        }
        const { network, walletAddress, keys, serverTime } = page
        if (keys === undefined || serverTime === undefined || page.unrecorded === undefined)
          throw latchkeyError('BAD_RESPONSE', 'The service is of a release with another audit')
        const unrecorded = [...page.unrecorded]
        after = events.at(-1)?.sequence ?? 0
        let { nextUnrecordedAfter: next } = page
        for (let pages = 0; next !== undefined; pages++) {
          const more = await read({ after, limit: 1, unrecordedAfter: next })
          for (const action of more.unrecorded ?? []) unrecorded.push(action)
          const { nextUnrecordedAfter } = more
          const advances =
            nextUnrecordedAfter === undefined || Number(nextUnrecordedAfter) > Number(next)
          // A page may have looked at messages that all have their events: it is empty, and the next one is not.
          if (!advances || pages === MAX_UNRECORDED_PAGES) throw endlessAudit()
          next = nextUnrecordedAfter
        }
        const rest = { network, walletAddress, events, keys, serverTime, unrecorded }
        if (bodyHashes.length === 0) return { format: 'latchkey-audit 2' as const, ...rest }
        const archived = { bodyHashes, archives }
        return { format: 'latchkey-audit 3' as const, archived, ...rest }
      }),
    head: (options) => calls.start(options, () => wallet.head()),
  }
}

/** No JSON text can be longer than about twice as much. */
const MAX_EXPORT_LENGTH = 256 * 2 ** 20
/** Each page looks at thousands of messages. */
const MAX_UNRECORDED_PAGES = 10_000

function endlessAudit(): LatchkeyError {
  return latchkeyError('BAD_RESPONSE', 'The pages of the audit do not advance, or do not end')
}

/** How far clocks may differ, as the service allows it for messages. */
const CLOCK_TOLERANCE_MS = 60_000

/**
 * Checks an export without a service: the chain of its events and their times, the owner's signature under each change, the events
 * that the owner's messages name, that every accepted message has its event, and that each key has the status and the terms
 * that its events give it. With a head or an older export of the same wallet it also finds events that were removed or
 * replaced since.
 *
 * A fault is part of the result. Throws `INVALID_ARGUMENT` for an object that is no export.
 *
 * @example
 * ```ts
 * import { createClient, privateKeySigner, verifyAudit } from 'latchkey/client'
 *
 * const signer = privateKeySigner(process.env.WALLET_PRIVATE_KEY ?? '', 'devnet')
 * const client = createClient({ baseUrl: 'https://dex.example', signer })
 * const { ok, faults } = verifyAudit(await client.audit.export())
 * console.log(ok, faults)
 * ```
 */
export function verifyAudit(audit: AuditExport, options: VerifyOptions = {}): AuditVerdict {
  try {
    return judge(audit, options)
  } catch (error) {
    if (error instanceof LatchkeyError) throw error
    throw latchkeyError(
      'INVALID_ARGUMENT',
      `This is no export of an audit: a member has a value that none has (${(error as Error).name})`,
    )
  }
}

function judge(
  audit: AuditExport,
  { older, head, archived: given = [], maxMessageAgeSeconds, now = Date.now() }: VerifyOptions,
): AuditVerdict {
  requireExport(audit)
  if (older !== undefined) {
    requireExport(older)
    requireSameWallet(audit, older)
  }
  if (head !== undefined && !isAuditHead(head))
    throw latchkeyError('INVALID_ARGUMENT', 'A head has a sequence and a hash')
  const { walletAddress, network, events, keys, unrecorded = [] } = audit
  const faults: AuditFault[] = []
  const report = (fault: AuditFault | undefined) => {
    if (fault !== undefined) faults.push(fault)
  }
  const replay = openReplay(
    { walletAddress, network, ...(maxMessageAgeSeconds !== undefined && { maxMessageAgeSeconds }) },
    report,
  )
  pushArchived(replay, audit.archived?.bodyHashes ?? [], given, report)
  for (const event of events) replay.push(event)
  const at = audit.serverTime ?? now
  if (at > now + CLOCK_TOLERANCE_MS) report({ fault: 'the export is dated ahead of now' })
  for (const fault of faultsOfKeys(audit, replay, at)) report(fault)
  for (const action of unrecorded) report(unrecordedFault(action, replay))
  report(faultAgainst(older, replay))
  if (head !== undefined && replay.hashAt(head.sequence) !== head.hash)
    report({ sequence: head.sequence, fault: 'is not the event that the head names, or is gone' })
  const { archived } = replay
  return {
    ok: faults.length === 0 && archived === 0,
    events: replay.events - archived,
    archived,
    unproven: unprovenKeys(audit, replay),
    keys: keys.length,
    vouched: [...replay.vouched],
    faults,
  }
}

/** Replays the events that have left the service: those that are given out of archives whole, the others by their hashes. */
function pushArchived(
  replay: Replay,
  bodyHashes: readonly string[],
  given: readonly AuditEvent[],
  report: (fault: AuditFault) => void,
): void {
  const bySequence = new Map(given.map((event) => [event.sequence, event]))
  for (const [at, bodyHash] of bodyHashes.entries()) {
    const event = bySequence.get(at + 1)
    if (event === undefined) replay.pushArchived(bodyHash)
    else if (bodyHashOf(event.body) === bodyHash) replay.push(event)
    else {
      report({ sequence: at + 1, fault: 'is another event in the archive than in the chain' })
      replay.pushArchived(bodyHash)
    }
  }
}

/** Live keys that no event at hand made, where events are missing, and those that changed after them. */
function unprovenKeys({ keys }: AuditExport, replay: Replay): string[] {
  if (replay.archived === 0) return []
  const listed = keys.map(({ keyId }) => keyId).filter((keyId) => !replay.keys.has(keyId))
  return [...new Set([...listed, ...replay.unproven])]
}

function requireExport(audit: AuditExport): void {
  const { format, network, events, archived, keys, serverTime, unrecorded } = audit
  const isOld = format === 'latchkey-audit 1'
  const isCut = format === 'latchkey-audit 3'
  const isWhole =
    (isOld || isCut || format === 'latchkey-audit 2') &&
    isCut === isArchived(archived) &&
    isListOf(events, ({ body, hash }) => typeof body === 'string' && typeof hash === 'string') &&
    isListOf(keys, ({ keyId }) => typeof keyId === 'string') &&
    (isOld ? serverTime === undefined && unrecorded === undefined : Number.isFinite(serverTime)) &&
    (isOld || isListOf(unrecorded, ({ message }) => typeof message === 'string'))
  if (!isWhole) throw latchkeyError('INVALID_ARGUMENT', 'This is no export of an audit')
  if (!isNetwork(network))
    throw latchkeyError('INVALID_ARGUMENT', 'This is an export of no network that there is')
}

function isArchived(archived: ArchivedEvents | undefined): boolean {
  const hashes = archived?.bodyHashes
  return Array.isArray(hashes) && hashes.every((hash) => /^[0-9a-f]{64}$/.test(String(hash)))
}

/** Another wallet's chain would look like one that was replaced: an alarm without a cause. */
function requireSameWallet(audit: AuditExport, older: AuditExport): void {
  if (older.walletAddress === audit.walletAddress && older.network === audit.network) return
  throw latchkeyError('INVALID_ARGUMENT', 'The older export is of another wallet')
}

function isListOf<Item>(list: Item[] | undefined, isItem: (item: Item) => boolean): boolean {
  const isObject = (item: Item) => typeof item === 'object' && item !== null
  return Array.isArray(list) && list.every((item) => isObject(item) && isItem(item))
}

/** What is wrong with the keys: each that is listed, and each live one that is not. */
function faultsOfKeys(
  { walletAddress, keys }: AuditExport,
  replay: Replay,
  at: number,
): AuditFault[] {
  const listed = new Set(keys.map(({ keyId }) => keyId))
  const missing = [...replay.keys.values()].filter(
    (made) => !listed.has(made.keyId) && ['active', 'suspended'].includes(keyStatusAt(made, at)),
  )
  return [
    ...(listed.size === keys.length ? [] : [{ fault: 'a key is listed twice' }]),
    ...missing.map(({ keyId }) => ({ keyId, fault: 'is live and not listed' })),
    ...keys.flatMap((key) => {
      const made = replay.keys.get(key.keyId)
      const isUnproven = made === undefined && replay.archived > 0
      return key.walletAddress === walletAddress && key.id === key.keyId
        ? isUnproven
          ? []
          : faultsOfKey(key, made, at)
        : [{ keyId: key.keyId, fault: 'is no key of this wallet' }]
    }),
  ]
}

/** What a key is shown as, and may do, beyond or short of what the events made it. */
function faultsOfKey(key: Key, made: ReplayedKey | undefined, at: number): AuditFault[] {
  const { keyId, status } = key
  if (made === undefined) return [{ keyId, fault: 'no event made it' }]
  const due = keyStatusAt(made, at)
  return [
    ...(status === due
      ? []
      : [{ keyId, fault: `is shown as ${status}, and its events say ${due}` }]),
    ...differences(claimsOf(key, made, at), made).map((name) => ({
      keyId,
      fault: `${name} is not what its owner signed`,
    })),
  ]
}

/** The first event of an older export that the newer one does not have in its place. */
function faultAgainst(
  older: AuditExport | undefined,
  replay: Pick<Replay, 'hashAt'>,
): AuditFault | undefined {
  const left = older?.archived?.bodyHashes.length ?? 0
  const at =
    older?.events.findIndex((event, at) => replay.hashAt(left + at + 1) !== event.hash) ?? -1
  if (at < 0) return undefined
  return { sequence: left + at + 1, fault: 'was another event in the older export, or is gone' }
}

/** A key's terms and times in the form of the replay. The service's default rate was not signed, and is no claim. */
function claimsOf(key: Key, { terms, previousUntil }: ReplayedKey, at: number): ClaimedRights {
  const { rateLimit, ...claims } = termsShown(key)
  const msOf = (time: string | undefined) => (time === undefined ? null : Date.parse(time))
  return {
    ...claims,
    ...(terms.rateLimit !== null && { rateLimit }),
    createdAt: Date.parse(key.createdAt),
    suspendedAt: msOf(key.suspendedAt),
    revokedAt: msOf(key.revokedAt),
    // A response has the end of a rotation's grace only until then.
    ...((previousUntil ?? 0) > at && { previousUntil: msOf(key.previousUntil) }),
    ...(key.previousUntil !== undefined && { previousUntil: msOf(key.previousUntil) }),
  }
}
