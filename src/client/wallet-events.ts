import type { WalletEvent } from '../wallets/event.ts'
import { parseBounded } from '../wire/response.ts'
import type { CallContext } from './call.ts'
import type { ServiceClock } from './clock.ts'
import { latchkeyError } from './errors.ts'
import { type EventConnections, openEvents, type ReceivedEvent } from './events.ts'
import type { AuthOptions } from './orders.ts'
import { openSocketEvents } from './socket-events.ts'
import type { Transport } from './transport.ts'
import { isTransient } from './wait.ts'

/** An event of the wallet. */
export type WalletUpdate = WalletEvent & {
  /** Pass it as `after` to go on behind this event: another process misses nothing, and gets nothing twice. */
  id: string
}

/** Options of `events`. */
export interface WalletEventOptions extends Omit<AuthOptions, 'auth'> {
  /** The id of the last event that the caller has. By default the stream begins now, with an event of type `start`. */
  after?: string | undefined
  /** By default server-sent events. */
  transport?: 'sse' | 'websocket' | undefined
}

/** The events of the wallet, in the order in which they became visible; within one order, and of its keys, in the order of the changes. */
export type WalletUpdates = AsyncGenerator<WalletUpdate, void, undefined>

/** Connections, each of which goes on behind the last event that arrived. */
type Connections = Pick<EventConnections, 'connect'>

// After a connection that brought something the next one follows soon; after each other one the pause doubles.
const FIRST_PAUSE_MS = 250
const LONGEST_PAUSE_MS = 30_000

interface WatchContext {
  transport: Transport
  clock: ServiceClock
  context: CallContext
  auth: 'apiKey' | 'session'
}

/** Yields the events of the wallet, over as many connections as it takes, until the signal aborts or the credential ends. */
export async function* readWalletEvents(
  watch: WatchContext,
  { after, transport: how = 'sse' }: WalletEventOptions,
): WalletUpdates {
  const { clock, context } = watch
  const source = how === 'sse' ? openStream(watch, after) : openSocket(watch, after)
  let pauseMs = FIRST_PAUSE_MS
  for (;;) {
    let restMs = 0
    try {
      for await (const received of source.connect())
        for (const event of received) {
          const update = readUpdate(event)
          if (update === undefined) continue
          pauseMs = FIRST_PAUSE_MS
          yield update
        }
    } catch (error) {
      if (!isTransient(error) && !isFull(error)) throw error
      restMs = (error.retryAfterSeconds ?? 0) * 1_000
    }
    await clock.wait(Math.min(Math.max(pauseMs, restMs), LONGEST_PAUSE_MS), context.signal)
    pauseMs = Math.min(pauseMs * 2, LONGEST_PAUSE_MS)
  }
}

/** Places of streams are released by those that end. */
function isFull(error: unknown): error is { retryAfterSeconds?: number } {
  return (error as { code?: unknown } | null)?.code === 'TOO_MANY_STREAMS'
}

function openStream(
  { transport, context, auth }: WatchContext,
  lastEventId: string | undefined,
): Connections {
  const { signal, headers } = context
  const events = openEvents(transport, '/events', {
    signal,
    headers,
    auth,
    lastEventId,
    async onRefusal(response) {
      throw await transport.refusal(response, signal)
    },
  })
  return {
    async *connect() {
      yield* events.connect()
      if (!events.isUnavailable) return
      const buffered = 'The events do not arrive: a proxy on the way buffers them'
      throw latchkeyError('BAD_RESPONSE', buffered)
    },
  }
}

function openSocket(
  { transport, context, auth }: WatchContext,
  after: string | undefined,
): Connections {
  return openSocketEvents({
    after,
    signal: context.signal,
    target: (id) => transport.socket('/stream', id, auth),
    // Browsers do not tell why a WebSocket was refused. This needs the same right, and its refusal does.
    requireAccess: async () => {
      const credential = auth === 'apiKey' ? { apiKey: true } : { session: true }
      await transport.send({ method: 'GET', path: '/account', ...credential, context })
    },
  })
}

/** The event in a message; undefined for what is none. */
function readUpdate({ id, data }: ReceivedEvent): WalletUpdate | undefined {
  try {
    const event = parseBounded(data) as Partial<WalletEvent> | null
    return typeof event?.type === 'string' ? { ...(event as WalletEvent), id } : undefined
  } catch {
    return undefined
  }
}
