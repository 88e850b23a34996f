import type { Context } from 'hono'
import type { ErrorCode } from '../errors.ts'
import type { Window } from '../gate/windows.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Result } from '../result.ts'
import type { World } from '../world.ts'

/** Request state. `world` to `origin` are set before every handler; the others while a request is handled. */
export interface AppEnv {
  Variables: {
    world: World
    /**
     * Postgres' time in milliseconds since 1970, read once per request: as the process knows it, then as the gate's statement
     * read it.
     */
    now: number
    requestId: string
    /** The canonical client address as reported by the platform or trusted proxies, or `UNKNOWN_ADDRESS`. */
    clientIp: string
    /** Whether the connection is of a trusted proxy, so that its X-Forwarded headers hold. */
    isFromProxy: () => boolean
    /** The value of Access-Control-Allow-Origin: the request's own origin, `*`, or undefined for none. */
    origin: string | undefined
    /** The windows that the request was counted in, for the rate-limit headers. */
    windows: Window[] | undefined
    /** The presented key, once the gate has found it. */
    keyId: string | undefined
    /** What the gate found it by: the hash of the secret that was sent, or of what verified the signature. */
    keyHash: KeyHash | undefined
    /** The shard of its wallet. */
    keyShard: number | undefined
    /** Which secret was presented, while the key has two. */
    secretHash: KeyHash | undefined
    /** The body of a signed request, which was read for its digest. */
    bodyText: Result<string, BodyReason> | undefined
    /** The code of the refusal; undefined for a success. */
    outcome: ErrorCode | undefined
    /** Whether a proxy asks for a decision about a request to another service. */
    isForwardAuth: boolean | undefined
    /** Milliseconds since 1970 at which the presented secret expires. */
    keyEndsAt: number | undefined
  }
}

/** Why a body cannot be read. */
export type BodyReason = 'invalidRequest' | 'bodyMissing' | 'bodyTooLarge' | 'unsupportedMedia'

export type AppContext = Context<AppEnv>

/**
 * The world for work whose events belong to this request: they carry its id. A request that only reads needs none, and saves
 * the copy.
 */
export function worldOfRequest(c: AppContext): World {
  const world = c.get('world')
  const requestId = c.get('requestId')
  return {
    ...world,
    log: (level, event, fields) => world.log(level, event, { requestId, ...fields }),
  }
}
