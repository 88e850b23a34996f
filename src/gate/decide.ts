import { type OrderRow, orderOfJson } from '../db/order-row.ts'
import type { Rights } from '../keys/rights.ts'
import type { Permission } from '../keys/scope.ts'
import type { KeyHash } from '../keys/secret.ts'
import { type Refused, type Result, refuse } from '../result.ts'
import type { Limits, OrderJson, Quota, Verdict } from './admit.ts'
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
  | 'requestSignatureRequired'
  | 'requestSignatureExpired'
  | 'unavailable'

/**
 * The gate's decision, the key and its shard if it is known, the windows that the request was counted in, if any, and when, by Postgres' clock
 * in milliseconds since 1970. A request is counted once its key is known, live and used from an allowed address; a key whose row was edited is found out only after
 * the statement has counted.
 */
export type GateDecision = {
  windows?: Window[]
  keyId?: string
  shard?: number
  at?: number
} & Result<Admission, GateReason>

export interface GateRequest {
  hash: KeyHash
  /** The shard that the secret names; undefined for one of a release whose secrets named none. */
  shard?: number | undefined
  /** The canonical client address; undefined when it is unknown, which no allow list contains. */
  ip: string | undefined
  /** The scope that the request needs; undefined for reading one's own data. */
  scope: Permission | undefined
  /** An order to read along: letters, digits, _ and - only. */
  uuid?: string | undefined
  /** When the request was signed, in milliseconds since 1970, where its signature was verified; undefined where the secret was sent. */
  signedAt?: number | undefined
  /** How many requests it counts as, 1 by default: all of them pass, or none is counted. */
  cost?: number | undefined
}

/** How many requests a request counts as. */
export function costOf({ cost = 1 }: GateRequest): number {
  return cost
}

/** A verdict whose row's MAC was verified. */
export interface VerifiedVerdict {
  keyId: string | null
  shard: number | null
  refusal: Verdict['refusal']
  /** Undefined when the key is refused. */
  rights: Rights | undefined
  quota: Quota | undefined
  orders: readonly OrderJson[]
}

/** The decision about one request, when requests with its key that cost `before` have passed in the same batch. */
export function decide(
  verdict: VerifiedVerdict,
  before: number,
  request: GateRequest,
  limits: Limits,
): GateDecision {
  const { keyId, shard, rights, quota, refusal } = verdict
  if (refusal === 'busy') return refuse('unavailable', { reason: 'key_busy' })
  if (keyId === null || shard === null) return refuse('apiKeyInvalid')
  if (refusal === 'ip')
    return { ...refuse('ipNotAllowed', { observedIp: request.ip ?? null }), keyId, shard }
  if (rights === undefined || quota === undefined)
    return { ...refuse('apiKeyInactive', { reason: refusal }), keyId, shard }

  const cost = costOf(request)
  const isAdmitted = before + cost <= quota.room
  const { at } = quota
  const windows = windowsAfter(quota, isAdmitted ? before + cost : before, rights, limits)
  if (!isAdmitted) {
    const seconds = retryAfterSeconds(windows, at, cost)
    return { ...refuse('rateLimited', { retryAfterSeconds: seconds }), windows, keyId, shard, at }
  }
  const unsigned = signatureRefusal(rights, request.signedAt, at)
  if (unsigned !== undefined) return { ...unsigned, windows, keyId, shard, at }
  const { permissions, walletAddress } = rights
  if (request.scope !== undefined && !permissions.includes(request.scope)) {
    const details = { required: request.scope, granted: permissions }
    return { ...refuse('permissionDenied', details), windows, keyId, shard, at }
  }
  const endsAt = endOfSecret(rights, request.hash)
  const order = orderOf(request, verdict.orders)
  return {
    ok: true,
    value: { keyId, walletAddress, rights, endsAt, windows, order },
    windows,
    keyId,
    shard,
    at,
  }
}

/** What the key's grant wants of how a request is authenticated. */
function signatureRefusal(
  { requireSignature, maxSignatureAgeSeconds }: Rights,
  signedAt: number | undefined,
  now: number,
): Refused<'requestSignatureRequired' | 'requestSignatureExpired'> | undefined {
  if (signedAt === undefined)
    return requireSignature ? refuse('requestSignatureRequired') : undefined
  if (maxSignatureAgeSeconds === null || now - signedAt <= maxSignatureAgeSeconds * 1000)
    return undefined
  return refuse('requestSignatureExpired', {
    reason: 'too_old',
    created: signedAt / 1000,
    serverTime: now,
    maxAgeSeconds: maxSignatureAgeSeconds,
  })
}

function orderOf({ uuid }: GateRequest, orders: VerifiedVerdict['orders']): OrderRow | undefined {
  if (uuid === undefined) return undefined
  const json = orders.find((order) => order.uuid === uuid)
  return json === undefined ? undefined : orderOfJson(json)
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
function windowsAfter(
  { windows, minuteUsed, hourUsed, dayUsed }: Quota,
  passed: number,
  { rateLimit }: Rights,
  limits: Limits,
): Window[] {
  return [
    windowOf('minute', windows.minute, minuteUsed + passed, rateLimit ?? limits.perMinute),
    windowOf('hour', windows.hour, hourUsed + passed, limits.perHour),
    windowOf('day', windows.day, dayUsed + passed, limits.perDay),
  ]
}

function windowOf(name: Window['name'], number: number, used: number, limit: number): Window {
  const lengthSeconds = WINDOW_SECONDS[name]
  const remaining = Math.max(0, limit - used)
  return { name, limit, remaining, resetAt: (number + 1) * lengthSeconds, lengthSeconds }
}
