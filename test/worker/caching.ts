import { connect, createServer, type Socket } from 'node:net'

/** A way to Postgres that remembers answers, as Hyperdrive does unless query caching is off. */
export interface CachingProxy {
  port: number
  /** Answers that came out of the cache. */
  served: number
  close(): Promise<void>
}

/** Statements that Hyperdrive takes for reads, by its documentation: nothing is written, locked or volatile. */
function isCacheable(statement: string): boolean {
  return (
    /^\s*(select|with)\b/i.test(statement) &&
    !/\b(insert|update|delete)\b|\bfor\s+(update|share)\b|\b(now|nextval|pg_\w+|random)\(/i.test(
      statement,
    )
  )
}

/** What a Bind binds, without the names of its portal and statement: the driver draws those anew for each session. */
function valuesOf(bind: Buffer): Buffer {
  const portalEnds = bind.indexOf(0, 5)
  return bind.subarray(bind.indexOf(0, portalEnds + 1) + 1)
}

/**
 * Speaks as much of the protocol of Postgres (its manual, "Message Formats") as a cache needs: Parse brings a statement's
 * text, and Bind to Sync is one execution of it, whose answer ends with ReadyForQuery.
 */
export async function openCachingProxy(postgresPort: number): Promise<CachingProxy> {
  const cache = new Map<string, Buffer>()
  const sockets = new Set<Socket>()
  const proxy = { served: 0 }

  const server = createServer((near) => {
    const far = connect(postgresPort, '127.0.0.1')
    for (const [one, other] of [
      [near, far],
      [far, near],
    ] as const) {
      sockets.add(one)
      one.on('error', () => other.destroy())
      one.on('close', () => other.destroy())
    }
    let statement = ''
    let execution: Buffer[] | undefined
    let bound: Buffer = Buffer.alloc(0)
    let recording: { name: string; answer: Buffer[] } | undefined

    const fromClient = framesOf((type, frame) => {
      if (type === 'P') statement = textOf(frame.subarray(frame.indexOf(0, 5) + 1))
      if (type === 'B') {
        execution = []
        bound = valuesOf(frame)
      }
      if (execution === undefined) return void far.write(frame)
      execution.push(frame)
      if (type !== 'S') return
      const whole = Buffer.concat(execution)
      execution = undefined
      const name = `${statement}\n${bound.toString('hex')}`
      const known = isCacheable(statement) ? cache.get(name) : undefined
      if (known !== undefined) {
        proxy.served++
        near.write(known)
        return
      }
      recording = isCacheable(statement) ? { name, answer: [] } : undefined
      far.write(whole)
    }, true)
    const fromServer = framesOf((type, frame) => {
      recording?.answer.push(frame)
      if (type === 'Z') {
        const isIdle = frame[5] === 'I'.charCodeAt(0)
        if (recording !== undefined && isIdle)
          cache.set(recording.name, Buffer.concat(recording.answer))
        recording = undefined
      }
      near.write(frame)
    }, false)
    near.on('data', fromClient)
    far.on('data', fromServer)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return Object.assign(proxy, {
    port: (server.address() as { port: number }).port,
    close: () =>
      new Promise<void>((resolve) => {
        for (const socket of sockets) socket.destroy()
        server.close(() => resolve())
      }),
  })
}

/** Cuts a stream into messages. The first of a client has no type. */
function framesOf(take: (type: string, frame: Buffer) => void, isClient: boolean) {
  let rest = Buffer.alloc(0)
  let isFirst = isClient
  return (chunk: Buffer) => {
    rest = Buffer.concat([rest, chunk])
    for (;;) {
      const head = isFirst ? 0 : 1
      if (rest.length < head + 4) return
      const length = head + rest.readInt32BE(head)
      if (rest.length < length) return
      take(isFirst ? '' : String.fromCharCode(rest[0] ?? 0), rest.subarray(0, length))
      rest = rest.subarray(length)
      isFirst = false
    }
  }
}

function textOf(bytes: Buffer): string {
  return bytes.subarray(0, bytes.indexOf(0)).toString()
}
