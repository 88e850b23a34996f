import type { Mac } from '../crypto/mac.ts'
import { type Database, isLockTimeout, isOutage } from '../db/database.ts'
import { type OrderRow, orderOfJson } from '../db/order-row.ts'
import { type Rights, type RightsRow, readRights, rightsText } from '../keys/rights.ts'
import type { Scope } from '../keys/scope.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Log } from '../log.ts'
import { memoize } from '../memoize.ts'
import { type Result, refuse } from '../result.ts'
import {
  type Ask,
  type Limits,
  prepareAdmit,
  type Quota,
  type Spent,
  type Verdict,
} from './admit.ts'
import { retryAfterSeconds, WINDOW_SECONDS, type Window } from './windows.ts'

/** A request that the gate let through: whose key it came with, and what is left of its windows. */
export interface Admission {
  keyId: string
  walletAddress: string
  /** What the key may do. */
  rights: Rights
  /** Milliseconds since 1970 at which the secret ends, its key or its grace; undefined when neither does. */
  endsAt: number | undefined
  windows: Window[]
  /** The order that the request names, as it was when the gate opened; undefined when there is none. */
  order: OrderRow | undefined
}

export type GateReason =
  | 'apiKeyInvalid'
  | 'apiKeyInactive'
  | 'ipNotAllowed'
  | 'rateLimited'
  | 'permissionDenied'
  | 'unavailable'

/**
 * An answer, the key if it is known, and the windows that the request was counted in, if any: refusals of steps 1 to 4 use
 * up nothing. A key whose row was edited is the exception: only outside of the database can that be seen.
 */
export type GateAnswer = { windows?: Window[]; keyId?: string } & Result<Admission, GateReason>

export interface GateRequest {
  hash: KeyHash
  /** The client's address; undefined when it is not an IP address, which no allow list holds. */
  ip: string | undefined
  /** What the request needs; none for reading one's own orders. */
  scope: Scope | undefined
  /** An order to bring along: letters, digits, _ and - only. */
  uuid?: string | undefined
  now: number
}

/** Answers whether a key may do this now, and counts the request if it may ask at all. */
export type Gate = (request: GateRequest) => Promise<GateAnswer>

export interface GateOptions {
  /** Checks that a key's row is as the service wrote it. */
  mac: Mac
  log: Log
  /** Requests that may wait for their turn. Whoever comes next is refused at once, instead of answered late. */
  maxWaiting?: number
  /** Waits until what has arrived is read, so that the next statement answers all of it. By default not at all. */
  gather?: () => Promise<void>
}

interface Waiting {
  request: GateRequest
  /** The same for requests with the same key from the same address. */
  name: string
  answer: (answer: GateAnswer) => void
  fail: (error: unknown) => void
}

/** A verdict whose key's row was checked against its seal. */
interface Inspected {
  keyId: string | null
  refusal: Verdict['refusal'] | 'tampered'
  may: Rights | undefined
  quota: Quota | undefined
}

const MOST_REMEMBERED = 10_000
const MAX_WAITING = 10_000
/** Requests that one statement answers, at most. */
const MAX_BATCH = 1_000

/**
 * Opens the gate on a database. Requests that arrive while a statement is under way are answered together by the next
 * one, so the cost of a request falls as the load rises. Every answer is read after its request arrived: nothing is
 * cached, and nothing can outlive a revocation.
 */
export function openGate(
  db: Database,
  limits: Limits,
  { mac, log, maxWaiting = MAX_WAITING, gather }: GateOptions,
): Gate {
  const spend = prepareAdmit(db, limits)
  let waiting: Waiting[] = []
  let busy = false

  async function drain(): Promise<void> {
    busy = true
    let answered = 0
    while (waiting.length > 0) {
      if (gather !== undefined) await gather()
      const size = shareOf(waiting.length, answered)
      const batch = waiting.slice(0, size)
      waiting = waiting.slice(size)
      await answerAll(batch)
      answered = batch.length
    }
    busy = false
  }

  async function answerAll(batch: readonly Waiting[], held?: 'skip'): Promise<void> {
    const groups = group(batch)
    try {
      const asks = [...groups.values()].map(askOf)
      const { verdicts, orders } = await spend(asks, uuidsOf(batch), latest(batch), held)
      settle(batch, groups, { verdicts: verdicts.map(inspect), orders }, limits)
    } catch (error) {
      // One request that the database chokes on must not take the others with it, nor one key that is held.
      if (isLockTimeout(error) && held === undefined) await answerAll(batch, 'skip')
      else if (isOutage(error) || batch.length === 1) for (const { fail } of batch) fail(error)
      else for (const one of batch) await answerAll([one])
    }
  }

  // Not a cache of keys: the text is of this request's row. That it always means the same is what is remembered.
  const understand = memoize(MOST_REMEMBERED, (text) => {
    const row = JSON.parse(text) as RightsRow
    return { may: readRights(row), seal: mac(rightsText(row)) }
  })

  function inspect(verdict: Verdict): Inspected {
    const { keyId, refusal, quota } = verdict
    const known = verdict.rights === null ? undefined : understand(verdict.rights)
    if (known === undefined) return { keyId, refusal, may: undefined, quota }
    if (verdict.mac === known.seal) return { keyId, refusal, may: known.may, quota }
    log('error', 'api_key_tampered', { keyId: keyId ?? '' })
    return { keyId, refusal: 'tampered', may: undefined, quota }
  }

  return function gate(request) {
    if (waiting.length >= maxWaiting)
      return Promise.resolve(refuse('unavailable', { reason: 'overload' }))
    return new Promise<GateAnswer>((answer, fail) => {
      waiting.push({ request, name: `${request.hash} ${request.ip}`, answer, fail })
      if (!busy) void drain()
    })
  }
}

