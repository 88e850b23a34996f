/** One event of a stream; `data` is sent as JSON. */
export interface StreamEvent {
  id: number | string
  data: unknown
}

/** Feeds a stream: `next` and `heartbeat` write, `close` ends it, and says why where it is told. Returns how to stop feeding. */
export type StreamSource = (to: {
  next(event: StreamEvent): void
  heartbeat(): void
  close(why?: string): void
}) => () => void

/** Reconnection time that clients are told. */
const RETRY_MS = 2_000
/** Chunks that a client may leave unread before its stream is closed; it can reconnect with the last id it has. */
const MAX_UNREAD_CHUNKS = 256

/**
 * Server-sent events (WHATWG HTML s9.2), until the source closes or the client leaves. The source is stopped once,
 * whichever comes first.
 */
export function eventStream(
  past: readonly StreamEvent[],
  source?: StreamSource,
  whenUnread?: string,
): ReadableStream<Uint8Array> {
  const encoder = new TextEncoder()
  let isOpen = true
  let stop: (() => void) | undefined
  const leave = () => {
    isOpen = false
    stop?.()
    stop = undefined
  }
  return new ReadableStream<Uint8Array>({
    start(controller) {
      const close = (why?: string) => {
        if (!isOpen) return
        // An event of another name: it has no id, and is no message to a reader that does not know it.
        if (why !== undefined)
          controller.enqueue(encoder.encode(`event: end\ndata: ${JSON.stringify({ why })}\n\n`))
        controller.close()
        leave()
      }
      const write = (text: string) => {
        if (!isOpen) return
        controller.enqueue(encoder.encode(text))
        if ((controller.desiredSize ?? 0) < -MAX_UNREAD_CHUNKS) close(whenUnread)
      }
      const next = ({ id, data }: StreamEvent) =>
        write(`id: ${id}\ndata: ${JSON.stringify(data)}\n\n`)
      write(`retry: ${RETRY_MS}\n\n`)
      for (const event of past) next(event)
      if (source === undefined) return close()
      stop = source({ next, heartbeat: () => write(': heartbeat\n\n'), close })
      if (!isOpen) leave() // The source closed the stream before it returned how to stop.
    },
    cancel: leave,
  })
}
