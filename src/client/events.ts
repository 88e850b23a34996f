import { createParser } from 'eventsource-parser'
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

/** An event of a stream. */
export interface ReceivedEvent {
  id: string
  data: string
}

/** A stream of events, over as many connections as it takes. */
export interface EventConnections {
  /**
   * Connects once, after the last event that arrived. Yields the events that have arrived together, and ends with the
   * connection, however that ends. Ends at once where the service has no stream or a proxy buffers it.
   */
  connect(): AsyncGenerator<ReceivedEvent[], void, undefined>
  /** Whether the service said that there is nothing more to come. */
  readonly hasEnded: boolean
  /** Whether there is no stream: changes must be polled. */
  readonly isUnavailable: boolean
}

/** Whose stream it is, and where it goes on. */
interface StreamOptions {
  signal: AbortSignal
  headers?: Readonly<Record<string, string>>
  auth?: 'session' | 'apiKey'
  lastEventId?: string | undefined
  /** Rejects for a response that is no stream. By default there is none then. */
  onRefusal?: (response: Response) => Promise<never>
}

/** Opens the events of a path: no request is sent before `connect` is iterated. */
export function openEvents(
  transport: Transport,
  path: string,
  { signal, headers = {}, auth, lastEventId, onRefusal }: StreamOptions,
): EventConnections {
  let isUnavailable = false
  let hasEnded = false

  async function* connect(): AsyncGenerator<ReceivedEvent[], void, undefined> {
    if (isUnavailable || hasEnded) return
    const silence = startTimeout(FIRST_LINE_MS)
    let hasArrived = false
    try {
      const connection = { signal: AbortSignal.any([signal, silence.signal]), headers }
      const response = await transport.listen(path, lastEventId, connection, auth)
      // 204: the order has ended, and its last event was received.
      hasEnded = response.status === 204
      hasArrived = hasEnded
      if (response.status !== 200 && !hasArrived) await onRefusal?.(response)
      isUnavailable = response.status !== 200 && !hasArrived
      if (response.status !== 200) return void (await discard(response))
      for await (const events of eventsOf(response)) {
        hasArrived = true
        silence.restart(SILENCE_MS)
        const last = events.at(-1)
        if (last === undefined) continue
        lastEventId = last.id
        yield events
      }
    } catch (error) {
      if (error instanceof LatchkeyError) throw error
      signal.throwIfAborted()
      if (silence.signal.aborted && !hasArrived) isUnavailable = true
    } finally {
      silence.abort() // It closes the socket, also where the reader leaves the loop.
    }
  }

  return {
    connect,
    get hasEnded() {
      return hasEnded
    },
    get isUnavailable() {
      return isUnavailable
    },
  }
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
 * Yields the events of each chunk that arrives that have an id: none when there is none in it. Ends with what no service sends: an
 * event that is too long, or too much in all.
 */
async function* eventsOf(response: Response): AsyncGenerator<ReceivedEvent[], void, undefined> {
  const reader = response.body?.getReader()
  if (reader === undefined) return
  let events: ReceivedEvent[] = []
  let isTooLong = false
  const parser = createParser({
    maxBufferSize: MAX_EVENT_LENGTH,
    onError: ({ type }) => {
      isTooLong ||= type === 'max-buffer-size-exceeded'
    },
    onEvent: ({ id, data }) => {
      if (id !== undefined && /^\S{1,80}$/.test(id)) events.push({ id, data })
    },
  })
  const decoder = new TextDecoder()
  let bytes = 0
  while (!isTooLong && bytes <= MAX_CONNECTION_BYTES) {
    const { done, value } = await reader.read()
    if (done) return
    bytes += value.length
    parser.feed(decoder.decode(value, { stream: true }))
    yield events
    events = []
  }
}
