import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

const ROUNDS = Number(process.env.RACE_ROUNDS ?? 3)
const CALLERS = 24

describe('of many at once, on Postgres, through two services with 24 connections each,', () => {
  let one: Service
  let other: Service
  let wallet: Wallet
  beforeAll(async () => {
    one = await startService('Postgres', { maxConnections: CALLERS, env: GENEROUS })
    other = await startService('Postgres', {
      maxConnections: CALLERS,
      databaseUrl: one.databaseUrl,
      env: { ...GENEROUS, ...secretsOf(one) },
    })
    wallet = newWallet(one)
    await fund(one, wallet)
  })
  afterAll(async () => {
    await Promise.all([one.close(), other.close()])
  })

  async function race(call: (service: Service, caller: number) => Promise<Response>) {
    return Promise.all(
      Array.from({ length: CALLERS }, async (_, caller) => {
        const response = await call(caller % 2 === 0 ? one : other, caller)
        return { status: response.status, body: (await response.json()) as Record<string, unknown> }
      }),
    )
  }
  const codes = (answers: { status: number; body: Record<string, unknown> }[]) =>
    Object.fromEntries(
      [...Map.groupBy(answers, ({ status, body }) => body.code ?? status)].map(([code, those]) => [
        code,
        those.length,
      ]),
    )
  const limited = (perDay: string, more: object = {}) =>
    createKey(one, wallet, { maxAmountIn: { [INPUT_TOKEN]: { perDay } }, ...more })
  const place = (service: Service, apiKey: string, amountIn: string, more: object = {}) =>
    service.call('/orders/new', json(wallet.order({ amountIn, ...more }), { 'X-API-Key': apiKey }))
  const cancel = (service: Service, apiKey: string, uuid: string) =>
    service.call(`/orders/${uuid}/cancel`, { method: 'PATCH', headers: { 'X-API-Key': apiKey } })
  const reserved = async (keyId: string) =>
    rows<{ spent: string; reserved: string }>(
      one.world.db,
      sql`SELECT (SELECT coalesce(sum(amount), 0)::text FROM key_spending WHERE key_id = ${keyId}) AS spent,
        (SELECT coalesce(sum(amount), 0)::text FROM key_reservations WHERE key_id = ${keyId}) AS reserved`,
    )

  it.each(rounds())("a day's amount is reserved exactly (round %i)", async () => {
    const { apiKey, keyId } = await limited('1000')
    const answers = await race((service) => place(service, apiKey, '100'))
    expect(codes(answers)).toEqual({ 201: 10, KEY_LIMIT_EXCEEDED: CALLERS - 10 })
    expect(await reserved(keyId)).toEqual([{ spent: '1000', reserved: '1000' }])
  })

  it.each(rounds())('one order takes its amount once (round %i)', async () => {
    const { apiKey, keyId } = await limited('1000')
    const order = wallet.order({ amountIn: '600' })
    const answers = await race((service) =>
      service.call('/orders/new', json(order, { 'X-API-Key': apiKey })),
    )
    expect(codes(answers)).toEqual({ 201: 1, 200: CALLERS - 1 })
    expect(await reserved(keyId)).toEqual([{ spent: '600', reserved: '600' }])
  })

  it.each(rounds())('what orders give back is given back once (round %i)', async () => {
    const { apiKey, keyId } = await limited('1000')
    const placed = await race((service) => place(service, apiKey, '100'))
    const uuids = placed
      .filter(({ status }) => status === 201)
      .map(({ body }) => (body.data as { uuid: string }).uuid)
    await Promise.all(uuids.slice(0, 5).map((uuid) => cancel(one, apiKey, uuid)))
    const answers = await race((service) => place(service, apiKey, '100'))
    expect(codes(answers)).toEqual({ 201: 5, KEY_LIMIT_EXCEEDED: CALLERS - 5 })
    expect(await reserved(keyId)).toEqual([{ spent: '1000', reserved: '1000' }])
  })

  it.each(rounds())('orders placed and cancelled never exceed a day (round %i)', async () => {
    const { apiKey, keyId } = await limited('1000')
    await race(async (service) => {
      const response = await place(service, apiKey, '300')
      if (response.status !== 201) return response
      const { data } = (await response.clone().json()) as { data: { uuid: string } }
      return cancel(service, apiKey, data.uuid)
    })
    const answers = await race((service) => place(service, apiKey, '300'))
    expect(codes(answers)).toEqual({ 201: 3, KEY_LIMIT_EXCEEDED: CALLERS - 3 })
    const [open] = await rows<{ amount: string }>(
      one.world.db,
      sql`SELECT sum(amount_in)::text AS amount FROM orders WHERE created_by = ${keyId} AND status = 'open'`,
    )
    expect(open).toEqual({ amount: '900' })
  })

  it.each(rounds())('executes of orders made elsewhere keep to the day (round %i)', async () => {
    const { apiKey } = await limited('3000')
    const uuids = await Promise.all(
      Array.from({ length: 6 }, () => createOrder(one, wallet, { amountIn: '1000' })),
    )
    const answers = await race((service, caller) =>
      service.call(`/orders/${uuids[caller % 6]}/execute`, {
        method: 'POST',
        headers: { 'X-API-Key': apiKey },
      }),
    )
    expect(answers.filter(({ status }) => status < 300).length).toBeLessThanOrEqual(3)
    const [moved] = await rows<{ orders: number }>(
      one.world.db,
      sql`SELECT count(*)::int AS orders FROM orders WHERE uuid = ANY (${`{${uuids.join(',')}}`}::text::text[])
        AND status <> 'open'`,
    )
    expect(moved?.orders).toBe(3)
  })

  it.each(
    rounds(),
  )('of two keys that execute one order, it takes from the day of the one that did (round %i)', async () => {
    const keys = [await limited('1000'), await limited('1000')] as const
    const uuid = await createOrder(one, wallet, { amountIn: '1000' })
    const answers = await race((service, caller) =>
      service.call(`/orders/${uuid}/execute`, {
        method: 'POST',
        headers: { 'X-API-Key': keys[caller % 2 === 0 ? 0 : 1].apiKey },
      }),
    )
    expect(answers.filter(({ status }) => status < 300)).toHaveLength(1)
    const taken = await Promise.all(keys.map(({ keyId }) => reserved(keyId)))
    expect(
      taken
        .flat()
        .map(({ spent, reserved }) => `${spent} ${reserved}`)
        .sort(),
    ).toEqual(['0 0', '1000 1000'])
  })

  const unended = async (keyId: string) =>
    rows<{ orders: number }>(
      one.world.db,
      sql`SELECT count(*)::int AS orders FROM orders WHERE created_by = ${keyId} AND status = 'open'`,
    )

  it.each(rounds())('a key creates as many open orders as it may have (round %i)', async () => {
    const { apiKey, keyId } = await createKey(one, wallet, { maxOpenOrders: 7 })
    const answers = await race((service) => place(service, apiKey, '100'))
    expect(codes(answers)).toEqual({ 201: 7, KEY_LIMIT_EXCEEDED: CALLERS - 7 })
    expect(await unended(keyId)).toEqual([{ orders: 7 }])
  })

  it.each(rounds())('a cancelled open order makes room for one (round %i)', async () => {
    const { apiKey, keyId } = await createKey(one, wallet, { maxOpenOrders: 7 })
    const placed = await race((service) => place(service, apiKey, '100'))
    const uuids = placed
      .filter(({ status }) => status === 201)
      .map(({ body }) => (body.data as { uuid: string }).uuid)
    await Promise.all(uuids.slice(0, 3).map((uuid) => cancel(one, apiKey, uuid)))
    const answers = await race((service) => place(service, apiKey, '100'))
    expect(codes(answers)).toEqual({ 201: 3, KEY_LIMIT_EXCEEDED: CALLERS - 3 })
    expect(await unended(keyId)).toEqual([{ orders: 7 }])
  })

  it.each(
    rounds(),
  )('open orders that are created and cancelled never exceed the limit (round %i)', async () => {
    const { apiKey, keyId } = await createKey(one, wallet, { maxOpenOrders: 4 })
    const seen: number[] = []
    await race(async (service) => {
      const response = await place(service, apiKey, '100')
      seen.push((await unended(keyId))[0]?.orders ?? 0)
      if (response.status !== 201) return response
      const { data } = (await response.clone().json()) as { data: { uuid: string } }
      return cancel(service, apiKey, data.uuid)
    })
    expect(Math.max(...seen)).toBeLessThanOrEqual(4)
    const answers = await race((service) => place(service, apiKey, '100'))
    expect(codes(answers)).toEqual({ 201: 4, KEY_LIMIT_EXCEEDED: CALLERS - 4 })
  })

  it.each(
    rounds(),
  )('open orders and the amounts of a day are exact together (round %i)', async () => {
    const { apiKey, keyId } = await limited('1000', { maxOpenOrders: 5 })
    const answers = await race((service) => place(service, apiKey, '300'))
    expect(codes(answers)).toEqual({ 201: 3, KEY_LIMIT_EXCEEDED: CALLERS - 3 })
    expect(await reserved(keyId)).toEqual([{ spent: '900', reserved: '900' }])
    expect(await unended(keyId)).toEqual([{ orders: 3 }])
  })

  it.each(rounds())('one open order sent many times counts once (round %i)', async () => {
    const { apiKey, keyId } = await createKey(one, wallet, { maxOpenOrders: 1 })
    const order = wallet.order({ amountIn: '600' })
    const answers = await race((service) =>
      service.call('/orders/new', json(order, { 'X-API-Key': apiKey })),
    )
    expect(codes(answers)).toEqual({ 201: 1, 200: CALLERS - 1 })
    expect(await unended(keyId)).toEqual([{ orders: 1 }])
  })

  it.each(rounds())('two secrets of a rotated key have one quota (round %i)', async () => {
    const owner = newWallet(one)
    const { apiKey, keyId } = await createKey(one, owner, { rateLimit: 20 })
    const rotation = owner.sign({ action: 'rotate_api_key', keyId, graceSeconds: 600 })
    const rotated = await one.call(`/api-keys/${keyId}/rotate`, json(rotation))
    const secrets = [apiKey, ((await rotated.json()) as { apiKey: string }).apiKey]
    const minute = Math.floor(one.clock.now / 60_000)
    const answers = await race((service, caller) =>
      service.call('/orders', {
        headers: { 'X-API-Key': secrets[caller % 3 === 0 ? 0 : 1] ?? '' },
      }),
    )
    expect(codes(answers)).toEqual({ 200: 20, RATE_LIMIT_EXCEEDED: CALLERS - 20 })
    const [row] = await rows(
      one.world.db,
      sql`SELECT minute_count, minute_window::int, total_requests::int FROM key_counters WHERE key_id = ${keyId}`,
    )
    expect(row).toEqual({ minute_count: 20, minute_window: minute, total_requests: 20 })
  })

  it.each(rounds())('rotations leave a key two secrets and no third (round %i)', async () => {
    const owner = newWallet(one)
    const { apiKey, keyId } = await createKey(one, owner)
    const answers = await race((service, caller) => {
      const timestamp = one.clock.now - caller
      const members = {
        action: 'rotate_api_key',
        keyId,
        graceSeconds: 86_400,
        force: true,
        timestamp,
      }
      return service.call(`/api-keys/${keyId}/rotate`, json(owner.sign(members)))
    })
    expect(codes(answers)).toEqual({ 200: CALLERS })
    const secrets = [apiKey, ...answers.map(({ body }) => String(body.apiKey))]
    const used = await Promise.all(
      secrets.map((secret) => one.call('/orders', { headers: { 'X-API-Key': secret } })),
    )
    expect(used.filter(({ status }) => status === 200)).toHaveLength(2)
    expect(used.filter(({ status }) => status === 401)).toHaveLength(CALLERS - 1)
  })

  it.each(rounds())('of rotations that force nothing one succeeds (round %i)', async () => {
    const owner = newWallet(one)
    const { apiKey, keyId } = await createKey(one, owner)
    const answers = await race((service, caller) => {
      const timestamp = one.clock.now - caller
      const members = { action: 'rotate_api_key', keyId, graceSeconds: 86_400, timestamp }
      return service.call(`/api-keys/${keyId}/rotate`, json(owner.sign(members)))
    })
    expect(codes(answers)).toEqual({ 200: 1, ROTATION_IN_GRACE: CALLERS - 1 })
    const rotated = answers.find(({ status }) => status === 200)
    for (const secret of [apiKey, String(rotated?.body.apiKey)])
      expect((await one.call('/orders', { headers: { 'X-API-Key': secret } })).status).toBe(200)
  })

  it.each(
    rounds(),
  )('changes of one key leave a sealed key and an unbroken chain (round %i)', async () => {
    const owner = newWallet(one)
    const { apiKey, keyId } = await createKey(one, owner)
    const verbs = ['suspend', 'resume'] as const
    const answers = await race((service, caller) => {
      const verb = verbs[caller % 2] ?? 'suspend'
      const timestamp = one.clock.now - caller
      const body = owner.sign({ action: `${verb}_api_key`, keyId, timestamp })
      return service.call(`/api-keys/${keyId}/${verb}`, json(body))
    })
    expect(codes(answers)).toEqual({ 200: CALLERS })
    const chain = await rows<{ sequence: number }>(
      one.world.db,
      sql`SELECT sequence::int FROM audit_events WHERE wallet_address = ${owner.address} ORDER BY 1`,
    )
    expect(chain.map(({ sequence }) => sequence)).toEqual(
      Array.from({ length: CALLERS + 1 }, (_, at) => at + 1),
    )
    const used = await one.call('/orders', { headers: { 'X-API-Key': apiKey } })
    const { details } = (await used.json()) as { details?: { reason: string } }
    expect(['suspended', undefined]).toContain(details?.reason)
  })

  it.each(
    rounds(),
  )('revoke-all leaves no live key, whoever creates meanwhile (round %i)', async () => {
    const owner = newWallet(one)
    await Promise.all([createKey(one, owner), createKey(other, owner)])
    const answers = await race((service, caller) =>
      caller === 0
        ? service.call(
            '/api-keys/revoke-all',
            json(owner.sign({ action: 'revoke_all_api_keys', cancelOpenOrders: true })),
          )
        : service.call(
            '/api-keys',
            json(
              owner.sign({ action: 'create_api_key', keyName: `bot ${caller}`, permissions: [] }),
            ),
          ),
    )
    const revoked = answers[0]?.body.keyIds as string[]
    const [keys] = await rows<{ live: number; revoked: number }>(
      one.world.db,
      sql`SELECT count(*) FILTER (WHERE revoked_at IS NULL)::int AS live,
          count(*) FILTER (WHERE revoked_at IS NOT NULL)::int AS revoked
        FROM api_keys WHERE wallet_address = ${owner.address}`,
    )
    expect(keys?.revoked).toBe(revoked.length)
    expect(keys?.live).toBeLessThanOrEqual(one.world.config.MAX_ACTIVE_KEYS_PER_WALLET)
  })
})

const GENEROUS = {
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '1000000',
  RATE_LIMIT_PER_DAY: '1000000',
  MAX_ACTIVE_KEYS_PER_WALLET: '1000',
}

function rounds(): number[] {
  return Array.from({ length: ROUNDS }, (_, round) => round + 1)
}
