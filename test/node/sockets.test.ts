import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { setTimeout as pause } from 'node:timers/promises'
import { afterEach, describe, expect, it } from 'vitest'
import { openLog } from '../../src/log.ts'
import { type Listening, type ListenOptions, listen } from '../../src/node/listen.ts'
import { socketLimits } from '../../src/node/sockets.ts'

const ADDRESS = { HOST: '127.0.0.1', PORT: 0, KEEP_ALIVE_SECONDS: 65 }
const REQUEST = 'GET / HTTP/1.1\r\nHost: a\r\n\r\n'

let listening: Listening
let logged: string[]
let sockets: Socket[]
afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  await listening.finish()
})

async function serve(
  fetch: () => Response | Promise<Response>,
  options: Omit<ListenOptions, 'log'> = {},
): Promise<void> {
  logged = []
  sockets = []
  const log = openLog('info', (line) => logged.push(line), Date.now)
  listening = await listen({ fetch }, ADDRESS, { log, ...options })
}

function open(text = ''): Socket & { received: string } {
  const socket = connect(listening.port, '127.0.0.1') as Socket & { received: string }
  socket.received = ''
  socket.on('error', () => {})
  socket.write(text)
  sockets.push(socket)
  return socket
}

/** Reads a connection, which by itself stays unread. */
function read<S extends Socket & { received: string }>(socket: S): S {
  socket.setEncoding('latin1').on('data', (more) => {
    socket.received += more
  })
  return socket
}

const drops = () =>
  logged.map((line) => JSON.parse(line)).filter(({ event }) => event === 'connections_dropped')

describe('A connection', () => {
  it('has one request in work: pipelined ones wait, and are answered in order', async () => {
    let [inWork, most, served] = [0, 0, 0]
    await serve(async () => {
      most = Math.max(most, ++inWork)
      await pause(1)
      inWork -= 1
      return new Response(`<${served++}>`)
    })
    const socket = read(open(REQUEST.repeat(80)))
    await expect.poll(() => socket.received).toContain('<79>')
    expect(most).toBe(1)
    expect([...socket.received.matchAll(/<(\d+)>/g)].map(([, at]) => Number(at))).toEqual(
      Array.from({ length: 80 }, (_, at) => at),
    )
    expect(drops()).toEqual([])
  })

  it('that is sent more than may wait is closed, and the process keeps one response of it', async () => {
    let served = 0
    await serve(() => {
      served += 1
      return new Response(new Uint8Array(8_000_000))
    })
    const before = process.memoryUsage().rss
    const socket = open(REQUEST.repeat(700))
    socket.resume()
    await once(socket, 'close')
    expect(served).toBeLessThan(10)
    expect(process.memoryUsage().rss - before).toBeLessThan(200_000_000)
    expect(drops()).toMatchObject([{ reason: 'pipelined', count: 1, level: 'warn' }])
  })

  it('whose client reads nothing is closed, and holds one response until then', async () => {
    let served = 0
    await serve(
      () => {
        served += 1
        return new Response(new Uint8Array(20_000_000))
      },
      { limits: { drainTimeoutMs: 100 } },
    )
    const socket = open(REQUEST.repeat(20))
    socket.pause()
    await expect.poll(drops).toMatchObject([{ reason: 'unread', count: 1 }])
    expect(served).toBe(1)
  })

  it('whose client reads slowly gets all of its response', { timeout: 90_000 }, async () => {
    await serve(() => new Response(new Uint8Array(12_000_000)), { limits: { drainTimeoutMs: 500 } })
    const socket = open(REQUEST)
    let size = 0
    socket.on('data', (chunk) => {
      size += chunk.length
      socket.pause()
      setTimeout(() => socket.resume(), 5)
    })
    await expect.poll(() => size, { timeout: 60_000 }).toBeGreaterThan(12_000_000)
    expect(drops()).toEqual([])
  })

  it('may be silent for longer than that while its request is in work, as an event stream is', async () => {
    await serve(
      () =>
        new Response(
          new ReadableStream({
            async start(controller) {
              controller.enqueue(new TextEncoder().encode('first'))
              await pause(500)
              controller.enqueue(new TextEncoder().encode('last'))
              controller.close()
            },
          }),
        ),
      { limits: { drainTimeoutMs: 100 } },
    )
    const socket = read(open(REQUEST))
    await expect.poll(() => socket.received).toContain('last')
    expect(drops()).toEqual([])
  })

  it.each([
    ['its headers', 'GET / HTTP/1.1\r\nHost: a\r\nX-Half:'],
    ['its body', 'POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\n{'],
    ['anything', ''],
  ])('that does not send %s in time is closed and logged', async (_, text) => {
    await serve(() => new Promise<Response>(() => {}), {
      limits: { headersTimeoutMs: 200, requestTimeoutMs: 400 },
    })
    const socket = read(open(text))
    await once(socket, 'close')
    expect(socket.received).toMatch(/^HTTP\/1\.1 408 .*"code":"REQUEST_TIMEOUT"/s)
    expect(drops()).toMatchObject([{ reason: 'too_slow', count: 1 }])
  })

  it('that is no HTTP is refused and logged, a flood of them in one line', async () => {
    await serve(() => new Response('ok'))
    for (let time = 0; time < 20; time++) await once(read(open('no HTTP\r\n\r\n')), 'close')
    for (const socket of sockets) {
      const { received } = socket as Socket & { received: string }
      expect(received).toMatch(/^HTTP\/1\.1 400 Bad Request\r\n/)
      expect(received).toMatch(/\r\nConnection: close\r\n/)
      expect(received).toContain('HPE_INVALID_METHOD')
    }
    expect(drops()).toMatchObject([{ reason: 'malformed', count: 1 }])
  })
})

