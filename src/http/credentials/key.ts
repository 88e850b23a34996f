import type { Admission } from '../../gate/decide.ts'
import type { Scope } from '../../keys/scope.ts'
import { type KeyHash, parseSecret } from '../../keys/secret.ts'
import { ok, type Result, refuse } from '../../result.ts'
import { UNKNOWN_ADDRESS } from '../../wire/ip.ts'
import type { AppContext } from '../context.ts'
import { unwrap } from '../problem.ts'
import { countFailedKey, refuseGuessing } from './address.ts'
import { bearerOf } from './bearer.ts'

/** Whether the request presents an API key, valid or not. */
export function presentsKey(c: AppContext): boolean {
  return c.req.header('x-api-key') !== undefined || c.req.header('authorization') !== undefined
}

/**
 * Authenticates the presented API key, counts the request against the key's windows and authorizes the scope.
 * When a uuid is given, the admission carries that order's row, read by the same statement.
 */
export async function authenticateKey(
  c: AppContext,
  scope: Scope | undefined,
  uuid?: string,
): Promise<Admission> {
  const world = c.get('world')
  const clientIp = c.get('clientIp')
  const decision = await world.gate({
    hash: readKeyHash(c),
    ip: clientIp === UNKNOWN_ADDRESS ? undefined : clientIp,
    scope,
    uuid,
    now: c.get('now'),
  })
  c.set('keyId', decision.keyId)
  if (decision.ok) c.set('keyEndsAt', decision.value.endsAt)
  if (decision.windows !== undefined) c.set('windows', decision.windows)
  else if (!decision.ok && decision.reason !== 'unavailable') countFailedKey(c)
  return unwrap(decision)
}

/** The hash of the presented key. A key with a wrong shape or checksum is refused here, without a statement. */
export function readKeyHash(c: AppContext): KeyHash {
  const world = c.get('world')
  refuseGuessing(c)
  const text = presentedKey(c)
  const secret = text.ok ? parseSecret(world.config.KEY_PREFIX, text.value) : undefined
  if (secret === undefined) {
    countFailedKey(c)
    return unwrap(text.ok ? refuse('apiKeyInvalid') : text)
  }
  return world.hashSecret(secret)
}

function presentedKey(c: AppContext): Result<string, 'invalidRequest' | 'apiKeyInvalid'> {
  const header = c.req.header('x-api-key')
  const bearer = bearerOf(c)
  if (header !== undefined && bearer !== undefined && header !== bearer)
    return refuse('invalidRequest', { problem: 'X-API-Key and Authorization carry different keys' })
  const key = header ?? bearer
  return key === undefined ? refuse('apiKeyInvalid') : ok(key)
}
