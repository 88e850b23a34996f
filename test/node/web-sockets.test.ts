import { randomBytes } from 'node:crypto'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { setTimeout as timer } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { WebSocket } from 'ws'
import { createApp } from '../../src/app.ts'
import { createClient, type WalletUpdate } from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import { walletShard } from '../../src/db/wallet-shard.ts'
import { type Listening, listen } from '../../src/node/listen.ts'
import { openOrderFeed } from '../../src/orders/feed.ts'
import { openWalletFeed, type WalletFeed } from '../../src/wallets/feed.ts'
import { answered } from '../support/assertions.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

const ORIGIN = 'https://page.example'
const KEEP_ALIVE_SECONDS = 65

let service: Service
let feed: WalletFeed
let listening: Listening
let heartbeats: (() => void)[]
const sockets: (WebSocket | Socket)[] = []

beforeAll(async () => {
  heartbeats = []
  service = await startService('PGlite', {
    env: { ALLOWED_ORIGINS: ORIGIN },
    change: (world) => {
      feed = openWalletFeed(world.db, world.log, {
        now: world.now,
        pause: timer,
        pollMs: 5,
        settleMs: 1,
        heartbeatMs: 600_000,
      })
      const subscribe: WalletFeed['subscribe'] = (one) => {
        heartbeats.push(() => one.heartbeat())
        return feed.subscribe(one)
      }
      return {
        ...world,
        feed: openOrderFeed(world.db, world.log, { now: world.now, pause: timer }),
        walletFeed: { subscribe, close: () => feed.close() },
      }
    },
  })
  const app = createApp({
    worldOf: () => service.world,
    addressOf: () => '127.0.0.1',
    allowedOrigins: [ORIGIN],
  })
  listening = await listen(
    app,
    { HOST: '127.0.0.1', PORT: 0, KEEP_ALIVE_SECONDS },
    { log: service.world.log, limits: { drainTimeoutMs: 200 } },
  )
})
afterEach(() => {
  for (const socket of sockets.splice(0))
    if (socket instanceof WebSocket) socket.terminate()
    else socket.destroy()
})
afterAll(async () => {
  feed.close()
  await listening.finish()
  await service.close()
})

async function openSession(wallet: Wallet): Promise<string> {
  const body = json(wallet.sign({ action: 'create_session', ttlSeconds: 60 }))
  return (await answered<{ session: string }>(await service.call('/sessions', body), 201)).session
}

interface Opened {
  socket: WebSocket
  messages: { id?: string; data?: WalletUpdate; heartbeat?: number }[]
  until(count: number): Promise<Opened['messages']>
  closed: Promise<[code: number, reason: string]>
}

function open(
  headers: Record<string, string>,
  protocols: string[] = ['latchkey.v1'],
  query = '',
): Promise<Opened> {
  const url = `ws://127.0.0.1:${listening.port}/api/v1/stream${query}`
  const socket = new WebSocket(url, protocols, { headers })
  sockets.push(socket)
  const messages: Opened['messages'] = []
  let wake = () => {}
  socket.on('message', (data) => {
    messages.push(JSON.parse(String(data)))
    wake()
  })
  const closed = new Promise<[number, string]>((resolve) =>
    socket.once('close', (code, reason) => resolve([code, String(reason)])),
  )
  return new Promise((resolve, reject) => {
    socket.once('open', () =>
      resolve({
        socket,
        messages,
        closed,
        async until(count) {
          while (messages.length < count)
            await new Promise<void>((more) => {
              wake = more
            })
          return messages
        },
      }),
    )
    socket.once('unexpected-response', (_, response) => {
      let text = ''
      response.on('data', (chunk) => {
        text += chunk
      })
      response.on('end', () => reject({ status: response.statusCode, body: JSON.parse(text) }))
    })
    socket.on('error', reject)
  })
}

