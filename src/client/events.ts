import { discard } from '../wire/response.ts'
import { LatchkeyError } from './errors.ts'
import type { Transport } from './transport.ts'

// The service sends a first line at once and a comment every 15 s. A stream that is silent for longer is buffered by a
// proxy, or its connection is dead.
const FIRST_LINE_MS = 5_000
const SILENCE_MS = 45_000
// An event has about 200 bytes. A connection that has sent more than years of comments, or a line without end, is closed.
const MAX_EVENT_LENGTH = 16_384
const MAX_CONNECTION_BYTES = 2 ** 20

/** A stream of events, over as many connections as it takes. */
export interface EventConnections {
  /**
   * Connects once, after the last event that arrived. Yields whenever events have arrived, and ends with the connection,
   * however that ends. Ends at once where the service has no stream or a proxy buffers it.
   */
  connect(): AsyncGenerator<void, void, undefined>
}

/** Opens the events of a path: no request is sent before `connect` is iterated. */
export function openEvents(
  transport: Transport,
  path: string,
  signal: AbortSignal,
  auth?: 'session',
): EventConnections {
  let isUnavailable = false
  let lastEventId: string | undefined

  async function* connect(): AsyncGenerator<void, void, undefined> {
    if (isUnavailable) return
    const silence = startTimeout(FIRST_LINE_MS)
    let hasArrived = false
    try {
      const connection = AbortSignal.any([signal, silence.signal])
      const response = await transport.listen(path, lastEventId, connection, auth)
      // 204: the order has ended, and its last event was received.
      hasArrived = response.status === 204
      isUnavailable = response.status !== 200 && !hasArrived
      if (response.status !== 200) return void (await discard(response))
      for await (const events of eventsOf(response)) {
        hasArrived = true
        silence.restart(SILENCE_MS)
        const id = lastIdIn(events)
        if (id === undefined) continue
        lastEventId = id
        yield
      }
    } catch (error) {
      if (error instanceof LatchkeyError) throw error
      signal.throwIfAborted()
      if (silence.signal.aborted && !hasArrived) isUnavailable = true
    } finally {
      silence.abort()
    }
  }

  return { connect }
}

/** A timer that aborts a connection, when it runs out or when the reader leaves. */
function startTimeout(ms: number) {
  const controller = new AbortController()
  let timer = setTimeout(() => controller.abort(), ms)
  return {
    signal: controller.signal,
    restart(ms: number) {
      clearTimeout(timer)
      timer = setTimeout(() => controller.abort(), ms)
    },
    abort() {
      clearTimeout(timer)
      controller.abort()
    },
  }
}

/**
 * Yields the complete events of each chunk that arrives: an empty text when there is none in it. Ends with what no service
 * sends: an event that is too long, or too much in all.
 */
async function* eventsOf(response: Response): AsyncGenerator<string, void, undefined> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  const decoder = new TextDecoder()
  let text = ''
  let bytes = 0
  while (text.length <= MAX_EVENT_LENGTH && bytes <= MAX_CONNECTION_BYTES) {
    const { done, value } = await reader.read()
    if (done) return
    bytes += value.length
    text += decoder.decode(value, { stream: true })
    const end = text.lastIndexOf('\n\n') + 2
    const events = end >= 2 ? text.slice(0, end) : ''
    text = text.slice(events.length)
    yield events
  }
}

function lastIdIn(events: string): string | undefined {
  return [...events.matchAll(/^id: (\S{1,80})$/gm)].at(-1)?.[1]
}
