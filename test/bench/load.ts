import { connect, type Socket } from 'node:net'
import { TOKEN_CHARACTERS, tokenOf } from './keys.ts'
import { randomOrders } from './orders.ts'
import { answerCalls } from './remote.ts'
import { signedGets } from './signed.ts'
import { quantile } from './statistics.ts'

/**
 * The load generator, a process of its own: so many keep-alive connections, each with one request under way. It writes
 * requests from buffers made ahead and reads no more of an answer than its status and length, because on a machine with
 * few cores whatever it spends is taken from the server.
 */
export interface Load {
  /** Makes the tokens of so many keys ahead. */
  prepareKeys(count: number): void
  /** Starts to send and answers when the connections are open and `warmSeconds` have passed. */
  begin(target: Target): Promise<void>
  /** Counts for a while what is being sent; ends early when there is nothing left to send. */
  measure(seconds: number): Promise<Measured>
  /** Ends the load and closes its connections. */
  end(): Promise<void>
}

/** What a turn needs of whatever sends the load. */
export type LoadGenerator = Pick<Load, 'begin' | 'measure' | 'end'>

export interface Target {
  port: number
  path: string
  connections: number
  warmSeconds: number
  send:
    | { what: 'gets'; keys: number; order: 'random' | 'each once' }
    | { what: 'orders'; count: number; byKey: boolean }
    | { what: 'signed gets'; keys: number; count: number }
}

export interface Measured {
  requests: number
  seconds: number
  p50Ms: number
  p99Ms: number
  maxMs: number
  /** Answers that were not 2xx, by status. There must be none. */
  refused: Record<string, number>
  /** Share of one core that the load generator itself was busy. */
  ownCpu: number
}

/** Writes the next request into the buffer and answers its length, or 0 when there is none. */
type NextRequest = (into: Buffer) => number

interface Connection {
  socket: Socket
  request: Buffer
  sentAt: number
  /** Bytes of an answer that came without its end. */
  pending: Buffer | undefined
}

const REQUEST_BYTES = 4_096
const MOST_LATENCIES = 10_000_000

let tokens = Buffer.alloc(0)
let connections: Connection[] = []
let sending = false
let exhausted: (() => void) | undefined
let counting = false
const latencies = new Float32Array(MOST_LATENCIES)
let answered = 0
let refused: Record<string, number> = {}

const calls: Load = {
  prepareKeys(count) {
    if (tokens.length >= count * TOKEN_CHARACTERS) return
    tokens = Buffer.allocUnsafe(count * TOKEN_CHARACTERS)
    for (let n = 0; n < count; n++) tokens.write(tokenOf(n), n * TOKEN_CHARACTERS, 'latin1')
  },

  async begin({ port, path, connections: count, warmSeconds, send }) {
    const next = nextOf(path, send)
    sending = true
    connections = await Promise.all(Array.from({ length: count }, () => open(port, next)))
    for (const connection of connections) sendNext(connection, next)
    await pause(warmSeconds)
  },

  async measure(seconds) {
    answered = 0
    refused = {}
    const cpuBefore = process.cpuUsage()
    const begun = performance.now()
    counting = true
    await Promise.race([pause(seconds), new Promise<void>((done) => (exhausted = done))])
    counting = false
    const elapsed = (performance.now() - begun) / 1000
    const { user, system } = process.cpuUsage(cpuBefore)
    const sorted = latencies.slice(0, answered).sort()
    return {
      requests: answered,
      seconds: elapsed,
      p50Ms: quantile(sorted, 0.5),
      p99Ms: quantile(sorted, 0.99),
      maxMs: sorted.at(-1) ?? Number.NaN,
      refused,
      ownCpu: (user + system) / 1e6 / elapsed,
    }
  },

  async end() {
    sending = false
    // Whatever is under way is answered first: a server must not carry it over into another side's turn.
    await pause(0.05)
    while (connections.some(({ sentAt }) => sentAt > 0)) await pause(0.02)
    for (const { socket } of connections) socket.destroy()
    connections = []
  },
}

function gets(path: string, keys: number, order: 'random' | 'each once'): NextRequest {
  const head = Buffer.from(`GET ${path} HTTP/1.1\r\nHost: 127.0.0.1\r\nX-API-Key: `)
  const tail = Buffer.from('\r\n\r\n')
  const length = head.length + TOKEN_CHARACTERS + tail.length
  // A stride without a common divisor visits every key, far from its neighbours.
  const stride = 611_953
  let sent = 0
  return (into) => {
    if (order === 'each once' && sent >= keys) return 0
    const key = order === 'random' ? Math.floor(Math.random() * keys) : (sent * stride) % keys
    if (into.readUInt8(0) === 0) {
      head.copy(into)
      tail.copy(into, head.length + TOKEN_CHARACTERS)
    }
    tokens.copy(into, head.length, key * TOKEN_CHARACTERS, (key + 1) * TOKEN_CHARACTERS)
    sent += 1
    return length
  }
}

function nextOf(path: string, send: Target['send']): NextRequest {
  if (send.what === 'gets') return gets(path, send.keys, send.order)
  const requests =
    send.what === 'orders'
      ? randomOrders(send.count, send.byKey)
      : signedGets(path, send.keys, send.count)
  return (into) => requests.pop()?.copy(into) ?? 0
}

function open(port: number, next: NextRequest): Promise<Connection> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      port,
      host: '127.0.0.1',
      noDelay: true,
      onread: {
        buffer: Buffer.allocUnsafe(65_536),
        callback(length, buffer) {
          receive(connection, buffer.subarray(0, length) as Buffer, next)
          return true
        },
      },
    })
    const connection: Connection = {
      socket,
      request: Buffer.alloc(REQUEST_BYTES),
      sentAt: 0,
      pending: undefined,
    }
    socket.once('connect', () => resolve(connection))
    socket.on('error', (error) => {
      count('broken')
      connection.sentAt = 0
      reject(error)
    })
    socket.on('close', () => {
      if (sending) count('closed')
      connection.sentAt = 0
    })
  })
}

function sendNext(connection: Connection, next: NextRequest): void {
  const length = sending ? next(connection.request) : 0
  connection.sentAt = length === 0 ? 0 : performance.now()
  if (length > 0) connection.socket.write(connection.request.subarray(0, length))
  else if (sending) exhausted?.()
}

function receive(connection: Connection, chunk: Buffer, next: NextRequest): void {
  const bytes =
    connection.pending === undefined ? chunk : Buffer.concat([connection.pending, chunk])
  if (!isWhole(bytes)) {
    connection.pending = Buffer.from(bytes)
    return
  }
  connection.pending = undefined
  const status = bytes.toString('latin1', 9, 12)
  if (!status.startsWith('2')) count(status)
  else if (counting) {
    latencies[answered] = performance.now() - connection.sentAt
    answered += 1
  }
  sendNext(connection, next)
}

function isWhole(bytes: Buffer): boolean {
  const end = bytes.indexOf('\r\n\r\n')
  if (end < 0) return false
  const length = /\r\ncontent-length: (\d+)/i.exec(bytes.toString('latin1', 0, end))?.[1]
  if (length === undefined) throw new Error('an answer without Content-Length')
  return bytes.length >= end + 4 + Number(length)
}

function count(fault: string): void {
  refused[fault] = (refused[fault] ?? 0) + 1
}

function pause(seconds: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, seconds * 1000))
}

answerCalls(calls, () => undefined)
