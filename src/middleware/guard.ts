import { REFUSALS } from '../errors.ts'
import type { Permission } from '../keys/scope.ts'
import type { ValidKey } from '../service-credentials/verdict.ts'
import { createVerifier, type VerifierOptions } from './verifier.ts'

/** Who a request comes from: what the service says of its key. */
export type KeyPrincipal = Omit<ValidKey, 'valid' | 'code' | 'headers'>

/** What a middleware needs to guard a route. */
export interface RequireKeyOptions extends VerifierOptions {
  /** The scope that a key needs for the route. */
  scope: Permission
  /** How many requests of the key's limits one of the route counts as: all of them, or none. By default 1. */
  cost?: number | undefined
  /** Receives why a request was refused for want of a decision, for the backend's own log. */
  onFailure?: ((error: unknown) => void) | undefined
}

/** As much of a request as is asked about. */
export interface GuardedRequest {
  header(name: string): string | undefined
  method: string
  path: string
  /** The address of the client, as the backend's framework knows it. */
  ip: string | undefined
}

/** What becomes of a request: its principal and the headers of its response, or the whole response. */
export type Guarded =
  | { principal: KeyPrincipal; headers: Readonly<Record<string, string>> }
  | {
      principal: undefined
      status: number
      headers: Readonly<Record<string, string>>
      body: string
    }

/** Decides about requests. Never rejects: a request without a decision is refused with 503. */
export type Guard = (request: GuardedRequest) => Promise<Guarded>

const MAX_RESOURCE = 200
const ID_BYTES = 12

/** Opens the guard of a route: what the middleware of every framework does. */
export function openGuard({ scope, cost, onFailure, ...options }: RequireKeyOptions): Guard {
  const verifier = createVerifier(options)
  return async ({ header, method, path, ip }) => {
    const presented = presentedKey(header)
    if ('refusal' in presented) return presented.refusal
    const resource = `${method} ${path}`.replaceAll(/[^\x20-\x7e]/g, '?').slice(0, MAX_RESOURCE)
    try {
      const question = { apiKey: presented.apiKey, scope, cost, ip, resource }
      const verdict = await verifier.verify(question)
      if (verdict.valid) {
        const { valid: _, code: __, headers, ...principal } = verdict
        return { principal, headers }
      }
      const { httpStatus, headers, error, code, details, timestamp, requestId } = verdict
      const body = { error, code, ...(details && { details }), timestamp, requestId }
      return { principal: undefined, status: httpStatus, headers, body: JSON.stringify(body) }
    } catch (failure) {
      onFailure?.(failure)
      return refusal('unavailable', { 'Retry-After': '1' })
    }
  }
}

/** The key of a request, in either header; or the refusal of one that sends none, two, or one twice. */
function presentedKey(header: GuardedRequest['header']): { apiKey: string } | { refusal: Guarded } {
  const own = header('x-api-key')
  const bearer = /^Bearer +(\S+)$/i.exec(header('authorization') ?? '')?.[1]
  if (own !== undefined && bearer !== undefined && own !== bearer)
    return twice('X-API-Key and Authorization carry different keys')
  const apiKey = own ?? bearer
  if (apiKey === undefined)
    return {
      refusal: refusal('apiKeyInvalid', { 'WWW-Authenticate': 'Bearer realm="latchkey"' }),
    }
  // A header that is sent twice arrives as one, joined by commas (RFC 9110 s5.3).
  if (apiKey.includes(',')) return twice('the key is sent twice: send it once')
  return { apiKey: apiKey.slice(0, MAX_KEY_LENGTH) }
}

/** Longer than any key: what is cut is none. */
const MAX_KEY_LENGTH = 1_000

function twice(problem: string): { refusal: Guarded } {
  return { refusal: refusal('invalidRequest', {}, { problem }) }
}

/** A refusal of the contract that the service was not asked for. */
function refusal(
  reason: 'apiKeyInvalid' | 'invalidRequest' | 'unavailable',
  more: Record<string, string>,
  details?: object,
): Guarded {
  const { status, code, error } = REFUSALS[reason]
  const random = crypto.getRandomValues(new Uint8Array(ID_BYTES))
  const requestId = `req_${Array.from(random, (byte) => byte.toString(16).padStart(2, '0')).join('')}`
  const timestamp = new Date().toISOString()
  const body = { error, code, ...(details && { details }), timestamp, requestId }
  const headers = { 'Cache-Control': 'no-store', 'X-Request-Id': requestId, ...more }
  return { principal: undefined, status, headers, body: JSON.stringify(body) }
}
