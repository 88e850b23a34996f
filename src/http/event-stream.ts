/** What tells a stream what to say. */
export interface Said {
  id: number
  data: unknown
}

/** Where a stream gets what it says: `say` and `beat` put it in, `end` closes it. Answers how to stop. */
export type Source = (to: { say(event: Said): void; beat(): void; end(): void }) => () => void

/** How long a client waits before it connects again. */
const RETRY_MS = 2_000
/** Chunks that a client may leave unread before it is let go: it can come back with what it knows. */
const MOST_UNREAD = 256

/**
 * Server-sent events (WHATWG HTML s9.2), until the source ends or the client leaves; whichever is first, the source is
 * stopped, once.
 */
export function eventStream(past: readonly Said[], source?: Source): ReadableStream<Uint8Array> {
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
      const end = () => {
        if (!isOpen) return
        controller.close()
        leave()
      }
      const write = (text: string) => {
        if (!isOpen) return
        controller.enqueue(encoder.encode(text))
        if ((controller.desiredSize ?? 0) < -MOST_UNREAD) end()
      }
      const say = ({ id, data }: Said) => write(`id: ${id}\ndata: ${JSON.stringify(data)}\n\n`)
      write(`retry: ${RETRY_MS}\n\n`)
      for (const event of past) say(event)
      if (source === undefined) return end()
      stop = source({ say, beat: () => write(': still here\n\n'), end })
      if (!isOpen) leave() // It ended before it could be stopped.
    },
    cancel: leave,
  })
}
