import type { Context } from 'hono'
import type { ErrorCode } from '../errors.ts'
import type { Window } from '../gate/quota.ts'
import type { World } from '../world.ts'

/** What every request carries from the first middleware on. */
export interface AppEnv {
  Variables: {
    world: World
    /** The service's clock, read once. */
    now: number
    requestId: string
    /** The client's address as far as proxies are trusted; not always an IP address. */
    clientIp: string
    /** What Access-Control-Allow-Origin says to it: its own origin, `*`, or nothing. */
    origin: string | undefined
    /** The windows that this request was counted in, for the headers of whatever answer it gets. */
    windows: Window[] | undefined
    /** The key that the request came with, once the gate has found it. */
    keyId: string | undefined
    /** The code of the refusal that answers it; undefined for a success. */
    outcome: ErrorCode | undefined
    /** Milliseconds since 1970 at which the presented secret ends. */
    keyEndsAt: number | undefined
  }
}

export type AppContext = Context<AppEnv>
