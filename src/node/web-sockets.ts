import type { IncomingMessage, Server } from 'node:http'
import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import type { getRequestListener, HttpBindings } from '@hono/node-server'
import { type WebSocket, WebSocketServer } from 'ws'
import type { OpenSocket, SocketBinding, SocketSource } from '../http/socket.ts'

/** The path that is taken over. Another one that asks for a WebSocket is served as any request is. */
const STREAM_PATH = '/api/v1/stream'
/** What the service speaks, and what carries a credential for pages, which cannot set headers. The second is never echoed. */
const PROTOCOL = 'latchkey.v1'
const BEARER_PROTOCOL = 'latchkey.bearer.'
/** Clients have nothing to say. */
const MAX_MESSAGE_BYTES = 1_024
/** A client that does not return the close frame is cut off. */
const CLOSE_TIMEOUT_MS = 2_000
/** Of a message that no client should send (RFC 6455 s7.4.1). */
const UNSUPPORTED_DATA = 1003

type Fetch = Parameters<typeof getRequestListener>[0]

/** Whether a request asks for the WebSocket of the service: the option of Node's server of that name. */
export function shouldUpgrade({ method, url = '', headers }: IncomingMessage): boolean {
  return (
    method === 'GET' &&
    headers.upgrade?.toLowerCase() === 'websocket' &&
    (url === STREAM_PATH || url.startsWith(`${STREAM_PATH}?`))
  )
}

/** Serves WebSockets: the app authenticates the request, and takes the connection over or refuses it as any other. */
export function serveWebSockets(server: Server, fetch: Fetch, isBusy: (socket: Duplex) => boolean) {
  const sockets = new WebSocketServer({
    noServer: true,
    maxPayload: MAX_MESSAGE_BYTES,
    perMessageDeflate: false,
    clientTracking: false,
    handleProtocols: (offered) => offered.has(PROTOCOL) && PROTOCOL,
    // Its types lack the option.
    ...{ closeTimeout: CLOSE_TIMEOUT_MS },
  })
  server.on('upgrade', (request: IncomingMessage, socket: Duplex, head: Buffer) => {
    socket.on('error', () => socket.destroy())
    // It was pipelined behind a request that is in work, or Node is older than its option.
    if (isBusy(socket) || !shouldUpgrade(request)) return socket.destroy()
    request.socket.setTimeout(0) // Pings find out whether its client is there.
    void takeOver(sockets, fetch, { request, socket, head })
  })
}

interface Upgrade {
  request: IncomingMessage
  socket: Duplex
  head: Buffer
}

async function takeOver(
  sockets: WebSocketServer,
  fetch: Fetch,
  { request, socket, head }: Upgrade,
): Promise<void> {
  let source: SocketSource | undefined
  try {
    const env: Pick<HttpBindings, 'incoming'> & SocketBinding = {
      incoming: request,
      acceptSocket: (one) => {
        source = one
      },
    }
    const response = (await fetch(requestOf(request), env as HttpBindings)) as Response
    if (source === undefined) return await refuseUpgrade(socket, response)
    const accepted = source
    let isOpen = false
    const abandon = () => {
      if (!isOpen) accepted.abandon()
      isOpen = true
    }
    socket.once('close', abandon)
    if (socket.destroyed) return abandon()
    sockets.handleUpgrade(request, socket, head, (client) => {
      isOpen = true
      open(client, accepted)
    })
  } catch {
    source?.abandon()
    socket.destroy()
  }
}

/**
 * The request that the app sees. A credential in a subprotocol takes the place of the header that pages cannot set, also among the headers
 * that Node has parsed: the app reads both.
 */
function requestOf({ headers: given, url = '/' }: IncomingMessage): Request {
  const offered = (given['sec-websocket-protocol'] ?? '').split(',').map((one) => one.trim())
  const bearer = offered.find((one) => one.startsWith(BEARER_PROTOCOL))
  const isPresented = given.authorization !== undefined || given['x-api-key'] !== undefined
  if (bearer !== undefined && !isPresented)
    given.authorization = `Bearer ${bearer.slice(BEARER_PROTOCOL.length)}`
  const headers = new Headers()
  for (const [name, value] of Object.entries(given))
    if (value !== undefined) headers.set(name, Array.isArray(value) ? value.join(', ') : value)
  return new Request(new URL(url, `http://${given.host ?? 'localhost'}`), { headers })
}

function open(client: WebSocket, source: SocketSource): void {
  let isAlive = true
  client.on('error', () => client.terminate())
  client.on('pong', () => {
    isAlive = true
  })
  client.on('message', () => client.close(UNSUPPORTED_DATA, 'this stream takes no messages'))
  const socket: OpenSocket = {
    send(text) {
      if (client.readyState === client.OPEN) client.send(text)
      return client.bufferedAmount
    },
    ping() {
      if (!isAlive) return client.terminate()
      isAlive = false
      if (client.readyState === client.OPEN) client.ping()
    },
    close: (code, reason) => client.close(code, reason),
  }
  const leave = source.open(socket)
  client.once('close', leave)
}

/** Sends the response of the app to a request that gets no WebSocket, and ends the connection. */
async function refuseUpgrade(socket: Duplex, response: Response): Promise<void> {
  const body = Buffer.from(await response.arrayBuffer())
  const headers = [...response.headers].map(([name, value]) => `${name}: ${value}\r\n`).join('')
  socket.end(
    Buffer.concat([
      Buffer.from(
        `HTTP/1.1 ${response.status} ${STATUS_CODES[response.status] ?? ''}\r\n${headers}Content-Length: ${body.length}\r\nConnection: close\r\n\r\n`,
      ),
      body,
    ]),
  )
}