const bearer = (secret: string) => ['latchkey.v1', `latchkey.bearer.${secret}`]
const taken = () => service.world.feed?.taken() ?? 0
const untilReleased = async (before: number) => {
  while (taken() > before) await timer(2)
}

async function reading(wallet: Wallet, terms: Record<string, unknown> = {}) {
  const { apiKey, keyId } = await createKey(service, wallet, { permissions: ['read'], ...terms })
  return { apiKey, keyId, headers: { 'X-API-Key': apiKey } }
}

/** A connection that upgrades by hand and then says whatever a test wants. */
async function rawSocket(apiKey: string, headers = ''): Promise<Socket & { received: string }> {
  const socket = connect(listening.port, '127.0.0.1') as Socket & { received: string }
  sockets.push(socket)
  socket.received = ''
  socket.on('error', () => {})
  socket.setEncoding('latin1').on('data', (chunk) => {
    socket.received += chunk
  })
  const lines = [
    'GET /api/v1/stream HTTP/1.1',
    'Host: a',
    'Upgrade: websocket',
    'Connection: Upgrade',
    'Sec-WebSocket-Version: 13',
    `X-API-Key: ${apiKey}`,
    headers || `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}`,
  ]
  socket.write(`${lines.join('\r\n')}\r\n\r\n`)
  while (!socket.received.includes('\r\n\r\n') && !socket.closed) await timer(2)
  return socket
}

