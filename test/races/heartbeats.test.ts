import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { beforeAll, describe, expect, inject, it } from 'vitest'
import { watchKeys } from '../../src/alerts/watch.ts'
import { rows } from '../../src/db/database.ts'
import { STATEMENT_TIMEOUT_MS } from '../../src/db/session.ts'
import { walletShard } from '../../src/db/shard.ts'
import { SILENCE_MARGIN_MS } from '../../src/keys/watches.ts'
import { deadlocksOf } from '../support/deadlocks.ts'
import { fundedOperator, startProcess } from '../support/process.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

const ROUNDS = Number(process.env.RACE_ROUNDS ?? 3)
const SECONDS = 10
const KEYS = 24
const CONNECTIONS = 24

interface Bot {
  wallet: Wallet
  apiKey: string
  keyId: string
  uuids: string[]
}

describe('Silences of many keys, on Postgres, through two services with 24 connections each,', () => {
  let one: Service
  let other: Service
  beforeAll(async () => {
    one = await startService('Postgres', { maxConnections: CONNECTIONS, env: GENEROUS })
    other = await startService('Postgres', {
      maxConnections: CONNECTIONS,
      databaseUrl: one.databaseUrl,
      env: { ...GENEROUS, ...secretsOf(one) },
    })
  })
  const bots = (then: 'cancel' | 'suspend', wallets = KEYS) => {
    const owners = Array.from({ length: wallets }, () => newWallet(one))
    return Promise.all(
      Array.from({ length: KEYS }, async (_, at): Promise<Bot> => {
        const wallet = owners[at % wallets] as Wallet
        const heartbeat = { seconds: SECONDS, then }
        const key = await createKey(one, wallet, { permissions: ['create'], heartbeat })
        const orders = [wallet.order(), wallet.order()]
        for (const order of orders)
          await one.call('/orders/new', json(order, { 'X-API-Key': key.apiKey }))
        return { wallet, ...key, uuids: orders.map(({ uuid }) => uuid) }
      }),
    )
  }
  const beat = (service: Service, { apiKey }: Bot) =>
    service.call('/heartbeat', { method: 'POST', headers: { 'X-API-Key': apiKey } })
  const setClocks = (now: number) => {
    one.clock.now = now
    other.clock.now = now
  }
  const eventsOf = async ({ keyId }: Bot, event: string) =>
    rows<{ body: string }>(
      one.world.db,
      sql`SELECT body FROM audit_events WHERE key_id = ${keyId} AND body LIKE ${`%"event":"${event}"%`}`,
    )
  const openOf = async ({ uuids }: Bot) => {
    const list = `{${uuids.join(',')}}`
    const found = await rows<{ status: string }>(
      one.world.db,
      sql`SELECT status FROM orders WHERE uuid = ANY (${list}::text::text[])`,
    )
    return found.filter(({ status }) => status === 'open').length
  }
  const passes = () =>
    Promise.all(
      [one, other, one, other].map(async ({ world }) => {
        while (!(await watchKeys(world)));
      }),
    )

  it.each(
    rounds(),
  )('cancel once each what their keys left, whichever process looks (round %i)', async () => {
    const all = await bots('cancel', 6)
    setClocks(one.clock.now + SECONDS * 1000 + SILENCE_MARGIN_MS)
    await passes()
    for (const bot of all) {
      expect(await openOf(bot)).toBe(0)
      const events = await eventsOf(bot, 'cancel_open_orders')
      expect(events.map(({ body }) => JSON.parse(body).details.orders)).toEqual([2])
    }
  })

  it.each(
    rounds(),
  )('suspend each key once, and the request that comes meanwhile passes or is refused as suspended (round %i)', async () => {
    const all = await bots('suspend', 6)
    setClocks(one.clock.now + SECONDS * 1000 + SILENCE_MARGIN_MS)
    const [responses] = await Promise.all([
      Promise.all(all.map((bot, at) => beat(at % 2 === 0 ? one : other, bot))),
      passes(),
    ])
    // What the requests put off is suspended after the next silence.
    setClocks(one.clock.now + SECONDS * 1000 + SILENCE_MARGIN_MS)
    await passes()
    expect(responses.every(({ status }) => status === 200 || status === 401)).toBe(true)
    for (const bot of all) expect(await eventsOf(bot, 'suspend_api_key')).toHaveLength(1)
  })

  it.each(
    rounds(),
  )('never cancel what belongs to a key whose request was answered before (round %i)', async () => {
    const all = await bots('cancel')
    const deadline = one.clock.now + SECONDS * 1000
    setClocks(deadline - 1)
    const alive = all.filter((_, at) => at % 3 === 0)
    await Promise.all(alive.map((bot) => beat(one, bot)))
    setClocks(deadline + SILENCE_MARGIN_MS)
    // The others come at the very moment at which they are acted on.
    const [responses] = await Promise.all([
      Promise.all(
        all.map(async (bot) => (alive.includes(bot) ? 200 : (await beat(other, bot)).status)),
      ),
      passes(),
    ])
    expect(new Set(responses)).toEqual(new Set([200]))
    for (const bot of all) {
      const events = await eventsOf(bot, 'cancel_open_orders')
      expect(await openOf(bot)).toBe(events.length === 0 ? 2 : 0)
      expect(events.length).toBeLessThanOrEqual(alive.includes(bot) ? 0 : 1)
    }
  })

  it('wait for a request that came before the deadline and is not counted yet', async () => {
    const [bot] = (await bots('cancel')).slice(0, 1) as [Bot]
    const deadline = one.clock.now + SECONDS * 1000
    const session = postgres(one.databaseUrl, { max: 1 })
    const { promise: released, resolve: release } = Promise.withResolvers<void>()
    const { promise: held, resolve: hold } = Promise.withResolvers<void>()
    const holder = session.begin(async (tx) => {
      const shard = walletShard(bot.wallet.address)
      await tx`SELECT FROM key_counters WHERE key_id = ${bot.keyId} AND shard = ${shard} FOR NO KEY UPDATE`
      hold()
      await released
    })
    await held
    setClocks(deadline - 1)
    const request = beat(one, bot)
    await untilWaiting(1)
    // The statement of the gate began before the deadline, and has not the row yet: nothing acts within the margin.
    setClocks(deadline + SILENCE_MARGIN_MS - 1)
    await watchKeys(other.world)
    expect(await openOf(bot)).toBe(2)
    // Then the act waits for the row as well, and sees what was counted.
    setClocks(deadline + SILENCE_MARGIN_MS)
    const pass = watchKeys(other.world)
    release()
    await holder
    expect((await request).status).toBe(200)
    await pass
    expect(await openOf(bot)).toBe(2)
    expect(await eventsOf(bot, 'cancel_open_orders')).toEqual([])
    await session.end()
  })

  it('are acted on later than any statement that began before can run', () => {
    expect(SILENCE_MARGIN_MS).toBeGreaterThan(STATEMENT_TIMEOUT_MS)
  })

  it('never wait for each other', async () => {
    await Promise.all([one.close(), other.close()])
    expect(await deadlocksOf(one.databaseUrl)).toBe(0)
  })

  async function untilWaiting(count: number): Promise<void> {
    const outside = postgres(one.databaseUrl, { max: 1 })
    await expect
      .poll(
        async () =>
          (
            await outside`SELECT FROM pg_locks JOIN pg_stat_activity USING (pid)
              WHERE NOT granted AND datname = current_database()`
          ).length,
      )
      .toBeGreaterThanOrEqual(count)
    await outside.end()
  }
})

