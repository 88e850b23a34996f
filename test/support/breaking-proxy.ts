import { createServer, connect as openSocket, type Socket } from 'node:net'

/** When a connection breaks: before the request is passed on, once it was answered, or within the answer, which may seem to end. */
export const MOMENTS = [
  'before the request',
  'before the answer',
  'within the answer',
  'within the answer, as if it were whole',
] as const
export type Moment = (typeof MOMENTS)[number]

export interface BreakingProxy {
  url: string
  /** Breaks the connection of the next request, and of as many after it. */
  breakNext(moment: Moment, times?: number): void
  /** How many connections were broken. */
  readonly broken: number
  /** Sockets of clients that are open. */
  readonly open: number
  close(): Promise<void>
}

/** A TCP proxy in front of a service, which resets connections at a chosen moment. */
export async function startBreakingProxy(target: string): Promise<BreakingProxy> {
  const { port } = new URL(target)
  const sockets = new Set<Socket>()
  const clients = new Set<Socket>()
  let plan: { moment: Moment; times: number } | undefined
  let broken = 0

  function take(): Moment | undefined {
    if (plan === undefined || plan.times === 0) return undefined
    plan.times -= 1
    return plan.moment
  }

  const server = createServer((client) => {
    const service = openSocket(Number(port), '127.0.0.1')
    let moment: Moment | undefined
    const end = () => {
      client.destroy()
      service.destroy()
    }
    const breakOff = () => {
      broken += 1
      client.resetAndDestroy()
      service.destroy()
    }
    for (const socket of [client, service]) {
      sockets.add(socket)
      socket.on('error', () => {}).on('close', end)
      socket.once('close', () => sockets.delete(socket))
    }
    clients.add(client)
    client.once('close', () => clients.delete(client))
    client.on('data', (chunk) => {
      moment ??= take()
      if (moment === 'before the request') breakOff()
      else service.write(chunk)
    })
    service.on('data', (chunk) => {
      if (moment === undefined) return void client.write(chunk)
      if (moment === 'before the answer') return breakOff()
      // The headers, and the beginning of the body.
      const part = chunk.subarray(0, chunk.length - 5)
      if (moment === 'within the answer') return void client.write(part, breakOff)
      broken += 1
      client.end(part, () => service.destroy())
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const address = server.address()
  return {
    url: `http://127.0.0.1:${typeof address === 'object' ? address?.port : ''}`,
    breakNext(moment, times = 1) {
      plan = { moment, times }
    },
    get broken() {
      return broken
    },
    get open() {
      return clients.size
    },
    async close() {
      for (const socket of sockets) socket.destroy()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
