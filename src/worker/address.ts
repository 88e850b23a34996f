import { type AppContext, headerOf } from '../http/context.ts'
import type { Log } from '../log.ts'

/** What CF-Connecting-IP says of requests that Workers of other accounts send: one address for all of them. */
const OF_OTHER_WORKERS = '2a06:98c0:3600::103'

/**
 * Reads the client address of requests to Workers: CF-Connecting-IP, which Cloudflare sets and a client cannot. A runtime elsewhere
 * passes on the client's own header, so that there is no address there: `request.cf.colo`, the data centre, tells the two apart.
 */
export function cloudflareAddress(log: Log): (c: AppContext) => string {
  let hasWarned = false
  return (c) => {
    const { cf } = c.req.raw as { cf?: { colo?: unknown } }
    if (typeof cf?.colo !== 'string') {
      if (!hasWarned) log('warn', 'client_address_unknown', { reason: 'not_on_cloudflare' })
      hasWarned = true
      return ''
    }
    const address = headerOf(c, 'cf-connecting-ip') ?? ''
    return address === OF_OTHER_WORKERS ? '' : address
  }
}