describe('Connections', () => {
  it('of one address are limited, and a closed one makes room', async () => {
    await serve(() => new Response('ok'), { limits: { maxPerAddress: 2 } })
    const [first, second] = [read(open(REQUEST)), read(open(REQUEST))]
    await expect.poll(() => first.received + second.received).toMatch(/ok[\s\S]*ok/)
    await once(read(open(REQUEST)), 'close')
    expect(drops()).toMatchObject([{ reason: 'address', count: 1 }])
    first.destroy()
    await expect
      .poll(async () => {
        const socket = read(open(REQUEST))
        await Promise.race([once(socket, 'data'), once(socket, 'close')])
        return socket.received
      })
      .toContain('ok')
  })

  it('of an exempt address, which stands for many clients, are not', async () => {
    await serve(() => new Response('ok'), {
      limits: { maxPerAddress: 2 },
      isExempt: (address) => address === '127.0.0.1',
    })
    const all = Array.from({ length: 10 }, () => read(open(REQUEST)))
    await expect.poll(() => all.every(({ received }) => received.includes('ok'))).toBe(true)
  })

  it('are limited in all, each drop counted and logged', async () => {
    await serve(() => new Response('ok'), { limits: { maxConnections: 2 } })
    const [first, second] = [read(open(REQUEST)), read(open(REQUEST))]
    await expect.poll(() => first.received + second.received).toMatch(/ok[\s\S]*ok/)
    await once(read(open()), 'close')
    expect(drops()).toMatchObject([{ reason: 'max_connections', count: 1 }])
  })

  it.each([
    256,
    1_024,
    20_000,
    Number.POSITIVE_INFINITY,
  ])('leave room for the database below a limit of %d files', (files) => {
    const { maxConnections, maxPerAddress } = socketLimits(files)
    expect(maxConnections).toBeLessThanOrEqual(files - Math.min(files / 2, 256))
    expect(maxConnections).toBeGreaterThanOrEqual(128)
    expect(maxPerAddress).toBeLessThanOrEqual(maxConnections / 4)
  })
})
