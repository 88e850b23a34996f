import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo, Socket } from 'node:net'
import { getRequestListener, RequestError } from '@hono/node-server'
import type { Config } from '../env.ts'
import type { Log } from '../log.ts'
import { openRawRefusals } from './raw-refusals.ts'
import {
  closeStalled,
  countDrops,
  limitConnections,
  oneAtATime,
  openLanes,
  refuseFaulty,
  type SocketLimits,
  socketLimits,
} from './sockets.ts'
import { serveWebSockets, shouldUpgrade } from './web-sockets.ts'

const SWEEP_MS = 50
/** How often Node looks for requests that are too slow. */
const CHECK_MS = 1_000

export interface ListenOptions {
  log: Log
  /** The time that refusals of the server itself carry. */
  now?: () => number
  /** Whether an address may open any number of connections, as a trusted proxy may. By default none may. */
  isExempt?: (address: string) => boolean
  limits?: Partial<SocketLimits>
}

export interface Listening {
  port: number
  /** Stops accepting requests and resolves when those under way have been answered. */
  finish(): Promise<void>
}

/** Serves the app at HOST and PORT. Rejects with a sentence when the port is taken. */
export function listen(
  app: { fetch: Parameters<typeof getRequestListener>[0] },
  { HOST, PORT, KEEP_ALIVE_SECONDS }: Pick<Config, 'HOST' | 'PORT' | 'KEEP_ALIVE_SECONDS'>,
  options: ListenOptions,
): Promise<Listening> {
  return new Promise((resolve, reject) => {
    const server = boundedServer(app, HOST, KEEP_ALIVE_SECONDS, options)
    server.listen(PORT, HOST)
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(listeningProblem(error, HOST, PORT, 'PORT')),
    )
    server.once('listening', () => {
      const { port } = server.address() as AddressInfo
      resolve({ port, finish: () => finish(server) })
    })
  })
}

/** A server whose connections, and what each may keep in memory, are bounded. */
function boundedServer(
  app: { fetch: Parameters<typeof getRequestListener>[0] },
  hostname: string,
  keepAliveSeconds: number,
  { log, now = Date.now, isExempt = () => false, limits: given }: ListenOptions,
): Server {
  const limits = { ...socketLimits(), ...given }
  const drop = countDrops(log)
  const laneOf = openLanes()
  const refusals = openRawRefusals(log, now)
  const listener = getRequestListener(app.fetch, {
    hostname,
    errorHandler: (error) =>
      error instanceof RequestError
        ? refusals.ofTarget(`the request has no valid target or Host: ${error.message}`)
        : refusals.ofDefect(),
  })
  const answer = (request: IncomingMessage, response: ServerResponse) =>
    isHostMissing(request)
      ? response.socket?.end(refusals.ofFault('HOST_MISSING'))
      : listener(request, response)
  const handle = oneAtATime(answer, laneOf, limits, drop)
  const server = createServer(
    {
      keepAliveTimeout: keepAliveSeconds * 1_000,
      headersTimeout: limits.headersTimeoutMs,
      requestTimeout: limits.requestTimeoutMs,
      connectionsCheckingInterval: Math.min(CHECK_MS, limits.headersTimeoutMs),
      shouldUpgradeCallback: shouldUpgrade,
      requireHostHeader: false, // Node would refuse it without a body.
    },
    handle,
  )
  // What a client expects besides 100-continue is not met, and ignored (RFC 9110 s10.1.1 allows both).
  server.on('checkExpectation', handle)
  serveWebSockets(server, app.fetch, (socket) => laneOf(socket as Socket).inWork !== undefined)
  limitConnections(server, limits, isExempt, drop)
  closeStalled(server, laneOf, limits, drop)
  refuseFaulty(server, laneOf, drop, refusals.ofFault)
  return server
}

function isHostMissing({ headers, httpVersion }: IncomingMessage): boolean {
  return headers.host === undefined && httpVersion === '1.1'
}

/** Why a port cannot be listened on, and the variable that names it. */
export function listeningProblem(
  error: NodeJS.ErrnoException,
  host: string,
  port: number,
  variable: string,
): Error {
  return new Error(
    error.code === 'EADDRINUSE'
      ? `Port ${port} of ${host} is taken. Stop what listens there, or set ${variable} to another one.`
      : `Cannot listen on port ${port} of ${host}: ${error.message}.`,
    { cause: error },
  )
}

/** server.close closes connections that are idle now; the sweep closes those that become idle later. */
function finish(server: Server): Promise<void> {
  const sweep = setInterval(() => server.closeIdleConnections(), SWEEP_MS)
  return new Promise((resolve) => {
    server.close(() => {
      clearInterval(sweep)
      resolve()
    })
  })
}