describe('The WebSocket of a wallet', () => {
  it('has the same events for a key in a header and for a key or session in a subprotocol', async () => {
    const wallet = newWallet(service)
    const { apiKey, headers } = await reading(wallet)
    const session = await openSession(wallet)
    const opened = [
      await open(headers, []),
      await open({}, bearer(session)),
      await open({ Origin: ORIGIN }, bearer(apiKey)),
    ]
    expect(opened.map(({ socket }) => socket.protocol)).toEqual(['', 'latchkey.v1', 'latchkey.v1'])
    for (const one of opened) expect((await one.until(1))[0]?.data).toEqual({ type: 'start' })
    const uuid = await createOrder(service, wallet)
    for (const one of opened)
      expect((await one.until(2))[1]?.data).toMatchObject({ type: 'order', uuid, status: 'open' })
    const after = opened[0]?.messages[0]?.id
    const resumed = await open(headers, [], `?after=${after}`)
    expect((await resumed.until(1))[0]).toEqual(opened[0]?.messages[1])
  })

  it('is refused as any request, and takes no place then', async () => {
    const wallet = newWallet(service)
    const { headers } = await reading(wallet)
    const { apiKey } = await createKey(service, wallet, { permissions: ['create'] })
    await untilReleased(0)
    const refusals: [Record<string, string>, string[], string, number, string][] = [
      [{}, ['latchkey.v1'], '', 401, 'INVALID_SESSION'],
      [{}, bearer('cs_nothing'), '', 401, 'INVALID_SESSION'],
      [{ 'X-API-Key': 'ck_live_wrong' }, [], '', 401, 'INVALID_API_KEY'],
      [{ 'X-API-Key': apiKey }, [], '', 403, 'PERMISSION_DENIED'],
      [{ ...headers, Origin: 'https://other.example' }, [], '', 400, 'INVALID_REQUEST'],
      [headers, [], '?after=x', 400, 'INVALID_REQUEST'],
      [headers, [], '?token=x', 400, 'INVALID_REQUEST'],
    ]
    for (const [given, protocols, query, status, code] of refusals)
      await expect(open(given, protocols, query)).rejects.toMatchObject({ status, body: { code } })
    expect(taken()).toBe(0)
  })

  it('closes with a code that says why', async () => {
    const wallet = newWallet(service)
    const { headers, keyId } = await reading(wallet)
    const session = await openSession(wallet)
    const [byKey, bySession] = [await open(headers), await open({}, bearer(session))]
    await byKey.until(1)
    await bySession.until(1)
    const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
    await answered(await service.call(`/api-keys/${keyId}`, { ...body, method: 'DELETE' }))
    expect([4001, 4401]).toContain((await byKey.closed)[0])
    const auth = { Authorization: `Bearer ${session}` }
    await answered(await service.call('/sessions/self', { method: 'DELETE', headers: auth }))
    expect(await bySession.closed).toEqual([4401, 'credentialEnded'])
  })

  it('takes no messages, and survives frames that no client should send', async () => {
    const { headers, apiKey } = await reading(newWallet(service))
    const before = taken()
    const talking = await open(headers)
    talking.socket.send('hello')
    expect((await talking.closed)[0]).toBe(1003)
    const large = await open(headers)
    large.socket.send('x'.repeat(2_000))
    expect((await large.closed)[0]).toBe(1009)
    const frames = [
      Buffer.from([0x81, 0x05, 0x68, 0x65, 0x6c, 0x6c, 0x6f]), // without a mask
      Buffer.from([0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff]),
      Buffer.from([0x82, 0xff, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0, 0, 0, 0]), // 2^63 bytes
      Buffer.from([0x89, 0xfe, 0x01, 0x00, 0, 0, 0, 0]), // a ping that is too long
      Buffer.from([0x88, 0x82, 0, 0, 0, 0, 0x03, 0xed]), // a close with a code that is reserved
      randomBytes(300),
    ]
    for (const frame of frames) {
      const socket = await rawSocket(apiKey)
      expect(socket.received).toMatch(/^HTTP\/1\.1 101 /)
      socket.write(frame)
      while (!socket.closed) await timer(2)
    }
    await untilReleased(before)
    expect(service.logged.filter((line) => line.includes('internal_error'))).toEqual([])
  })

  it('takes no place for a handshake that fails', async () => {
    const { apiKey } = await reading(newWallet(service))
    const before = taken()
    const socket = await rawSocket(apiKey, 'Sec-WebSocket-Key: short')
    expect(socket.received).toMatch(/^HTTP\/1\.1 400 /)
    await untilReleased(before)
  })

  it('stays open where nothing happens, and is cut off where its client is gone', async () => {
    const { headers, apiKey } = await reading(newWallet(service))
    heartbeats = []
    const alive = await open(headers)
    await alive.until(1)
    const dead = await rawSocket(apiKey)
    while (heartbeats.length < 2) await timer(2)
    await timer(500) // Longer than a connection of HTTP may be silent here.
    for (const beat of heartbeats) beat()
    expect((await alive.until(2))[1]?.heartbeat).toBe(service.clock.now)
    await timer(50) // Its pong arrives; the other client returns none.
    for (const beat of heartbeats) beat()
    while (!dead.closed) await timer(2)
    expect(alive.socket.readyState).toBe(WebSocket.OPEN)
  })

  it('is bounded in memory for a client that reads nothing, which goes on where it ended', {
    timeout: 240_000,
  }, async () => {
    const wallet = newWallet(service)
    const { headers } = await reading(wallet)
    await untilReleased(0)
    const stalled = await open(headers)
    const [start] = await stalled.until(1)
    stalled.socket.pause()
    const uuid = await createOrder(service, wallet)
    const EVENTS = 40_000
    await rows(
      service.world.db,
      sql`INSERT INTO order_events (order_uuid, shard, status, at)
        SELECT ${uuid}, ${walletShard(wallet.address)}::int, 'open', now() FROM generate_series(1, ${EVENTS}::int)`,
    )
    await untilReleased(0)
    const resumed = await open(headers, [], `?after=${start?.id}`)
    const first = await resumed.until(300)
    expect(new Set(first.map(({ id }) => id)).size).toBe(first.length)
  })

  it('leaves requests that ask for another protocol to HTTP', async () => {
    for (const [path, protocol] of [
      ['/api/v1/info', 'h2c'],
      ['/api/v1/info', 'websocket'],
      ['/api/v1/streams', 'websocket'],
    ] as const) {
      const socket = connect(listening.port, '127.0.0.1')
      sockets.push(socket)
      let received = ''
      socket.setEncoding('latin1').on('data', (chunk) => {
        received += chunk
      })
      socket.write(
        `GET ${path} HTTP/1.1\r\nHost: a\r\nConnection: Upgrade, close\r\nUpgrade: ${protocol}\r\n\r\n`,
      )
      while (!socket.closed) await timer(2)
      expect(received).toMatch(path.endsWith('info') ? /^HTTP\/1\.1 200 / : /^HTTP\/1\.1 404 /)
    }
  })
})

