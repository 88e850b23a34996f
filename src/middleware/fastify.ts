/**
 * Keys of a Latchkey service in a Fastify application.
 *
 * @module
 */

import { type KeyPrincipal, openGuard, type RequireKeyOptions } from './guard.ts'

/** As much of Fastify's request as is used. */
export interface FastifyKeyRequest {
  method: string
  url: string
  /** As Fastify's option `trustProxy` has it. */
  ip: string
  headers: Readonly<Record<string, string | string[] | undefined>>
}

/** As much of Fastify's reply as is used. */
export interface FastifyKeyReply {
  code(status: number): unknown
  header(name: string, value: string): unknown
  send(body: string): unknown
}

/** A hook of Fastify, for `onRequest` or `preHandler`. */
export type FastifyKeyHook = (
  request: FastifyKeyRequest,
  reply: FastifyKeyReply,
) => Promise<unknown>

const principals = new WeakMap<object, KeyPrincipal>()

/**
 * The principal of a request that `requireKey` admitted. Throws for any other: a route that asks without being guarded is a defect, and
 * answers 500.
 */
export function principalOf(request: object): KeyPrincipal {
  const principal = principals.get(request)
  if (principal === undefined) throw new Error('The route is not guarded by requireKey')
  return principal
}

/**
 * Admits requests whose key has the scope; `principalOf(request)` is then who sent it. Any other is refused as the service itself would,
 * and one that the service does not decide about with 503. The client's address is `request.ip`: set `trustProxy` behind one. As
 * `onRequest` it runs before a body is read.
 *
 * @example
 * ```ts
 * import Fastify from 'fastify'
 * import { principalOf, requireKey } from 'latchkey/middleware/fastify'
 *
 * const latchkey = { baseUrl: 'https://dex.example', serviceCredential: 'ck_service_..' }
 * const app = Fastify()
 * const onRequest = requireKey({ ...latchkey, scope: 'withdraw', cost: 5 })
 * app.post('/withdrawals', { onRequest }, async (request) => ({
 *   recipient: principalOf(request).walletAddress,
 * }))
 * ```
 */
function fastifyKey(options: RequireKeyOptions): FastifyKeyHook {
  const guard = openGuard(options)
  return async (request, reply) => {
    const { method, url, ip, headers: sent } = request
    const header = (name: string) => {
      const value = sent[name]
      return Array.isArray(value) ? value.join(',') : value
    }
    const path = url.split('?')[0] ?? url
    const guarded = await guard({ header, method, path, ip })
    for (const [name, value] of Object.entries(guarded.headers)) reply.header(name, value)
    if (guarded.principal === undefined) {
      reply.code(guarded.status)
      reply.header('Content-Type', 'application/json')
      return reply.send(guarded.body)
    }
    principals.set(request, guarded.principal)
  }
}

export { fastifyKey as requireKey }
