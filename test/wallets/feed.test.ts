import { setTimeout as timer } from 'node:timers/promises'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { shardSql } from '../../src/db/shard.ts'
import { walletShard } from '../../src/db/wallet-shard.ts'
import { openOrderFeed } from '../../src/orders/feed.ts'
import type { StreamEnd, WalletEvent } from '../../src/wallets/event.ts'
import { openWalletFeed, type WalletFeed } from '../../src/wallets/feed.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Engine, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

const POLL_MS = 5

interface Streaming extends Service {
  /** Waits until the feed has polled so many more times. */
  polled(times?: number): Promise<void>
  restart(): void
}

async function start(engine: Engine, heartbeatMs = 60_000): Promise<Streaming> {
  let feed: WalletFeed
  let polls = 0
  const open = (world: Service['world']) =>
    openWalletFeed(world.db, world.log, {
      now: world.now,
      async pause(ms) {
        polls += 1
        await timer(ms)
      },
      pollMs: POLL_MS,
      settleMs: 1,
      heartbeatMs,
      distribution: world.distribution,
    })
  const service = await startService(engine, {
    change: (world) => {
      feed = open(world)
      return {
        ...world,
        feed: openOrderFeed(world.db, world.log, { now: world.now, pause: timer }),
        walletFeed: { subscribe: (one) => feed.subscribe(one), close: () => feed.close() },
      }
    },
  })
  return {
    ...service,
    async polled(times = 6) {
      const until = polls + times
      while (polls < until) await timer(1)
    },
    restart() {
      feed.close()
      feed = open(service.world)
    },
    async close() {
      feed.close()
      await service.close()
    },
  }
}

interface Received {
  id: string
  data: WalletEvent
}

interface Stream {
  events(): Received[]
  next(count: number): Promise<Received[]>
  end(): Promise<StreamEnd | undefined>
  leave(): Promise<void>
}

const open: Stream[] = []
afterEach(async () => {
  for (const stream of open.splice(0)) await stream.leave()
})

async function read(
  service: Service,
  headers: Record<string, string>,
  after?: string,
): Promise<Stream> {
  const response = await service.call('/events', {
    headers: { ...headers, ...(after !== undefined && { 'Last-Event-ID': after }) },
  })
  expect(response.status).toBe(200)
  const chunks = (response.body as ReadableStream<Uint8Array>).getReader()
  const decoder = new TextDecoder()
  let text = ''
  let isOver = false
  const more = async () => {
    const { done, value } = await chunks.read()
    text += decoder.decode(value, { stream: true })
    isOver = done
  }
  const events = (): Received[] =>
    [...text.matchAll(/^id: (\S+)\ndata: (.*)\n\n/gm)].map(([, id, data]) => ({
      id: id ?? '',
      data: JSON.parse(data ?? ''),
    }))
  const stream = {
    events,
    async next(count: number): Promise<Received[]> {
      while (!isOver && events().length < count) await more()
      return events()
    },
    async end(): Promise<StreamEnd | undefined> {
      while (!isOver) await more()
      const [, data] = /^event: end\ndata: (.*)\n\n/m.exec(text) ?? []
      return data === undefined ? undefined : JSON.parse(data).why
    },
    leave: () => chunks.cancel(),
  }
  open.push(stream)
  return stream
}

async function openSession(service: Service, wallet: Wallet, ttlSeconds = 60): Promise<string> {
  const body = json(wallet.sign({ action: 'create_session', ttlSeconds }))
  return (await answered<{ session: string }>(await service.call('/sessions', body), 201)).session
}

async function reading(service: Service, wallet: Wallet, terms: Record<string, unknown> = {}) {
  const { apiKey, keyId } = await createKey(service, wallet, { permissions: ['read'], ...terms })
  return { headers: { 'X-API-Key': apiKey }, keyId }
}

