import { LatchkeyError, type Order } from '../client/index.ts'
import { openClient, type ServiceContext } from './connect.ts'
import { paint } from './layout.ts'
import type { Line } from './output.ts'

export interface WaitSettings {
  timeout?: number
}

/** Waits for an order to be confirmed. Its progress is on stderr, so that stdout is the result alone. */
export async function followOrder(
  context: ServiceContext<WaitSettings>,
  uuid: string,
): Promise<Order> {
  const { terminal, options } = context
  const { timeout: seconds } = options
  const beganAt = Date.now()
  let last = 'not known'
  const leaving = new AbortController()
  const timer =
    seconds === undefined
      ? undefined
      : setTimeout(() => {
          const error = `The order is ${last} after ${seconds} s; it goes on without being waited for`
          leaving.abort(new LatchkeyError('TIMEOUT', error))
        }, seconds * 1_000)
  try {
    const client = await openClient(context)
    return await client.orders.waitFor(uuid, {
      signal: leaving.signal,
      onUpdate(order) {
        last = order.status
        if (options.json === true) return
        const took = Date.now() - beganAt
        const line = terminal.err.isTerminal ? forPerson(order, took) : forLog(order)
        void terminal.err.print([line])
      },
    })
  } catch (error) {
    throw leaving.signal.aborted ? leaving.signal.reason : error
  } finally {
    clearTimeout(timer)
  }
}

const MARKS: Readonly<Record<string, string>> = {
  confirmed: '✓',
  failed: '✗',
  cancelled: '✗',
  expired: '✗',
}
const WIDTH = 'broadcasted'.length

/** A mark, the status, how long it took. */
function forPerson(order: Order, tookMs: number): Line {
  const mark = MARKS[order.status] ?? '…'
  const colour = mark === '✓' ? 'green' : mark === '✗' ? 'red' : 'bold'
  const took = `${(tookMs / 1_000).toFixed(1)} s`.padStart(7)
  return [
    paint(colour, `${mark} ${order.status.padEnd(WIDTH)}`),
    ' ',
    paint('dim', `${took}  ${progressOf(order)}`.trimEnd()),
  ]
}

/** The time and words, without marks. */
function forLog(order: Order): Line {
  const { uuid, status } = order
  return `${new Date().toISOString()} order ${uuid} ${status} ${progressOf(order)}`.trimEnd()
}

function progressOf({ txid, blockHeight, amountOut, failureReason }: Order): string {
  return [
    txid !== undefined && blockHeight === undefined && `txid ${txid}`,
    blockHeight !== undefined && `block ${blockHeight}`,
    amountOut !== undefined && `paid ${amountOut}`,
    failureReason !== undefined && `because ${failureReason}`,
  ]
    .filter((part) => part !== false)
    .join(', ')
}
