import type { Database } from '../db/database.ts'
import type { Scope } from '../keys/scope.ts'
import type { KeyHash } from '../keys/token.ts'
import { ok, type Result, refuse } from '../result.ts'
import { retryAfterSeconds, WINDOW_SECONDS, type Window } from './quota.ts'
import { type Limits, spend, type Verdict } from './spend.ts'

/** A request that the gate let through: whose key it came with, and what is left of its windows. */
export interface Pass {
  keyId: string
  walletAddress: string
  windows: Window[]
}

export type GateReason =
  | 'apiKeyInvalid'
  | 'apiKeyInactive'
  | 'ipNotAllowed'
  | 'rateLimited'
  | 'permissionDenied'

export type GateAnswer = { windows?: Window[] } & Result<Pass, GateReason>

export interface GateRequest {
  hash: KeyHash
  /** The client's address; undefined when it is not an IP address, which no allow list holds. */
  ip: string | undefined
  /** What the request needs; none for reading one's own orders. */
  scope: Scope | undefined
  now: number
}

/** Answers whether a key may do this now, and counts the request if it may ask at all. */
export type Gate = (request: GateRequest) => Promise<GateAnswer>

/** Opens the gate on a database. Each answer is read after its request arrived: there is no cache to outlive a revocation. */
export function openGate(db: Database, limits: Limits): Gate {
  return async (request) => {
    const asks = [{ hash: request.hash, ip: request.ip, wanted: 1 }]
    const [verdict] = await spend(db, asks, limits, request.now)
    return judge(verdict, 0, request, limits)
  }
}

/** What a verdict means for the request that was the `place`th of its ask, from 0. */
export function judge(
  verdict: Verdict | undefined,
  place: number,
  request: GateRequest,
  limits: Limits,
): GateAnswer {
  if (verdict === undefined) return refuse('apiKeyInvalid')
  if (verdict.refusal === 'ip') return refuse('ipNotAllowed', { observedIp: request.ip ?? null })
  if (verdict.refusal !== null) return refuse('apiKeyInactive', { reason: verdict.refusal })
  const admitted = place < verdict.granted
  const windows = windowsOf(verdict, admitted ? place + 1 : verdict.granted, limits)
  if (!admitted)
    return {
      ...refuse('rateLimited', { retryAfterSeconds: retryAfterSeconds(windows, request.now) }),
      windows,
    }
  if (request.scope !== undefined && !verdict.permissions.includes(request.scope))
    return {
      ...refuse('permissionDenied', { required: request.scope, granted: verdict.permissions }),
      windows,
    }
  return { ...ok({ keyId: verdict.keyId, walletAddress: verdict.walletAddress, windows }), windows }
}

function windowsOf(verdict: Verdict, more: number, limits: Limits): Window[] {
  const window = (name: Window['name'], number: number, used: number, limit: number): Window => ({
    name,
    limit,
    remaining: Math.max(0, limit - used - more),
    resetAt: (number + 1) * WINDOW_SECONDS[name],
    lengthSeconds: WINDOW_SECONDS[name],
  })
  return [
    window('minute', verdict.minuteWindow, verdict.minuteUsed, verdict.minuteLimit),
    window('hour', verdict.hourWindow, verdict.hourUsed, limits.perHour),
    window('day', verdict.dayWindow, verdict.dayUsed, limits.perDay),
  ]
}
