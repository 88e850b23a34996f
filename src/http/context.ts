import type { Context } from 'hono'
import type { ErrorCode } from '../errors.ts'
import type { Window } from '../gate/windows.ts'
import type { KeyHash } from '../keys/secret.ts'
import type { Result } from '../result.ts'
import type { World } from '../world.ts'

/** What is known of a request, once its route was found: of the request itself first, then what its credential showed. */
export class RequestState {
  readonly world: World
  /**
   * Postgres' time in milliseconds since 1970, read once per request: as the process knows it, then as the gate's statement
   * read it.
   */
  now: number
  readonly requestId: string
  /** The canonical client address as reported by the platform or trusted proxies, or `UNKNOWN_ADDRESS`. */
  readonly clientIp: string
  /** The value of Access-Control-Allow-Origin: the request's own origin, `*`, or undefined for none. */
  readonly origin: string | undefined
  /** Whether its connection is of a trusted proxy, so that its X-Forwarded headers hold. */
  readonly isFromProxy: (c: AppContext) => boolean
  /** The windows that the request was counted in, for the rate-limit headers. */
  windows: readonly Window[] | undefined = undefined
  /** The presented key, once the gate has found it. */
  keyId: string | undefined = undefined
  /** What the gate found it by: the hash of the secret that was sent, or of what verified the signature. */
  keyHash: KeyHash | undefined = undefined
  /** The shard of its wallet. */
  keyShard: number | undefined = undefined
  /** Which secret was presented, while the key has two. */
  secretHash: KeyHash | undefined = undefined
  /** The body of a signed request, which was read for its digest. */
  bodyText: Result<string, BodyReason> | undefined = undefined
  /** The code of the refusal; undefined for a success. */
  outcome: ErrorCode | undefined = undefined
  /** Whether a proxy asks for a decision about a request to another service. */
  isForwardAuth = false
  /** Milliseconds since 1970 at which the presented secret expires. */
  keyEndsAt: number | undefined = undefined

  constructor(
    world: World,
    now: number,
    requestId: string,
    clientIp: string,
    origin: string | undefined,
    isFromProxy: (c: AppContext) => boolean,
  ) {
    this.world = world
    this.now = now
    this.requestId = requestId
    this.clientIp = clientIp
    this.origin = origin
    this.isFromProxy = isFromProxy
  }
}

/** One variable: each costs Hono an entry of a map, for every request. */
export interface AppEnv {
  Variables: { state: RequestState }
}

/** The state of a request, which is set before every handler. */
export function stateOf(c: AppContext): RequestState {
  return c.get('state')
}

/**
 * The value of a request header, its name in lower case; undefined where the request has none. Most that are asked for are absent, and on
 * Node the parsed headers tell so without a look-up by the rules of `Headers`, which costs some hundred nanoseconds.
 */
export function headerOf(c: AppContext, name: string): string | undefined {
  const { incoming } = (c.env ?? {}) as { incoming?: { headers: Record<string, unknown> } }
  if (incoming !== undefined && incoming.headers[name] === undefined) return undefined
  return c.req.header(name)
}

/** Why a body cannot be read. */
export type BodyReason = 'invalidRequest' | 'bodyMissing' | 'bodyTooLarge' | 'unsupportedMedia'

export type AppContext = Context<AppEnv>

/**
 * The world for work whose events belong to this request: they carry its id. A request that only reads needs none, and saves
 * the copy.
 */
export function worldOfRequest(c: AppContext): World {
  const { world, requestId } = stateOf(c)
  return {
    ...world,
    log: (level, event, fields) => world.log(level, event, { requestId, ...fields }),
  }
}