async function cancel(service: Service, wallet: Wallet, uuid: string): Promise<void> {
  const body = json(wallet.sign({ action: 'cancel_order', uuid }))
  await answered(await service.call(`/orders/${uuid}/cancel`, { ...body, method: 'PATCH' }))
}

const change = async (service: Service, wallet: Wallet, action: string, members: object) => {
  const { keyId } = members as { keyId: string }
  const suffix = action === 'suspend_api_key' ? '/suspend' : ''
  const method = suffix !== '' ? 'POST' : action === 'delete_api_key' ? 'DELETE' : 'PATCH'
  const body = json(wallet.sign({ action, ...members }))
  await answered(await service.call(`/api-keys/${keyId}${suffix}`, { ...body, method }))
}

const told = ({ data }: Received) =>
  data.type === 'order' ? `${data.uuid} ${data.status}` : data.type === 'key' ? data.event : 'start'

describe.each(ENGINES)('The events of a wallet on %s', (engine) => {
  let service: Streaming
  beforeAll(async () => {
    service = await start(engine)
  })
  afterAll(() => service.close())

  it('are each change of its orders and keys, once, and of no other wallet', async () => {
    const wallet = newWallet(service)
    const { headers } = await reading(service, wallet)
    const bearer = { Authorization: `Bearer ${await openSession(service, wallet)}` }
    const streams = [await read(service, headers), await read(service, bearer)]
    for (const stream of streams) expect((await stream.next(1)).map(told)).toEqual(['start'])
    const uuid = await createOrder(service, wallet)
    await createOrder(service, newWallet(service))
    for (const stream of streams) await stream.next(2)
    const { keyId } = await createKey(service, wallet)
    for (const stream of streams) await stream.next(3)
    await cancel(service, wallet, uuid)
    for (const stream of streams) {
      const events = await stream.next(4)
      expect(events.map(told)).toEqual([
        'start',
        `${uuid} open`,
        'create_api_key',
        `${uuid} cancelled`,
      ])
      expect(events[2]?.data).toMatchObject({ keyId, actor: 'owner', sequence: 3 })
      expect(new Set(events.map(({ id }) => id)).size).toBe(4)
    }
  })

  it('go on behind any event that a client has, also in another process', async () => {
    const wallet = newWallet(service)
    const { headers } = await reading(service, wallet)
    const stream = await read(service, headers)
    await stream.next(1)
    const uuids = [await createOrder(service, wallet), await createOrder(service, wallet)]
    await createKey(service, wallet)
    for (const uuid of uuids) await cancel(service, wallet, uuid)
    const all = await stream.next(6)
    service.restart()
    expect(await stream.end()).toBe('stopping')
    await createKey(service, wallet)
    const last = 'create_api_key'
    for (const [at, { id }] of all.entries()) {
      const resumed = await read(service, headers, id)
      const expected = [...all.slice(at + 1).map(told), last]
      const rest = (await resumed.next(expected.length)).map(told)
      // Of orders and of keys each; both are read apart.
      for (const isKey of [true, false]) {
        const of = (one: string) => (one === last) === isKey
        expect(rest.filter(of)).toEqual(expected.filter(of))
      }
      await resumed.leave()
    }
  })

  it.each([
    ['is too old', '1-1-1700000000000', 'tooOld'],
    ['is of a release before', `12-${'ab'.repeat(16)}`, 'unknown'],
    ['names what never was', '999999999-1-NOW', 'unknown'],
    ['names an event of the audit that never was', '0-99-NOW', 'unknown'],
    ['is of the future', '0-1-9999999999999', 'unknown'],
  ])('begin anew, and say so, where an id %s', async (_, id, missed) => {
    const { headers } = await reading(service, newWallet(service))
    const stream = await read(service, headers, id.replace('NOW', String(service.clock.now)))
    const [first] = await stream.next(1)
    expect(first?.data).toEqual({ type: 'start', missed })
  })

  it('show a key that is confined to its own orders no other ones', async () => {
    const wallet = newWallet(service)
    const terms = { permissions: ['read', 'create'], ownOrdersOnly: true }
    const { headers } = await reading(service, wallet, terms)
    const stream = await read(service, headers)
    await stream.next(1)
    await createOrder(service, wallet)
    const own = wallet.order()
    await answered(await service.call('/orders/new', json(own, headers)), 201)
    expect((await stream.next(2)).map(told)).toEqual(['start', `${own.uuid} open`])
  })

  it.each<[string, string, object, StreamEnd]>([
    ['is revoked', 'delete_api_key', {}, 'keyChanged'],
    ['is suspended', 'suspend_api_key', {}, 'keyChanged'],
    ['loses read', 'update_api_key', { permissions: ['create'] }, 'keyChanged'],
  ])('end when their key %s', async (_, action, members, why) => {
    const wallet = newWallet(service)
    const { headers, keyId } = await reading(service, wallet)
    const stream = await read(service, headers)
    await stream.next(1)
    await change(service, wallet, action, { keyId, ...members })
    expect([why, 'credentialEnded']).toContain(await stream.end())
    expect((await service.call('/events', { headers })).status).toBeGreaterThanOrEqual(401)
  })

  it('end when their key or their session expires, or the session ends', async () => {
    const wallet = newWallet(service)
    const expiresAt = service.clock.now + 30_000
    const { headers } = await reading(service, wallet, { expiresAt })
    const bearer = { Authorization: `Bearer ${await openSession(service, wallet, 30)}` }
    const other = { Authorization: `Bearer ${await openSession(service, wallet)}` }
    const streams: Stream[] = []
    for (const one of [headers, bearer, other]) streams.push(await read(service, one))
    for (const stream of streams) await stream.next(1)
    service.clock.now += 30_000
    expect(await streams[0]?.end()).toBe('credentialEnded')
    expect(await streams[1]?.end()).toBe('credentialEnded')
    await answered(await service.call('/sessions/self', { method: 'DELETE', headers: other }))
    expect(await streams[2]?.end()).toBe('credentialEnded')
  })

  it('are refused without read, without a credential, and with an id that is none', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { permissions: ['cancel'] })
    const call = (headers: Record<string, string>) => service.call('/events', { headers })
    await refused(await call({ 'X-API-Key': apiKey }), 'permissionDenied')
    await refused(await call({}), 'sessionInvalid')
    const { headers } = await reading(service, wallet)
    for (const id of ['x y', 'drop', '1'.repeat(65)])
      await refused(await call({ ...headers, 'Last-Event-ID': id }), 'invalidRequest')
    await refused(await service.call('/stream', { headers }), 'invalidRequest')
  })

  it('are bounded in memory for a client that reads nothing, which is told so and goes on', async () => {
    const wallet = newWallet(service)
    const { headers } = await reading(service, wallet)
    const stream = await read(service, headers)
    await stream.next(1)
    const taken = service.world.feed?.taken() ?? 0
    const uuid = await createOrder(service, wallet)
    const shard = walletShard(wallet.address)
    await rows(
      service.world.db,
      sql`INSERT INTO order_events (order_uuid, shard, status, at)
        SELECT ${uuid}, ${shard}::int, 'open', now() FROM generate_series(1, 1000)`,
    )
    while (service.world.feed?.taken() === taken) await timer(1)
    expect(await stream.end()).toBe('unread')
    const seen = stream.events()
    expect(seen.length).toBeLessThan(400)
    const rest = await (await read(service, headers, seen.at(-1)?.id)).next(1_002 - seen.length)
    expect(new Set([...seen, ...rest].map(({ id }) => id)).size).toBe(1_002)
  })

  it('take one of the limited places, and return it', async () => {
    const { headers } = await reading(service, newWallet(service))
    const before = service.world.feed?.taken() ?? 0
    const stream = await read(service, headers)
    expect(service.world.feed?.taken()).toBe(before + 1)
    await stream.leave()
    expect(service.world.feed?.taken()).toBe(before)
    expect((await service.call('/events', { method: 'HEAD', headers })).status).toBe(200)
    expect(service.world.feed?.taken()).toBe(before)
  })

  it('cost one statement a poll for 1,000 that follow, and none without any', async () => {
    const feed = service.world.walletFeed as WalletFeed
    const listeners: { walletAddress: string; sessionId: string }[] = []
    for (let at = 0; at < 500; at++) {
      const walletAddress = newAddress(at)
      listeners.push({ walletAddress, sessionId: await addSession(service, walletAddress) })
    }
    const leave: (() => void)[] = []
    let started = 0
    let ended = 0
    for (const { walletAddress, sessionId } of [...listeners, ...listeners])
      leave.push(
        feed.subscribe({
          walletAddress,
          credential: { kind: 'session', sessionId },
          position: undefined,
          next: () => started++,
          heartbeat: () => {},
          close: () => ended++,
        }),
      )
    while (started < 1_000) await timer(1)
    const before = service.statements.length
    await service.polled(5)
    // Where tables are distributed, one for each of 8 groups of shards, and one for the transactions that write.
    const perPoll = service.world.distribution === undefined ? 1 : 9
    expect(service.statements.length - before).toBeLessThanOrEqual(6 * perPoll)
    expect(ended).toBe(0)
    for (const one of leave) one()
    const silence = async () => {
      const [known] = [service.statements.length]
      for (let turn = 0; turn < 20; turn++) await timer(POLL_MS)
      return service.statements.length - known
    }
    await silence()
    expect(await silence()).toBe(0)
  })
})

