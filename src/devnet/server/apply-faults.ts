import { setTimeout } from 'node:timers/promises'
import type { HttpBindings } from '@hono/node-server'
import type { Context, MiddlewareHandler } from 'hono'
import type { FaultResponse, Faults } from '../faults.ts'
import type { Devnet } from '../node.ts'

type Bound = { Bindings: HttpBindings }

/** `Response` throws for a body under these. */
const WITHOUT_BODY = [204, 205, 304]

/** Runs one request after another. Faults of the connection and of the response apply around it. */
export function applyFaults(devnet: Devnet, faults: Faults): MiddlewareHandler<Bound> {
  return async (c, next) => {
    // A request waits for the chain with its body read: a hung-up client must not hold up the others.
    if (c.req.method === 'POST') await c.req.arrayBuffer()
    const { path } = c.req
    if (path.startsWith('/faults')) return devnet.exclusively(next)
    const delay = faults.take('delay', path)
    if (delay !== undefined) await setTimeout(delay.ms)
    if (faults.take('hang-up-before', path) !== undefined) return hangUp(c)
    const answer = faults.take('answer', path)
    if (answer !== undefined) return responseOf(answer)
    await devnet.exclusively(next)
    const answerAfter = faults.take('answer-after', path)
    if (answerAfter !== undefined) c.res = responseOf(answerAfter)
    if (faults.take('hang-up-after', path) !== undefined) c.res = hangUp(c)
  }
}

/** Closes the connection: the response that it returns is never sent. */
function hangUp(c: Context<Bound>): Response {
  c.env.incoming.socket.destroy()
  return new Response(null)
}

function responseOf({ status, body = {}, headers: given = {} }: FaultResponse): Response {
  const headers = new Headers(given)
  if (WITHOUT_BODY.includes(status)) return new Response(null, { status, headers })
  if (typeof body !== 'string') return Response.json(body, { status, headers })
  if (!headers.has('content-type')) headers.set('content-type', 'text/plain; charset=utf-8')
  return new Response(body, { status, headers })
}
