import { isOutage } from '../db/database.ts'
import { type ErrorBody, REFUSALS, type RefusalReason } from '../errors.ts'
import type { Details, Refused, Result } from '../result.ts'
import { type AppContext, headerOf, stateOf } from './context.ts'
import { wantsProblemDetails, withProblemDetails } from './problem-details.ts'
import { respond } from './respond.ts'

/** Carries a refusal to `onError`. Only `unwrap` throws it and only `onError` catches it. */
class Refusal extends Error {
  readonly refused: Refused<RefusalReason>
  constructor(refused: Refused<RefusalReason>) {
    super(refused.reason)
    this.refused = refused
  }
}

/** Returns the value of a result; throws a refusal, which ends the request. */
export function unwrap<T>(result: Result<T, RefusalReason>): T {
  if (result.ok) return result.value
  throw new Refusal(result)
}

/** Builds every error response. Errors that are neither refusals nor outages stay opaque: their text may hold SQL. */
export function onError(error: unknown, c: AppContext): Response {
  if (error instanceof Refusal) return problem(c, error.refused.reason, error.refused.details)
  const outage = isOutage(error)
  const { world, requestId } = stateOf(c)
  world.log(outage ? 'warn' : 'error', outage ? 'database_unavailable' : 'internal_error', {
    requestId,
    route: c.req.routePath,
    fault: faultOf(error),
  })
  return outage ? problem(c, 'unavailable') : problem(c, 'internal')
}

/** The header that has the body of a refusal of forward authentication. */
export const FORWARDED_REFUSAL = 'X-Auth-Refusal'

/** JSON in characters that a header may have. */
function inAscii(json: string): string {
  return json.replaceAll(
    /[^\x20-\x7e]/g,
    (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}

function problem(c: AppContext, reason: RefusalReason, details?: Details): Response {
  const { status, code } = REFUSALS[reason]
  const state = stateOf(c)
  const { world, now, requestId } = state
  const body = errorBody(reason, details, { at: now, requestId })
  world.log('debug', 'refused', { requestId, reason, status })
  state.outcome = code
  const headers = {
    ...refusalHeaders(reason, status, details),
    // nginx passes on headers of an authorization request, and no body.
    ...(state.isForwardAuth && { [FORWARDED_REFUSAL]: inAscii(JSON.stringify(body)) }),
  }
  return wantsProblemDetails(headerOf(c, 'accept'))
    ? respond(c, withProblemDetails(body, status), status, {
        ...headers,
        'Content-Type': 'application/problem+json',
      })
    : respond(c, body, status, headers)
}

/** The body of an error response, also of those that no route builds. */
export function errorBody(
  reason: RefusalReason,
  details: Details | undefined,
  { at, requestId }: { at: number; requestId: string },
): ErrorBody {
  const { code, error } = REFUSALS[reason]
  return {
    error,
    code,
    ...(details !== undefined && { details }),
    timestamp: new Date(at).toISOString(),
    requestId,
  }
}

/** Headers that tell a client how to proceed after a refusal. */
export function refusalHeaders(
  reason: RefusalReason,
  status: number,
  details?: Details,
): Record<string, string> {
  if (reason === 'rateLimited') return { 'Retry-After': String(details?.retryAfterSeconds ?? 1) }
  if (reason === 'tooManyStreams') return { 'Retry-After': '5' }
  if (reason === 'unavailable') return { 'Retry-After': '1' }
  if (reason === 'methodNotAllowed') return { Allow: [details?.allow].flat().join(', ') }
  if (reason === 'unsupportedMedia')
    return { [String(details?.accept)]: [details?.supported].flat().join(', ') }
  if (reason === 'permissionDenied')
    return {
      'WWW-Authenticate': `Bearer error="insufficient_scope", scope="${details?.required}"`,
    }
  return status === 401 ? { 'WWW-Authenticate': 'Bearer realm="latchkey"' } : {}
}

/** Names an error without its message, which may contain a row or a secret. */
function faultOf(error: unknown): string {
  const names: string[] = []
  for (let at: unknown = error; at instanceof Error; at = at.cause)
    names.push('code' in at ? `${at.name} ${String(at.code)}` : at.name)
  const where =
    error instanceof Error ? error.stack?.split('\n').find((l) => l.includes('/src/')) : ''
  return `${names.join(' < ')} ${where?.trim() ?? ''}`.trim()
}