/** A session as a row alone. Resolves to its id. */
async function addSession({ world }: Service, walletAddress: string): Promise<string> {
  const id = `ses_${crypto.randomUUID()}`
  const shard = shardSql(walletAddress)
  const [grant] = await rows<{ id: string }>(
    world.db,
    sql`INSERT INTO signed_actions (wallet_address, shard, action, message, message_hash, signature, public_key, accepted_at)
      VALUES (${walletAddress}, ${shard}, 'create_session', '{}', '', '', '', '2026-01-01Z') RETURNING id::text AS id`,
  )
  await rows(
    world.db,
    sql`INSERT INTO sessions (id, secret_hash, wallet_address, shard, grant_id, created_at, expires_at, mac)
      VALUES (${id}, ${id}::text::bytea, ${walletAddress}, ${shard}, ${grant?.id}::bigint, '2026-01-01Z', '2099-01-01Z', '')`,
  )
  return id
}

const newAddress = (at: number) => `ST${String(at).padStart(38, '0')}`

describe('The events of a wallet whose transactions commit in another order than their ids', () => {
  let service: Streaming
  let client: postgres.Sql
  beforeAll(async () => {
    service = await start('Postgres')
    client = postgres(service.databaseUrl, { max: 8, onnotice: () => {} })
  })
  afterAll(async () => {
    await client.end()
    await service.close()
  })

  /** Writes an event for an order in a transaction of its own that is held open. */
  async function hold(uuid: string, shard: number, status: string, end: 'COMMIT' | 'ROLLBACK') {
    const connection = await client.reserve()
    await connection`BEGIN`
    await connection`INSERT INTO order_events (order_uuid, shard, status, at) VALUES (${uuid}, ${shard}, ${status}, now())`
    return async () => {
      await connection.unsafe(end)
      connection.release()
    }
  }

  it('wait for the one that has the lower id, and miss none', async () => {
    const wallet = newWallet(service)
    const shard = walletShard(wallet.address)
    const [first, second] = [await createOrder(service, wallet), await createOrder(service, wallet)]
    const { headers } = await reading(service, wallet)
    const stream = await read(service, headers)
    await stream.next(1)
    const commitLate = await hold(first, shard, 'executing', 'COMMIT')
    await cancel(service, wallet, second)
    await service.polled(12)
    expect(stream.events()).toHaveLength(1)
    await commitLate()
    const events = await stream.next(3)
    expect(events.map(told)).toEqual(['start', `${first} executing`, `${second} cancelled`])
    const again = await (await read(service, headers, events[0]?.id)).next(2)
    expect(again.map(told)).toEqual(events.slice(1).map(told))
  })

  it('do not wait for one that rolls back, nor at the start', async () => {
    const wallet = newWallet(service)
    const shard = walletShard(wallet.address)
    const uuid = await createOrder(service, wallet)
    const { headers } = await reading(service, wallet)
    const rollBack = await hold(uuid, shard, 'executing', 'ROLLBACK')
    const stream = await read(service, headers)
    await service.polled(6)
    expect(stream.events()).toHaveLength(0)
    await rollBack()
    await stream.next(1)
    const other = await createOrder(service, wallet)
    expect((await stream.next(2)).map(told)).toEqual(['start', `${other} open`])
  })

  it('are all delivered once to readers that are cut off at random, of 6 writers in no order', async () => {
    const wallet = newWallet(service)
    const shard = walletShard(wallet.address)
    const uuid = await createOrder(service, wallet)
    const { headers } = await reading(service, wallet)
    const EVENTS_EACH = 40
    const WRITERS = 6
    let seed = 7
    const random = () => {
      seed = (seed * 1_103_515_245 + 12_345) % 2 ** 31
      return seed / 2 ** 31
    }
    const begun = await read(service, headers)
    const [from] = await begun.next(1)
    await begun.leave()
    const committed: number[] = []
    const writer = async () => {
      for (let at = 0; at < EVENTS_EACH; at++) {
        const end = random() < 0.2 ? 'ROLLBACK' : 'COMMIT'
        const connection = await client.reserve()
        await connection`BEGIN`
        const [row] =
          await connection`INSERT INTO order_events (order_uuid, shard, status, at) VALUES (${uuid}, ${shard}, 'open', now()) RETURNING id::int AS id`
        await timer(random() * 12)
        await connection.unsafe(end)
        connection.release()
        if (end === 'COMMIT') committed.push(row?.id)
      }
    }
    const reader = async (isDone: () => boolean) => {
      const ids: number[] = []
      let after = from?.id
      while (!isDone() || ids.length < committed.length) {
        const stream = await read(service, headers, after)
        const wanted = Math.min(1 + Math.floor(random() * 9), committed.length - ids.length || 1)
        const events = await Promise.race([
          stream.next(wanted),
          isDone() && ids.length >= committed.length ? [] : new Promise<never>(() => {}),
        ])
        for (const { id } of events) ids.push(Number(id.split('-')[0]))
        after = events.at(-1)?.id ?? after
        await stream.leave()
        if (ids.length >= committed.length && isDone()) break
      }
      return ids
    }
    let isDone = false
    const writing = Promise.all(Array.from({ length: WRITERS }, writer)).then(() => {
      isDone = true
    })
    const readers = [1, 2].map(() => reader(() => isDone))
    await writing
    const last = await createOrder(service, wallet) // Wakes readers that have everything.
    expect(last).toBeDefined()
    const [lastId] =
      await client`SELECT max(id)::int AS id FROM order_events WHERE order_uuid = ${last}`
    const expected = [...committed].sort((a, b) => a - b)
    for (const ids of await Promise.all(readers))
      expect(ids.filter((id) => id !== lastId?.id)).toEqual(expected)
  })
})

it('on Workers there are none, and clients are told to read again', async () => {
  const service = await startService('workerd')
  try {
    const wallet = newWallet(service)
    const session = await openSession(service, wallet)
    const headers = { Authorization: `Bearer ${session}` }
    for (const path of ['/events', '/stream'])
      await refused(await service.call(path, { headers }), 'eventsUnsupported')
  } finally {
    await service.close()
  }
})
