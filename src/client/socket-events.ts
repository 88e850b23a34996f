import { parseBounded } from '../wire/response.ts'
import { latchkeyError } from './errors.ts'
import type { EventConnections, ReceivedEvent } from './events.ts'

/** Where a WebSocket is opened, and what it offers. */
export interface SocketTarget {
  url: string
  protocols: string[]
}

interface SocketOptions {
  after: string | undefined
  signal: AbortSignal
  target(after: string | undefined): SocketTarget
  /** Rejects where the credential may not read. */
  requireAccess(): Promise<void>
}

// The service sends a heartbeat every 15 s. A connection that is silent for longer is dead.
const OPENING_MS = 10_000
const SILENCE_MS = 45_000
// A caller that takes its time gets the rest over the next connection.
const MAX_WAITING = 1_000
const MAX_MESSAGE_LENGTH = 16_384

/** Opens the events of a wallet by WebSocket: no connection is made before `connect` is iterated. */
export function openSocketEvents({
  after,
  signal,
  target,
  requireAccess,
}: SocketOptions): Pick<EventConnections, 'connect'> {
  if (globalThis.WebSocket === undefined)
    throw latchkeyError('INVALID_ARGUMENT', 'This runtime has no WebSocket')
  let last = after

  async function* connect(): AsyncGenerator<ReceivedEvent[], void, undefined> {
    signal.throwIfAborted()
    const { url, protocols } = target(last)
    const socket = new WebSocket(url, protocols)
    let waiting: ReceivedEvent[] = []
    let wasOpen = false
    let isOver = false
    let wake = () => {}
    let timer: ReturnType<typeof setTimeout> | undefined
    const leave = () => {
      isOver = true
      wake()
    }
    const expect = (ms: number) => {
      clearTimeout(timer)
      timer = setTimeout(leave, ms)
    }
    socket.onopen = () => {
      wasOpen = true
      expect(SILENCE_MS)
    }
    socket.onclose = leave
    socket.onerror = leave
    socket.onmessage = ({ data }) => {
      if (isOver) return
      expect(SILENCE_MS)
      const event = readMessage(data)
      if (event === undefined) return
      waiting.push(event)
      last = event.id
      if (waiting.length >= MAX_WAITING) leave()
      else wake()
    }
    expect(OPENING_MS)
    signal.addEventListener('abort', leave, { once: true })
    try {
      while (!isOver || waiting.length > 0) {
        if (waiting.length > 0) {
          const arrived = waiting
          waiting = []
          yield arrived
          continue
        }
        await new Promise<void>((resolve) => {
          wake = resolve
          if (isOver) resolve()
        })
      }
    } finally {
      clearTimeout(timer)
      signal.removeEventListener('abort', leave)
      socket.onmessage = null
      socket.onclose = null
      socket.onerror = () => {}
      if (socket.readyState === socket.CONNECTING || socket.readyState === socket.OPEN)
        socket.close()
    }
    signal.throwIfAborted()
    if (!wasOpen) await requireAccess()
  }

  return { connect }
}

/** The event of a message; undefined for a heartbeat and for what no service sends. */
function readMessage(data: unknown): ReceivedEvent | undefined {
  if (typeof data !== 'string' || data.length > MAX_MESSAGE_LENGTH) return undefined
  try {
    const { id, data: event } = (parseBounded(data) ?? {}) as { id?: unknown; data?: unknown }
    const isEvent = typeof id === 'string' && /^\S{1,80}$/.test(id) && event !== undefined
    return isEvent ? { id, data: JSON.stringify(event) } : undefined
  } catch {
    return undefined
  }
}
