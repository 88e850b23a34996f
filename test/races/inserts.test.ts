import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import type { NewOrder } from '../../src/orders/order.ts'
import { deadlocksOf } from '../support/deadlocks.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

/** One round of each race in `npm test`; RACE_ROUNDS=50 repeats them all. */
const ROUNDS = Number(process.env.RACE_ROUNDS ?? 3)
const CALLERS = 24
const GENEROUS = {
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '1000000',
  RATE_LIMIT_PER_DAY: '1000000',
}

describe('orders that are inserted together, on Postgres, by two services with 24 connections each,', () => {
  let one: Service
  let other: Service
  let owner: Wallet
  beforeAll(async () => {
    one = await startService('Postgres', { maxConnections: CALLERS, env: GENEROUS })
    other = await startService('Postgres', {
      maxConnections: CALLERS,
      databaseUrl: one.databaseUrl,
      env: { ...GENEROUS, ...secretsOf(one) },
    })
    owner = newWallet(one)
  })
  afterAll(() => Promise.all([one.close(), other.close()]))

  async function send(service: Service, order: NewOrder, apiKey?: string) {
    const headers: Record<string, string> = apiKey === undefined ? {} : { 'X-API-Key': apiKey }
    const response = await service.call('/orders/new', json(order, headers))
    return { status: response.status, body: (await response.json()) as Record<string, unknown> }
  }
  const serviceOf = (at: number) => (at % 2 === 0 ? one : other)
  const countOf = (answers: { status: number }[], status: number) =>
    answers.filter((answer) => answer.status === status).length

  it.each(
    rounds(),
  )('one uuid is stored once, and its neighbours each once (round %i)', async () => {
    const same = owner.order()
    const conflicting = owner.order({ uuid: same.uuid, amountIn: '7' })
    const neighbours = Array.from({ length: CALLERS }, () => owner.order())
    const [repeated, conflicts, around] = await Promise.all([
      Promise.all(neighbours.map((_, at) => send(serviceOf(at), same))),
      Promise.all(neighbours.slice(0, 6).map((_, at) => send(serviceOf(at), conflicting))),
      Promise.all(neighbours.map((order, at) => send(serviceOf(at), order))),
    ])
    expect(countOf(around, 201)).toBe(CALLERS)
    // Either of the two orders of one uuid may come first. Its repetitions return it, and the other one is refused.
    const all = [...repeated, ...conflicts]
    const winner = all.find(({ status }) => status === 201)?.body.data
    expect(countOf(all, 201)).toBe(1)
    for (const { status, body } of all)
      if (status < 300) expect(body.data).toEqual(winner)
      else expect([status, body.code]).toEqual([409, 'ORDER_CONFLICT'])
    const isFirst = (winner as { amountIn: string }).amountIn === same.amountIn
    expect(countOf(all, 409)).toBe(isFirst ? conflicts.length : repeated.length)
    const [stored] = await rows<{ orders: number; events: number }>(
      one.world.db,
      sql`SELECT (SELECT count(*)::int FROM orders WHERE uuid = ${same.uuid}) AS orders,
        (SELECT count(*)::int FROM order_events WHERE order_uuid = ${same.uuid}) AS events`,
    )
    expect(stored).toEqual({ orders: 1, events: 1 })
  })

  it.each(
    rounds(),
  )('a wallet that is suspended meanwhile gets no order afterwards, and others get theirs (round %i)', async () => {
    const [suspended, free] = [newWallet(one), newWallet(one)]
    const sendAll = (wallet: Wallet) =>
      Promise.all(Array.from({ length: CALLERS }, (_, at) => send(serviceOf(at), wallet.order())))
    const early = sendAll(suspended)
    const around = sendAll(free)
    await rows(
      one.world.db,
      sql`INSERT INTO suspended_wallets (wallet_address, reason, suspended_at)
        VALUES (${suspended.address}, 'race', now())`,
    )
    const [late, after] = await Promise.all([sendAll(suspended), sendAll(free)])
    expect(countOf([...(await around), ...after], 201)).toBe(2 * CALLERS)
    for (const { status, body } of late)
      expect([status, body.code]).toEqual([403, 'WALLET_SUSPENDED'])
    const [stored] = await rows<{ orders: number }>(
      one.world.db,
      sql`SELECT count(*)::int AS orders FROM orders WHERE owner = ${suspended.address}`,
    )
    expect(countOf(await early, 201)).toBe(stored?.orders)
    expect(countOf(await early, 403)).toBe(CALLERS - (stored?.orders ?? 0))
  })

  it.each(rounds())('every key counts each order that it created once (round %i)', async () => {
    const wallet = newWallet(one)
    const keys = await Promise.all(Array.from({ length: 5 }, () => createKey(one, wallet)))
    const sent = keys.flatMap(({ apiKey }, key) =>
      Array.from({ length: 8 + key }, () => ({ apiKey, order: wallet.order() })),
    )
    // Each is sent to both services: one creates it, the other one finds it.
    const answers = await Promise.all(
      [...sent, ...sent.toReversed()].map(({ apiKey, order }, at) =>
        send(at < sent.length ? one : other, order, apiKey),
      ),
    )
    expect([countOf(answers, 201), countOf(answers, 200)]).toEqual([sent.length, sent.length])
    const counted = await rows<Record<string, unknown>>(
      one.world.db,
      sql`SELECT key_id AS id, creation_count::int AS created, successful_requests::int AS successes,
          total_requests::int AS total FROM key_counters`,
    )
    for (const [at, { keyId }] of keys.entries()) {
      const [created, all] = [8 + at, 2 * (8 + at)]
      expect(counted).toContainEqual({ id: keyId, created, successes: all, total: all })
    }
  })
})

