import type { Mac } from '../crypto/mac.ts'
import { type Database, isLockTimeout, isOutage } from '../db/database.ts'
import { type OrderRow, orderOfJson } from '../db/order-row.ts'
import { type Rights, readRights, rightsText } from '../keys/rights.ts'
import type { Scope } from '../keys/scope.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Log } from '../log.ts'
import { memoize } from '../memoize.ts'
import { type Result, refuse } from '../result.ts'
import {
  type AdmitResult,
  type AdmitVerdict,
  type Limits,
  type PresentedKey,
  prepareAdmit,
  type Quota,
} from './admit.ts'
import { retryAfterSeconds, WINDOW_SECONDS, type Window } from './windows.ts'

/** An admitted request: its key, the key's owner and rights, and what is left of its windows. */
export interface Admission {
  keyId: string
  walletAddress: string
  rights: Rights
  /** Milliseconds since 1970 at which the presented secret ends, with its key or with its grace; undefined when never. */
  endsAt: number | undefined
  windows: Window[]
  /** The order that the request names, as the gate's statement read it; undefined when there is none. */
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
 * The gate's decision, the key if it is known, the windows that the request was counted in, if any, and when, by Postgres' clock
 * in milliseconds since 1970. A request is
 * counted once its key is known, live and used from an allowed address; a key whose row was edited is found out only after
 * the statement has counted.
 */
export type GateDecision = { windows?: Window[]; keyId?: string; at?: number } & Result<
  Admission,
  GateReason
>

export interface GateRequest {
  hash: KeyHash
  /** The canonical client address; undefined when it is unknown, which no allow list contains. */
  ip: string | undefined
  /** The scope that the request needs; undefined for reading one's own data. */
  scope: Scope | undefined
  /** An order to read along: letters, digits, _ and - only. */
  uuid?: string | undefined
}

/** Decides whether a key may do this now, and counts the request against the key's windows. */
export type Gate = (request: GateRequest) => Promise<GateDecision>

export interface GateOptions {
  /** Authenticates a key's row. */
  mac: Mac
  log: Log
  /** Requests that may wait for a statement; later ones are refused at once. */
  maxWaiting?: number
  /** Resolves when pending input has been read, so that the next statement covers it. By default there is no pause. */
  gather?: () => Promise<void>
  /** A time in place of Postgres', for tests. */
  fixedTime?: (() => number) | undefined
}

interface WaitingRequest {
  request: GateRequest
  /** Equal for requests with the same key from the same address. */
  group: string
  resolve: (decision: GateDecision) => void
  reject: (error: unknown) => void
}

/** A verdict whose row's MAC was verified. */
interface VerifiedVerdict {
  keyId: string | null
  refusal: AdmitVerdict['refusal'] | 'tampered'
  rights: Rights | undefined
  quota: Quota | undefined
}

const MAX_MEMOIZED = 10_000
const MAX_WAITING = 10_000
/** Requests that one statement decides, at most. */
const MAX_BATCH = 1_000

/**
 * Opens the gate on a database. Requests that arrive while a statement is under way are decided together by the next one,
 * so the cost of a request falls as the load rises. Every decision is read after its request arrived: nothing is cached
 * that could outlive a revocation.
 */
export function openGate(
  db: Database,
  limits: Limits,
  { mac, log, maxWaiting = MAX_WAITING, gather, fixedTime }: GateOptions,
): Gate {
  const admit = prepareAdmit(db, limits, fixedTime)
  let waiting: WaitingRequest[] = []
  let isBusy = false

  async function decideWaiting(): Promise<void> {
    isBusy = true
    let decided = 0
    while (waiting.length > 0) {
      if (gather !== undefined) await gather()
      const size = batchSize(waiting.length, decided)
      const batch = waiting.slice(0, size)
      waiting = waiting.slice(size)
      await decideBatch(batch)
      decided = batch.length
    }
    isBusy = false
  }

  async function decideBatch(batch: readonly WaitingRequest[], whenLocked?: 'skip'): Promise<void> {
    const groups = Map.groupBy(batch, ({ group }) => group)
    try {
      const keys = [...groups.values()].map(presentedKey)
      const result = await admit(keys, uuidsOf(batch), whenLocked)
      resolveBatch(batch, groups, { ...result, verdicts: result.verdicts.map(verify) }, limits)
    } catch (error) {
      // A row that is locked for too long must not delay the other keys, nor a request that fails the others of its batch.
      if (isLockTimeout(error) && whenLocked === undefined) await decideBatch(batch, 'skip')
      else if (isOutage(error) || batch.length === 1) for (const { reject } of batch) reject(error)
      else for (const one of batch) await decideBatch([one])
    }
  }

  // The meaning of a row's text is memoized, never whether a key may pass: the text is read anew for every request.
  const interpret = memoize(MAX_MEMOIZED, (text) => {
    const rights = readRights(JSON.parse(text))
    return { rights, macs: mac.accepted(rightsText(rights)) }
  })

  function verify(verdict: AdmitVerdict): VerifiedVerdict {
    const { keyId, refusal, quota } = verdict
    const known = verdict.rights === null ? undefined : interpret(verdict.rights)
    if (known === undefined) return { keyId, refusal, rights: undefined, quota }
    const isIntact = verdict.mac !== null && known.macs.includes(verdict.mac)
    if (isIntact) return { keyId, refusal, rights: known.rights, quota }
    log('error', 'api_key_tampered', { keyId: keyId ?? '' })
    return { keyId, refusal: 'tampered', rights: undefined, quota }
  }

  return function gate(request) {
    if (waiting.length >= maxWaiting)
      return Promise.resolve(refuse('unavailable', { reason: 'overload' }))
    return new Promise<GateDecision>((resolve, reject) => {
      waiting.push({ request, group: `${request.hash} ${request.ip}`, resolve, reject })
      if (!isBusy) void decideWaiting()
    })
  }
}

/**
 * The size of the next batch: half of the requests that wait or were just decided. The database then works on one half
 * while this process works on the other. Without it, batches of nearly all and nearly none alternate.
 */
function batchSize(waiting: number, decided: number): number {
  const half = decided === 0 ? waiting : Math.ceil((waiting + decided) / 2)
  return Math.min(waiting, half, MAX_BATCH)
}

function presentedKey(group: WaitingRequest[]): PresentedKey {
  const { hash, ip } = (group[0] as WaitingRequest).request
  return { hash, ip, requests: group.length }
}

function uuidsOf(batch: readonly WaitingRequest[]): string[] {
  const uuids = batch.map(({ request }) => request.uuid).filter((uuid) => uuid !== undefined)
  return [...new Set(uuids)]
}

/** Resolves each request of a batch. Of the requests with one key, from whatever addresses, the first ones pass. */
function resolveBatch(
  batch: readonly WaitingRequest[],
  groups: Map<string, WaitingRequest[]>,
  { verdicts, orders }: { verdicts: VerifiedVerdict[]; orders: AdmitResult['orders'] },
  limits: Limits,
): void {
  const verdictOf = new Map([...groups.keys()].map((group, at) => [group, verdicts[at]]))
  const orderJson = new Map(orders.map((order) => [order.uuid, order]))
  const passed = new Map<string, number>()
  for (const { request, group, resolve } of batch) {
    const json = request.uuid === undefined ? undefined : orderJson.get(request.uuid)
    const order = json === undefined ? undefined : orderOfJson(json)
    const verdict = verdictOf.get(group)
    const before = passed.get(verdict?.keyId ?? '') ?? 0
    if (verdict?.keyId != null && verdict.quota !== undefined)
      passed.set(verdict.keyId, Math.min(before + 1, verdict.quota.room))
    resolve(decide(verdict, before, request, order, limits))
  }
}

/** The decision about one request, when `before` requests with its key have passed in the same batch. */
function decide(
  verdict: VerifiedVerdict | undefined,
  before: number,
  request: GateRequest,
  order: OrderRow | undefined,
  limits: Limits,
): GateDecision {
  if (verdict?.refusal === 'busy') return refuse('unavailable', { reason: 'key_busy' })
  if (verdict === undefined || verdict.keyId === null) return refuse('apiKeyInvalid')
  const { keyId, rights, quota, refusal } = verdict
  if (refusal === 'ip')
    return { ...refuse('ipNotAllowed', { observedIp: request.ip ?? null }), keyId }
  if (rights === undefined || quota === undefined)
    return { ...refuse('apiKeyInactive', { reason: refusal }), keyId }

  const isAdmitted = before < quota.room
  const { at } = quota
  const windows = windowsAfter(quota, isAdmitted ? before + 1 : before, limits)
  if (!isAdmitted) {
    const seconds = retryAfterSeconds(windows, at)
    return { ...refuse('rateLimited', { retryAfterSeconds: seconds }), windows, keyId, at }
  }
  const { permissions, walletAddress } = rights
  if (request.scope !== undefined && !permissions.includes(request.scope)) {
    const details = { required: request.scope, granted: permissions }
    return { ...refuse('permissionDenied', details), windows, keyId, at }
  }
  const endsAt = endOfSecret(rights, request.hash)
  return {
    ok: true,
    value: { keyId, walletAddress, rights, endsAt, windows, order },
    windows,
    keyId,
    at,
  }
}

/** When the presented secret ends: with the key, or with the grace of a rotation. */
function endOfSecret(
  { expiresAt, keyHash, previousUntil }: Rights,
  hash: KeyHash,
): number | undefined {
  if (expiresAt === null && previousUntil === null) return undefined
  const graceEnd = keyHash === hash ? null : previousUntil
  const ends = [expiresAt, graceEnd].filter((end) => end !== null)
  return ends.length === 0 ? undefined : Math.min(...ends)
}

/** The windows as they are once that many requests of the batch have passed. */
function windowsAfter(quota: Quota, passed: number, limits: Limits): Window[] {
  const window = (name: Window['name'], number: number, used: number, limit: number): Window => ({
    name,
    limit,
    remaining: Math.max(0, limit - used - passed),
    resetAt: (number + 1) * WINDOW_SECONDS[name],
    lengthSeconds: WINDOW_SECONDS[name],
  })
  return [
    window('minute', quota.minuteWindow, quota.minuteUsed, quota.minuteLimit),
    window('hour', quota.hourWindow, quota.hourUsed, limits.perHour),
    window('day', quota.dayWindow, quota.dayUsed, limits.perDay),
  ]
}
