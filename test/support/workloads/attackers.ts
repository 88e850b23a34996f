import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { parentPort, workerData } from 'node:worker_threads'
import { gzipSync } from 'node:zlib'
import { unknownSecret } from '../secrets.ts'

/** What a thread of attackers is told. */
export interface Targets {
  /** An address of this machine that is not exempt from the limits of connections, where it has one. */
  host: string
  /** What keyed honest clients use, too. */
  loopback: string
  port: number
  /** An order that stays open. */
  uuid: string
}

/** How often each attack was made, and what it was answered. */
export interface Attacks {
  attempts: Record<string, number>
  statuses: Record<string, number>
}

const { host, loopback, port, uuid } = workerData as Targets
const attacks: Attacks = { attempts: {}, statuses: {} }
const count = (counts: Record<string, number>, name: string) => {
  counts[name] = (counts[name] ?? 0) + 1
}

/** A connection that counts the statuses that it is answered; `reads: false` leaves all of it unread. */
function open(text: string | Buffer, { reads = true, to = host } = {}): Socket {
  const socket = connect(port, to)
  socket.on('error', () => {})
  socket.write(text)
  if (!reads) return socket.pause()
  return socket.on('data', (chunk) => {
    for (const [, status = ''] of chunk.toString('latin1').matchAll(/HTTP\/1\.1 (\d{3})/g))
      count(attacks.statuses, status)
  })
}

const closed = (socket: Socket, withinMs: number) =>
  new Promise<void>((resolve) => {
    const timer = setTimeout(() => socket.destroy(), withinMs)
    socket.once('close', () => {
      clearTimeout(timer)
      resolve()
    })
  })

const get = (path: string, headers = '') => `GET ${path} HTTP/1.1\r\nHost: a\r\n${headers}\r\n`
const post = (headers: string, body: string | Buffer = '') =>
  Buffer.concat([
    Buffer.from(`POST /api/v1/orders/new HTTP/1.1\r\nHost: a\r\n${headers}\r\n\r\n`),
    Buffer.from(body),
  ])

/** Sends a byte every second for as long as the service lets it. */
async function drip(text: string): Promise<void> {
  const socket = open(text)
  const timer = setInterval(() => socket.write('x'), 1_000)
  await closed(socket, 60_000)
  clearInterval(timer)
}

const JUNK: (() => Buffer)[] = [
  () => randomBytes(2_000),
  () => post('Transfer-Encoding: chunked', 'zz\r\n{}\r\n'),
  () => post('Transfer-Encoding: chunked', '5\r\n{"a'),
  () => post('Content-Length: 100000', '{'.repeat(100_000)),
  () => post('Content-Length: 30', '{"owner":'),
  () => post('Content-Length: 4000', '['.repeat(4_000)),
  () => post('Content-Length: 64', randomBytes(64)),
  () => post('Content-Length: 22\r\nContent-Encoding: gzip', gzipSync('{}')),
  () => post('Content-Length: 2\r\nContent-Length: 3', '{}'),
  () => Buffer.from(get(`/api/v1/${'%'.repeat(5_000)}`)),
  () => Buffer.from(get('/api/v1/orders', `X-Long: ${'x'.repeat(30_000)}\r\n`)),
]

const unknownKey = () => `X-API-Key: ${unknownSecret()}\r\n`
const anyAddress = () => `X-Forwarded-For: 10.${randomBytes(3).join('.')}\r\n`
const FLOOD = [
  '/ready',
  '/health',
  '/openapi.json',
  '/docs',
  '/api/v1/info',
  '/api/v1/orders?status=failed',
  `/api/v1/orders/${uuid}`,
]

/** Every attack: how many lanes repeat it, and one round of it. */
const ATTACKS: Record<string, { lanes: number; round: () => Promise<unknown> }> = {
  slowHeaders: { lanes: 80, round: () => drip('GET / HTTP/1.1\r\nHost: a\r\nX-Slow: ') },
  slowBodies: { lanes: 40, round: () => drip(post('Content-Length: 500', '{').toString()) },
  unread: {
    lanes: 40,
    round: () => closed(open(get('/docs').repeat(20), { reads: false }), 60_000),
  },
  pipelined: { lanes: 2, round: () => closed(open(get('/openapi.json').repeat(700)), 2_000) },
  streams: {
    lanes: 40,
    round: () =>
      closed(open(get(`/api/v1/orders/${uuid}/events`), { reads: false }), 20_000 * Math.random()),
  },
  connections: {
    lanes: 1,
    round: async () => {
      const all = Array.from({ length: 300 }, () => open('', { reads: false }))
      await pause(500)
      for (const socket of all) socket.destroy()
      await pause(3_000)
    },
  },
  junk: {
    lanes: 4,
    round: async () => {
      const socket = open(JUNK[Math.floor(Math.random() * JUNK.length)]?.() ?? '')
      if (Math.random() < 0.3) setTimeout(() => socket.resetAndDestroy(), 5)
      await closed(socket, 500)
    },
  },
  flood: {
    lanes: 6,
    round: async () => {
      const socket = open('')
      for (let time = 0; time < 50 && !socket.destroyed; time++) {
        socket.write(get(FLOOD[time % FLOOD.length] ?? '/', anyAddress()))
        await pause(40)
      }
      socket.destroy()
    },
  },
  guesses: {
    lanes: 2,
    round: async () => {
      const socket = open('', { to: loopback })
      for (let time = 0; time < 50 && !socket.destroyed; time++) {
        socket.write(get('/api/v1/me', unknownKey()))
        await pause(40)
      }
      socket.destroy()
    },
  },
}

for (const [name, { lanes, round }] of Object.entries(ATTACKS))
  for (let lane = 0; lane < lanes; lane++)
    void (async () => {
      await pause(Math.random() * 3_000)
      for (;;) {
        count(attacks.attempts, name)
        await round()
        await pause(50 + Math.random() * 200)
      }
    })()

parentPort?.on('message', () => parentPort?.postMessage(attacks))