/** A TCP proxy that cuts its connections after so many bytes from the service. */
async function cutting(
  bytes: () => number,
): Promise<{ url: string; server: Server; cuts(): number }> {
  let cuts = 0
  const server = createServer((client) => {
    const upstream = connect(listening.port, '127.0.0.1')
    let left = bytes()
    for (const socket of [client, upstream])
      socket
        .on('error', () => {})
        .on('close', () => {
          client.destroy()
          upstream.destroy()
        })
    client.pipe(upstream)
    upstream.on('data', (chunk: Buffer) => {
      left -= chunk.length
      if (left > 0) return void client.write(chunk)
      cuts += 1
      client.write(chunk.subarray(0, Math.max(0, chunk.length + left)), () =>
        client.resetAndDestroy(),
      )
    })
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  return { url: `http://127.0.0.1:${port}`, server, cuts: () => cuts }
}

describe.each(['sse', 'websocket'] as const)('Events of the SDK by %s', (transport) => {
  it('are each there once, whatever cuts the connections', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await reading(wallet)
    let at = 0
    const proxy = await cutting(() => 900 + ((at++ * 7_919) % 1_500))
    const client = createClient({ baseUrl: proxy.url, apiKey })
    const ORDERS = 60
    const seen: WalletUpdate[] = []
    const uuids: string[] = []
    let place = async () => {
      place = async () => {}
      for (let made = 0; made < ORDERS; made++) uuids.push(await createOrder(service, wallet))
    }
    let placing: Promise<void> | undefined
    for await (const event of client.events({ transport })) {
      seen.push(event)
      placing ??= place()
      if (seen.length === ORDERS + 1) break
    }
    await placing
    proxy.server.close()
    expect(proxy.cuts()).toBeGreaterThan(5)
    expect(seen.filter(({ type }) => type === 'start')).toHaveLength(1)
    expect(seen.flatMap((event) => (event.type === 'order' ? [event.uuid] : []))).toEqual(uuids)
    expect(new Set(seen.map(({ id }) => id)).size).toBe(ORDERS + 1)
  })

  it('end with the refusal that the key gets once it is revoked', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await reading(wallet)
    const client = createClient({ baseUrl: `http://127.0.0.1:${listening.port}`, apiKey })
    const follow = async () => {
      for await (const event of client.events({ transport })) {
        if (event.type !== 'start') continue
        const body = json(wallet.sign({ action: 'delete_api_key', keyId }))
        await answered(await service.call(`/api-keys/${keyId}`, { ...body, method: 'DELETE' }))
      }
    }
    await expect(follow()).rejects.toMatchObject({ code: 'API_KEY_INACTIVE' })
  })

  it('end with their signal', async () => {
    const { apiKey } = await reading(newWallet(service))
    const client = createClient({ baseUrl: `http://127.0.0.1:${listening.port}`, apiKey })
    const before = taken()
    const leaving = new AbortController()
    const follow = async () => {
      for await (const _ of client.events({ transport, signal: leaving.signal })) leaving.abort()
    }
    await expect(follow()).rejects.toMatchObject({ code: 'ABORTED' })
    await untilReleased(before)
  })
})

it('A process that stops closes WebSockets, and is done', async () => {
  const { headers } = await reading(newWallet(service))
  const opened = await open(headers)
  await opened.until(1)
  feed.close()
  expect(await opened.closed).toEqual([1001, 'stopping'])
})
