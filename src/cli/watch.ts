import { setTimeout as pause } from 'node:timers/promises'
import { LatchkeyError, type Order } from '../client/index.ts'
import { type CommandContext, openClient, text } from './session.ts'
import { clean, paint, type Terminal, UsageError } from './terminal.ts'

/** How many seconds `--timeout` gives. */
export function readPatience({ options }: CommandContext): number | undefined {
  const given = text(options.timeout)
  if (given === undefined) return undefined
  if (!/^[1-9][0-9]{0,5}$/.test(given))
    throw new UsageError('--timeout is a whole number of seconds, from 1 to 999999')
  return Number(given)
}

/** Waits for the order that the command names. Its progress is on stderr, so that stdout is the result alone. */
export async function watch(session: CommandContext, seconds: number | undefined): Promise<Order> {
  const { terminal, options, args } = session
  const beganAt = Date.now()
  let last = 'not known'
  const leaving = new AbortController()
  const timer =
    seconds === undefined
      ? undefined
      : setTimeout(() => {
          const error = `The order is ${last} after ${seconds} s of waiting, which went on without it`
          leaving.abort(new LatchkeyError('TIMEOUT', error))
        }, seconds * 1_000)
  // The waiting itself says nothing: it is not the service that asks for it.
  const clock = {
    now: () => Date.now(),
    wait: (ms: number, signal: AbortSignal) => pause(ms, undefined, { signal }),
  }
  try {
    return await openClient(session, { clock }).orders.waitFor(args[0] ?? '', {
      signal: leaving.signal,
      onUpdate(order) {
        last = order.status
        if (options.json !== true) terminal.err(progress(terminal, order, Date.now() - beganAt))
      },
    })
  } catch (error) {
    throw leaving.signal.aborted ? leaving.signal.reason : error
  } finally {
    clearTimeout(timer)
  }
}

const MARKS = { confirmed: '✓', failed: '✗', cancelled: '✗', expired: '✗' } as const
const WIDTH = 'broadcasted'.length

/** For a person: a mark, the status, how long it took. For a log: the time and words, without marks and colours. */
function progress(terminal: Terminal, order: Order, tookMs: number): string {
  const { status } = order
  const known = clean(
    [
      order.txid !== undefined && order.blockHeight === undefined && `txid ${order.txid}`,
      order.blockHeight !== undefined && `block ${order.blockHeight}`,
      order.amountOut !== undefined && `paid ${order.amountOut}`,
      order.failureReason !== undefined && `because ${order.failureReason}`,
    ]
      .filter((part) => part !== false)
      .join(', '),
  )
  if (!terminal.isColourful)
    return `${new Date().toISOString()} order ${clean(order.uuid)} ${status}${known && ` ${known}`}\n`
  const mark = status in MARKS ? MARKS[status as keyof typeof MARKS] : '…'
  const colour = mark === '✓' ? 'green' : mark === '✗' ? 'red' : 'bold'
  const took = `${(tookMs / 1_000).toFixed(1)} s`.padStart(7)
  return `${paint(terminal, colour, `${mark} ${status.padEnd(WIDTH)}`)} ${paint(terminal, 'dim', `${took}  ${known}`.trimEnd())}\n`
}
