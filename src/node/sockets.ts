import type { IncomingMessage, RequestListener, Server, ServerResponse } from 'node:http'
import type { Socket } from 'node:net'
import { limitKey } from '../http/ip-limits.ts'
import type { Log } from '../log.ts'
import { canonicalAddress } from '../wire/ip.ts'

/** Bounds on the connections of a process. */
export interface SocketLimits {
  maxConnections: number
  /** Connections of one address, or of the /64 around an IPv6 address. */
  maxPerAddress: number
  /** Requests that may wait on a connection for the one in work. */
  maxPipelined: number
  headersTimeoutMs: number
  /** Longest time for a request to arrive with its body. */
  requestTimeoutMs: number
  /** A response that its client does not read is cut after one to two of these: the first ends while the kernel's buffers fill. */
  drainTimeoutMs: number
}

/** Why a connection was closed by the service. */
export type DropReason =
  | 'max_connections'
  | 'address'
  | 'pipelined'
  | 'unread'
  | 'too_slow'
  | 'malformed'

/** Counts one dropped connection. */
export type Drop = (reason: DropReason) => void

const MAX_CONNECTIONS = 10_000
/** Files that remain for the database, the chain's API and the process itself. */
const RESERVED_FILES = 256
const MAX_PER_ADDRESS = 256

/** Limits below the file limit: a process without free files accepts no connection and cannot open one to Postgres. */
export function socketLimits(openFiles = fileLimit()): SocketLimits {
  const available = Math.max(Math.floor(openFiles / 2), openFiles - RESERVED_FILES)
  const maxConnections = Math.min(MAX_CONNECTIONS, available)
  return {
    maxConnections,
    maxPerAddress: Math.max(1, Math.min(MAX_PER_ADDRESS, Math.floor(maxConnections / 4))),
    maxPipelined: 100,
    headersTimeoutMs: 10_000,
    requestTimeoutMs: 30_000,
    drainTimeoutMs: 15_000,
  }
}

/** The soft limit of open files (`ulimit -n`); infinite where the platform has none. */
function fileLimit(): number {
  // Its types lack the member, without which it looks up the name of every peer.
  Object.assign(process.report, { excludeNetwork: true })
  const report = process.report.getReport() as {
    userLimits?: { open_files?: { soft: number | string } }
  }
  const limit = Number(report.userLimits?.open_files?.soft)
  return Number.isInteger(limit) && limit > 0 ? limit : Number.POSITIVE_INFINITY
}

const DROP_LOG_MS = 10_000

/** Counts drops, and logs the count of each reason at once and then every 10 s at most. */
export function countDrops(log: Log): Drop {
  const counts = new Map<DropReason, number>()
  const report = (reason: DropReason) => {
    const count = counts.get(reason) ?? 0
    if (count === 0) return void counts.delete(reason)
    log('warn', 'connections_dropped', { reason, count })
    counts.set(reason, 0)
    setTimeout(() => report(reason), DROP_LOG_MS).unref()
  }
  return (reason) => {
    const isQuiet = !counts.has(reason)
    counts.set(reason, (counts.get(reason) ?? 0) + 1)
    if (isQuiet) report(reason)
  }
}

/** The requests of one connection: the one in work, and pipelined ones that wait for it. */
export interface Lane {
  inWork: ServerResponse | undefined
  waiting: [IncomingMessage, ServerResponse][]
}

/** Returns the lane of a connection. */
export type Lanes = (socket: Socket) => Lane

export function openLanes(): Lanes {
  const lanes = new WeakMap<Socket, Lane>()
  return (socket) => {
    const known = lanes.get(socket)
    if (known !== undefined) return known
    const lane: Lane = { inWork: undefined, waiting: [] }
    lanes.set(socket, lane)
    return lane
  }
}

/**
 * Handles one request per connection at a time. Node hands over every pipelined request as it is parsed; a client that
 * sends hundreds and reads nothing would have all their responses kept in memory.
 */
export function oneAtATime(
  handle: RequestListener,
  laneOf: Lanes,
  { maxPipelined }: Pick<SocketLimits, 'maxPipelined'>,
  drop: Drop,
): RequestListener {
  function begin(lane: Lane, request: IncomingMessage, response: ServerResponse): void {
    lane.inWork = response
    response.once('close', () => next(lane, request.socket))
    handle(request, response as Parameters<RequestListener>[1])
  }
  function next(lane: Lane, socket: Socket): void {
    lane.inWork = undefined
    const [request, response] = lane.waiting.shift() ?? []
    if (socket.destroyed) lane.waiting.length = 0
    else if (request !== undefined && response !== undefined) begin(lane, request, response)
    else socket.resume()
  }
  return (request, response) => {
    const { socket } = request
    if (socket.destroyed) return // The parser goes on with what it has read before.
    const lane = laneOf(socket)
    if (lane.inWork === undefined) return begin(lane, request, response)
    if (lane.waiting.length >= maxPipelined) {
      drop('pipelined')
      socket.destroy()
      return
    }
    lane.waiting.push([request, response])
    socket.pause()
  }
}

/** Counts connections by address, and closes those beyond the limit. Exempt addresses are proxies, which stand for many clients. */
export function limitConnections(
  server: Server,
  { maxConnections, maxPerAddress }: SocketLimits,
  isExempt: (address: string) => boolean,
  drop: Drop,
): void {
  const open = new Map<string, number>()
  server.maxConnections = maxConnections
  server.on('drop', () => drop('max_connections'))
  server.on('connection', (socket: Socket) => {
    const address = canonicalAddress(socket.remoteAddress ?? '')
    if (isExempt(address)) return
    const sender = limitKey(address)
    const count = (open.get(sender) ?? 0) + 1
    if (count > maxPerAddress) {
      drop('address')
      socket.destroy()
      return
    }
    open.set(sender, count)
    socket.once('close', () => {
      const left = (open.get(sender) ?? 1) - 1
      if (left === 0) open.delete(sender)
      else open.set(sender, left)
    })
  })
}

/**
 * Closes connections that are idle, or whose client reads nothing. Node calls this for a socket without progress; a
 * request in work that has nothing to write yet, as an execute, goes on.
 */
export function closeStalled(
  server: Server,
  laneOf: Lanes,
  { drainTimeoutMs }: SocketLimits,
  drop: Drop,
): void {
  server.timeout = drainTimeoutMs
  server.on('timeout', (socket: Socket) => {
    if (socket.writableLength > 0) {
      drop('unread')
      socket.destroy()
    } else if (laneOf(socket).inWork === undefined) socket.destroy()
    else socket.setTimeout(drainTimeoutMs)
  })
}

/** Refuses what is too slow or is not HTTP, where Node would do it by itself and without a body, and counts it. */
export function refuseFaulty(
  server: Server,
  laneOf: Lanes,
  drop: Drop,
  textOf: (code: string) => string,
): void {
  server.on('clientError', (error: NodeJS.ErrnoException, socket: Socket) => {
    const code = error.code ?? ''
    if (code === 'ERR_HTTP_REQUEST_TIMEOUT') drop('too_slow')
    else if (code.startsWith('HPE_')) drop('malformed')
    if (socket.writable && laneOf(socket).inWork?.headersSent !== true) socket.write(textOf(code))
    socket.destroy()
  })
  server.on('connect', (_: IncomingMessage, socket: Socket) => socket.end(textOf('CONNECT')))
}
