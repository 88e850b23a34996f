import { ClientRequest } from 'node:http'
import { Socket } from 'node:net'

/*
 * Loaded into a service process ahead of its entry: FAULT_POINT names a step and when to die there. The steps are told
 * from what goes over the wire, so the service knows nothing of them.
 *
 * before: the step has not begun. sent: it is on its way, as far as it came in a millisecond. after: it is done, and the
 * service does not know it yet.
 */

/** A part of the one statement that does it. */
const STATEMENTS: Readonly<Record<string, string>> = {
  claim: "SET status = 'executing'",
  accepted: 'WITH accepted AS',
  mined: "SET status = 'mined'",
  outbid: "SET status = 'outbid', reason",
  lease: 'SET looks = looks + 1',
  look: 'UPDATE transactions SET check_at',
  operator: 'INSERT INTO operators',
  burn: "'burn', address",
  take: 'WITH RECURSIVE waiting',
  made: "SET state = 'delivered'",
  watches: 'FROM key_watches WHERE due_at',
  silence: 'SET silent_since = since',
  cancelled: 'WITH ended AS',
  told: 'INSERT INTO audit_events',
  held: 'INSERT INTO leases',
  stored: "'transfer', address",
  released: 'DELETE FROM leases WHERE holder',
}

const CALLS: Readonly<Record<string, RegExp>> = {
  deliver: /^\/hook/,
  quote: /\/quote\?/,
  interface: /\/v2\/contracts\/interface\//,
  submit: /\/v2\/transactions$/,
  find: /\/extended\/v3\/transactions\//,
  fee: /\/v2\/fees\/transaction$/,
  account: /\/v2\/accounts\//,
  nonces: /\/extended\/v3\/principals\//,
}

const [moment, step = ''] = (process.env.FAULT_POINT ?? '').split(':')
const SENT_FOR_MS = 1

function die(): void {
  process.kill(process.pid, 'SIGKILL')
}

const statement = STATEMENTS[step]
if (statement !== undefined) {
  const write = Socket.prototype.write as (this: Socket, ...given: unknown[]) => boolean
  const spied = function (this: Socket, ...given: unknown[]): boolean {
    const [chunk] = given
    const isIt =
      chunk instanceof Uint8Array &&
      Buffer.from(chunk.buffer, chunk.byteOffset, chunk.length).includes(statement)
    if (isIt && moment === 'before') die()
    if (isIt && moment === 'after') this.prependOnceListener('data', die)
    const done = write.apply(this, given)
    if (isIt && moment === 'sent') setTimeout(die, SENT_FOR_MS)
    return done
  }
  Socket.prototype.write = spied as typeof Socket.prototype.write
}

const path = CALLS[step]
if (path !== undefined) {
  const end = ClientRequest.prototype.end as (this: ClientRequest, ...given: unknown[]) => unknown
  const spied = function (this: ClientRequest, ...given: unknown[]): unknown {
    const isIt = path.test(this.path)
    if (isIt && moment === 'before') die()
    if (isIt && moment === 'after') this.prependOnceListener('response', die)
    const ended = end.apply(this, given)
    if (isIt && moment === 'sent') setTimeout(die, SENT_FOR_MS)
    return ended
  }
  ClientRequest.prototype.end = spied as typeof ClientRequest.prototype.end

  // The command line sends by it.
  const send = globalThis.fetch
  globalThis.fetch = async (target, init) => {
    const isIt = path.test(new URL(target instanceof Request ? target.url : target).pathname)
    if (isIt && moment === 'before') die()
    if (isIt && moment === 'sent') setTimeout(die, SENT_FOR_MS)
    const response = await send(target, init)
    if (isIt && moment === 'after') die()
    return response
  }
}

export const STEPS = [...Object.keys(CALLS), ...Object.keys(STATEMENTS)]
