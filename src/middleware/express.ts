/**
 * Keys of a Latchkey service in an Express application.
 *
 * @module
 */

import { type KeyPrincipal, openGuard, type RequireKeyOptions } from './guard.ts'

declare global {
  namespace Express {
    interface Request {
      /** Set by `requireKey` of latchkey/middleware/express. */
      principal?: KeyPrincipal
    }
  }
}

/** As much of Express' request as is used. */
export interface ExpressRequest {
  method: string
  path: string
  /** As Express' setting `trust proxy` has it. */
  ip?: string | undefined
  headers: Readonly<Record<string, string | string[] | undefined>>
  principal?: KeyPrincipal
}

/** As much of Express' response as is used. */
export interface ExpressResponse {
  status(code: number): unknown
  set(name: string, value: string): unknown
  end(text: string): unknown
}

/** A handler of Express. */
export type ExpressMiddleware = (
  request: ExpressRequest,
  response: ExpressResponse,
  next: (error?: unknown) => void,
) => void

/**
 * Admits requests whose key has the scope, and sets `request.principal`. Any other is refused as the service itself would, and one that
 * the service does not decide about with 503. The client's address is `request.ip`: set `trust proxy` behind one.
 *
 * @example
 * ```ts
 * import express from 'express'
 * import { requireKey } from 'latchkey/middleware/express'
 *
 * const latchkey = { baseUrl: 'https://dex.example', serviceCredential: 'ck_service_..' }
 * const app = express()
 * app.post('/withdrawals', requireKey({ ...latchkey, scope: 'withdraw', cost: 5 }), (request, response) => {
 *   response.json({ recipient: request.principal?.walletAddress })
 * })
 * ```
 */
function expressKey(options: RequireKeyOptions): ExpressMiddleware {
  const guard = openGuard(options)
  return (request, response, next) => {
    const { method, path, ip, headers: sent } = request
    // Node joins what is sent twice with commas; of Authorization it keeps the first.
    const header = (name: string) => {
      const value = sent[name]
      return Array.isArray(value) ? value.join(',') : value
    }
    guard({ header, method, path, ip }).then((guarded) => {
      for (const [name, value] of Object.entries(guarded.headers)) response.set(name, value)
      if (guarded.principal === undefined) {
        response.status(guarded.status)
        response.set('Content-Type', 'application/json')
        response.end(guarded.body)
        return
      }
      request.principal = guarded.principal
      next()
    }, next)
  }
}

export { expressKey as requireKey }
