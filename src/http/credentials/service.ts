import type { Permission } from '../../keys/scope.ts'
import { parseSecret, SERVICE_PREFIX } from '../../keys/secret.ts'
import { refuse } from '../../result.ts'
import type { CallingService } from '../../service-credentials/credential.ts'
import { type AppContext, stateOf } from '../context.ts'
import { unwrap } from '../problem.ts'
import { countFailedKey, limitByAddress } from './address.ts'

/**
 * The header of a service credential. It is apart from `Authorization` and `X-API-Key`, which a proxy passes on from its client: the
 * proxy sets this one itself, whatever the client sent.
 */
export const SERVICE_HEADER = 'X-Service-Credential'

/**
 * Authenticates the calling service, and counts the request against its credential's minute. A good
 * credential is not limited by address: all its requests come from one.
 */
export async function authenticateService(c: AppContext): Promise<CallingService> {
  const { world } = stateOf(c)
  const text = c.req.header(SERVICE_HEADER)
  const secret = text === undefined ? undefined : parseSecret(SERVICE_PREFIX, text)
  if (secret === undefined) {
    if (text === undefined) limitByAddress(c)
    else countFailedKey(c)
    return unwrap(refuse('serviceCredentialInvalid', { problem: `${SERVICE_HEADER} is needed` }))
  }
  const decision = await world.useCredential(world.hashSecret(secret))
  if (decision.at !== undefined) stateOf(c).now = decision.at
  if (decision.windows !== undefined) stateOf(c).windows = decision.windows
  else if (!decision.ok && decision.reason !== 'unavailable') countFailedKey(c)
  return unwrap(decision)
}

/** Refuses a service that may not ask for a scope. */
export function requireScopeOf({ scopes }: CallingService, scope: Permission): void {
  if (!scopes.includes(scope))
    unwrap(refuse('serviceScopeDenied', { required: scope, granted: scopes }))
}
