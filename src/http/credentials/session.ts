import { parseSecret, shardOf } from '../../keys/secret.ts'
import { refuse } from '../../result.ts'
import { findSession } from '../../sessions/find.ts'
import { SESSION_PREFIX } from '../../sessions/session.ts'
import { type AppContext, stateOf } from '../context.ts'
import { unwrap } from '../problem.ts'
import { countFailedKey } from './address.ts'
import { bearerOf } from './bearer.ts'

/** Whether the request presents a session token, valid or not. */
export function presentsSession(c: AppContext): boolean {
  return bearerOf(c)?.startsWith(SESSION_PREFIX) === true
}

/** Authenticates the presented session. Sessions authorize reads only; the one write is ending the session itself. */
export async function authenticateSession(
  c: AppContext,
): Promise<{ id: string; walletAddress: string }> {
  const { world } = stateOf(c)
  const secret = parseSecret(SESSION_PREFIX, bearerOf(c) ?? '')
  const session =
    secret === undefined
      ? refuse('sessionInvalid')
      : await findSession(
          world,
          { hash: world.hashSecret(secret), shard: shardOf(SESSION_PREFIX, secret) },
          stateOf(c).now,
        )
  if (!session.ok) countFailedKey(c)
  return unwrap(session)
}
