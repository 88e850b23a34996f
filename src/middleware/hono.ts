/**
 * Keys of a Latchkey service in a Hono application.
 *
 * @module
 */

import type { Context, MiddlewareHandler } from 'hono'
import { type KeyPrincipal, openGuard, type RequireKeyOptions } from './guard.ts'

/** What the middleware sets in Hono's context. */
export interface KeyVariables {
  principal: KeyPrincipal
}

/** How a route of Hono is guarded. */
export interface HonoKeyOptions extends RequireKeyOptions {
  /**
   * The address of the client: Hono knows none by itself. On Node `getConnInfo(c).remote.address` of @hono/node-server/conninfo, behind a proxy what
   * it reports. By default none, and keys that are bound to addresses are refused.
   */
  ipOf?: ((c: Context) => string | undefined) | undefined
}

/**
 * Admits requests whose key has the scope, and sets `principal`. Any other is refused as the service itself would, and one that the
 * service does not decide about with 503.
 *
 * @example
 * ```ts
 * import { Hono } from 'hono'
 * import { requireKey } from 'latchkey/middleware/hono'
 *
 * const latchkey = { baseUrl: 'https://dex.example', serviceCredential: 'ck_service_..' }
 * const app = new Hono()
 * app.post('/withdrawals', requireKey({ ...latchkey, scope: 'withdraw', cost: 5 }), (c) =>
 *   c.json({ recipient: c.get('principal').walletAddress }),
 * )
 * ```
 */
function honoKey({
  ipOf = () => undefined,
  ...options
}: HonoKeyOptions): MiddlewareHandler<{ Variables: KeyVariables }> {
  const guard = openGuard(options)
  return async (c, next) => {
    const { method, path } = c.req
    const header = (name: string) => c.req.header(name)
    const guarded = await guard({ header, method, path, ip: ipOf(c as unknown as Context) })
    if (guarded.principal === undefined) {
      const { body, status, headers } = guarded
      return new Response(body, {
        status,
        headers: { 'Content-Type': 'application/json', ...headers },
      })
    }
    c.set('principal', guarded.principal)
    for (const [name, value] of Object.entries(guarded.headers)) c.header(name, value)
    await next()
  }
}

export { honoKey as requireKey }