/**
 * How many of those that wait the next statement answers: half of all who ask. So the database works on one half while
 * this process works on the other, and neither ever waits for the other with nearly everybody in one batch.
 */
function shareOf(waiting: number, answered: number): number {
  const share = answered === 0 ? waiting : Math.ceil((waiting + answered) / 2)
  return Math.min(waiting, share, MAX_BATCH)
}

/** Requests with the same key from the same address. */
function group(batch: readonly Waiting[]): Map<string, Waiting[]> {
  const groups = new Map<string, Waiting[]>()
  for (const one of batch) {
    const group = groups.get(one.name)
    if (group === undefined) groups.set(one.name, [one])
    else group.push(one)
  }
  return groups
}

function askOf(group: Waiting[]): Ask {
  const { hash, ip } = (group[0] as Waiting).request
  return { hash, ip, wanted: group.length }
}

function uuidsOf(batch: readonly Waiting[]): string[] {
  const uuids = batch.map(({ request }) => request.uuid).filter((uuid) => uuid !== undefined)
  return [...new Set(uuids)]
}

function latest(batch: readonly Waiting[]): number {
  return batch.reduce((now, { request }) => Math.max(now, request.now), 0)
}

/** Gives each its answer. Whoever came first passes first, from whatever address. */
function settle(
  batch: readonly Waiting[],
  groups: Map<string, Waiting[]>,
  { verdicts, orders }: { verdicts: Inspected[]; orders: Spent['orders'] },
  limits: Limits,
): void {
  const verdictOf = new Map([...groups.keys()].map((name, at) => [name, verdicts[at]]))
  const rows = new Map(orders.map((order) => [order.uuid, order]))
  const passed = new Map<string, number>()
  for (const one of batch) {
    const { request, answer } = one
    const json = request.uuid === undefined ? undefined : rows.get(request.uuid)
    const order = json === undefined ? undefined : orderOfJson(json)
    const verdict = verdictOf.get(one.name)
    const place = passed.get(verdict?.keyId ?? '') ?? 0
    if (verdict?.keyId != null && verdict.quota !== undefined)
      passed.set(verdict.keyId, Math.min(place + 1, verdict.quota.room))
    answer(judge(verdict, place, request, order, limits))
  }
}

/** What a verdict means for a request, when that many with its key have passed before it. */
function judge(
  verdict: Inspected | undefined,
  before: number,
  request: GateRequest,
  order: OrderRow | undefined,
  limits: Limits,
): GateAnswer {
  if (verdict?.refusal === 'busy') return refuse('unavailable', { reason: 'key_busy' })
  if (verdict === undefined || verdict.keyId === null) return refuse('apiKeyInvalid')
  const { keyId, may, quota, refusal } = verdict
  if (refusal === 'ip')
    return { ...refuse('ipNotAllowed', { observedIp: request.ip ?? null }), keyId }
  if (may === undefined || quota === undefined)
    return { ...refuse('apiKeyInactive', { reason: refusal }), keyId }

  const admitted = before < quota.room
  const windows = windowsOf(quota, admitted ? before + 1 : before, limits)
  if (!admitted) {
    const seconds = retryAfterSeconds(windows, request.now)
    return { ...refuse('rateLimited', { retryAfterSeconds: seconds }), windows, keyId }
  }
  const { permissions, walletAddress } = may
  if (request.scope !== undefined && !permissions.includes(request.scope)) {
    const details = { required: request.scope, granted: permissions }
    return { ...refuse('permissionDenied', details), windows, keyId }
  }
  const endsAt = endOfSecret(may, request.hash)
  const pass = { keyId, walletAddress, rights: may, endsAt, windows, order }
  return { ok: true, value: pass, windows, keyId }
}

function endOfSecret(
  { expiresAt, keyHash, previousUntil }: Rights,
  hash: KeyHash,
): number | undefined {
  if (expiresAt === null && previousUntil === null) return undefined
  const until = keyHash === hash ? null : previousUntil
  const ends = [expiresAt, until].filter((end) => end !== null)
  return ends.length === 0 ? undefined : Math.min(...ends)
}

function windowsOf(quota: Quota, more: number, limits: Limits): Window[] {
  const window = (name: Window['name'], number: number, used: number, limit: number): Window => ({
    name,
    limit,
    remaining: Math.max(0, limit - used - more),
    resetAt: (number + 1) * WINDOW_SECONDS[name],
    lengthSeconds: WINDOW_SECONDS[name],
  })
  return [
    window('minute', quota.minuteWindow, quota.minuteUsed, quota.minuteLimit),
    window('hour', quota.hourWindow, quota.hourUsed, limits.perHour),
    window('day', quota.dayWindow, quota.dayUsed, limits.perDay),
  ]
}
