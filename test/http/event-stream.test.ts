import { describe, expect, it } from 'vitest'
import { eventStream, type StreamSource } from '../../src/http/event-stream.ts'

type To = Parameters<StreamSource>[0]

/** A stream, what puts something into it, and how often it was told to stop. */
function open(begin: (to: To) => void = () => {}) {
  const stream = { to: undefined as To | undefined, stops: 0 }
  const body = eventStream([{ id: 1, data: 'first' }], (to) => {
    stream.to = to
    begin(to)
    return () => void stream.stops++
  })
  return { body, stream }
}
const textOf = (body: ReadableStream<Uint8Array>) => new Response(body).text()

describe('An event stream', () => {
  it('says what is past, what comes, and that nothing does, as HTML s9.2 writes it', async () => {
    const { body, stream } = open()
    stream.to?.heartbeat()
    stream.to?.next({ id: 2, data: { line: 'a\nb' } })
    stream.to?.close()
    expect(await textOf(body)).toBe(
      'retry: 2000\n\nid: 1\ndata: "first"\n\n: heartbeat\n\nid: 2\ndata: {"line":"a\\nb"}\n\n',
    )
    expect(stream.stops).toBe(1)
  })

  it('stops its source once, however it ends, and hears nothing of it after that', async () => {
    for (const close of [
      ({ stream }: ReturnType<typeof open>) => stream.to?.close(),
      ({ body }: ReturnType<typeof open>) => body.cancel(),
    ]) {
      const one = open()
      await close(one)
      one.stream.to?.next({ id: 2, data: 'late' })
      one.stream.to?.heartbeat()
      one.stream.to?.close()
      expect(one.stream.stops).toBe(1)
    }
  })

  it('stops a source that ended before it could be stopped', async () => {
    const { body, stream } = open((to) => to.close())
    expect(stream.stops).toBe(1)
    expect(await textOf(body)).toContain('first')
  })

  it('lets a client go that reads nothing', () => {
    const { stream } = open((to) => {
      for (let id = 2; id < 1_000; id++) to.next({ id, data: id })
    })
    expect(stream.stops).toBe(1)
  })

  it('without a source ends after what is past', async () => {
    expect(await textOf(eventStream([]))).toBe('retry: 2000\n\n')
  })
})