describe('A process that is killed while it acts on silences', { timeout: 120_000 }, () => {
  const POINTS = ['after:watches', 'after:silence', 'after:cancelled', 'before:told', 'after:told']

  it('leaves each to another one, which acts once', async () => {
    const service = await startService('Postgres')
    const client = postgres(service.databaseUrl, { max: 1 })
    const chain = { devnetUrl: inject('devnetUrl') }
    const env = {
      ...secretsOf(service),
      PORT: '0',
      DATABASE_URL: service.databaseUrl,
      STACKS_API_URL: chain.devnetUrl,
      QUOTE_URL: `${chain.devnetUrl}/quote`,
    }
    const wallet = newWallet(service)
    const keys: string[] = []
    for (const point of POINTS) {
      const heartbeat = { seconds: SECONDS, then: 'cancel' }
      const { apiKey, keyId } = await createKey(service, wallet, {
        permissions: ['create'],
        heartbeat,
      })
      await service.call('/orders/new', json(wallet.order(), { 'X-API-Key': apiKey }))
      await client`UPDATE key_counters SET last_used_at = now() - interval '1 hour' WHERE key_id = ${keyId}`
      await client`UPDATE key_watches SET armed_at = now() - interval '1 hour', due_at = now() WHERE key_id = ${keyId}`
      keys.push(keyId)
      const killed = await startProcess(
        { ...env, FAULT_POINT: point, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) },
        FAULTS,
      ).catch((error: Error) => error)
      if (!(killed instanceof Error))
        await expect.poll(() => killed.ended(), { timeout: 20_000 }).toBe('SIGKILL')
    }
    const successor = await startProcess({
      ...env,
      OPERATOR_PRIVATE_KEY: await fundedOperator(chain),
    })
    const cancelled = async () =>
      (await client`SELECT FROM orders WHERE created_by = ANY (${keys}) AND status = 'cancelled'`)
        .length
    await expect.poll(cancelled, { timeout: 60_000 }).toBe(POINTS.length)
    const events = await client`SELECT key_id, count(*)::int AS events FROM audit_events
      WHERE key_id = ANY (${keys}) AND body LIKE '%cancel_open_orders%' GROUP BY key_id`
    expect(events.map(({ events }) => events)).toEqual(POINTS.map(() => 1))
    await successor.stop()
    await client.end()
    await service.close()
  })
})

const FAULTS = new URL('../support/fault-point.ts', import.meta.url).href

const GENEROUS = {
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '1000000',
  RATE_LIMIT_PER_DAY: '1000000',
  MAX_ACTIVE_KEYS_PER_WALLET: '1000',
}

function rounds(): number[] {
  return Array.from({ length: ROUNDS }, (_, round) => round + 1)
}
