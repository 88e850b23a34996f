import type { AppContext } from './context.ts'

/** A WebSocket, as a handler uses it. */
export interface OpenSocket {
  /** Sends a text, and returns how many bytes the client has left unread. */
  send(text: string): number
  /** Sends a ping. A client that did not respond to the one before is cut off. */
  ping(): void
  close(code: number, reason: string): void
}

/** What a handler does with the WebSocket that a request asked for. One of the two is called, once. */
export interface SocketSource {
  /** The connection was taken over. Returns what is done when it has ended, however that is. */
  open(socket: OpenSocket): () => void
  /** The connection was lost before. */
  abandon(): void
}

/** How a platform lets a handler take over the connection of a request. */
export interface SocketBinding {
  acceptSocket?: (source: SocketSource) => void
}

/** How to take over the connection of a request; undefined where it asks for no WebSocket. */
export function socketOf(c: AppContext): SocketBinding['acceptSocket'] {
  return (c.env as SocketBinding | undefined)?.acceptSocket
}
