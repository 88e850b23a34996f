import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

/** A request that a receiver got. */
export interface Received {
  headers: Record<string, string>
  body: string
  path: string
}

export interface Receiver {
  url: string
  received: Received[]
  /** How it responds; 204 at first. */
  respond(how: (request: Received, response: ServerResponse) => void): void
  close(): Promise<void>
}

/** A receiver of webhooks on this machine. */
export async function startReceiver(): Promise<Receiver> {
  const received: Received[] = []
  let how: (request: Received, response: ServerResponse) => void = (_, response) =>
    void response.writeHead(204).end()
  const server = createServer(async (request: IncomingMessage, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const headers = request.headers as Record<string, string>
    const one = { headers, body: Buffer.concat(chunks).toString(), path: request.url ?? '' }
    received.push(one)
    how(one, response)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/hook`,
    received,
    respond(next) {
      how = next
    },
    close: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}