it('two services that insert the same uuids in opposite orders do not wait for each other in a circle', async () => {
  const one = await startService('Postgres', { maxConnections: CALLERS, env: GENEROUS })
  const { databaseUrl } = one
  const env = { ...GENEROUS, ...secretsOf(one) }
  const other = await startService('Postgres', { maxConnections: CALLERS, databaseUrl, env })
  const owner = newWallet(one)
  const name = new URL(databaseUrl).pathname.slice(1)
  const client = postgres(databaseUrl, { max: 2, onnotice: () => {} })
  await one.call('/orders/new', json(owner.order()))
  for (let round = 0; round < ROUNDS; round++) {
    const sent = Array.from({ length: 60 }, () => owner.order())
    const middle = sent[sent.length / 2]?.uuid ?? ''
    // Both services reach the order in the middle while this transaction has it, each with half of the orders inserted.
    const { answers } = await client.begin(async (held) => {
      await held`INSERT INTO orders SELECT (jsonb_populate_record(orders,
        jsonb_build_object('uuid', ${middle}::text, 'sequence', -${round + 1}::int))).* FROM orders LIMIT 1`
      const answers = Promise.all([
        ...sent.map((order) => one.call('/orders/new', json(order))),
        ...sent.toReversed().map((order) => other.call('/orders/new', json(order))),
      ])
      const waiting = async () =>
        (
          await client`SELECT FROM pg_stat_activity WHERE datname = ${name} AND wait_event_type = 'Lock'`
        ).length
      await expect.poll(waiting, { timeout: 10_000 }).toBeGreaterThan(1)
      await held`DELETE FROM orders WHERE uuid = ${middle}`
      return { answers }
    })
    const statuses = (await answers).map(({ status }) => status).sort()
    expect(statuses).toEqual([...Array(60).fill(200), ...Array(60).fill(201)])
  }
  await client.end()
  await Promise.all([one.close(), other.close()])
  expect(await deadlocksOf(databaseUrl)).toBe(0)
})

function rounds(): number[] {
  return Array.from({ length: ROUNDS }, (_, round) => round + 1)
}
