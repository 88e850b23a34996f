import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { freshDatabase } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'

const HOUR = 3_600_000
const DAY = 24 * HOUR

describe.each([
  ['a day ahead', DAY],
  ['a day behind', -DAY],
])('beside a process whose clock is %s', (_, skew) => {
  let skewed: ServiceProcess
  let right: ServiceProcess
  let admin: postgres.Sql
  beforeAll(async () => {
    const chain = { devnetUrl: inject('devnetUrl') }
    const databaseUrl = await freshDatabase('Postgres')
    const env = sharedEnv(databaseUrl, chain)
    const start = async () =>
      startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
    ;[skewed, right] = await Promise.all([start(), start()])
    admin = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    await skewed.setClock(Date.now() + skew)
  })
  afterAll(async () => {
    await Promise.all([skewed.stop(), right.stop(), admin.end()])
  })

  const use = async (process: ServiceProcess, apiKey: string) =>
    (await process.ask(`/orders/${randomUUID()}/execute`, { method: 'POST', key: apiKey }))?.status
  const iso = (ms: number) => new Date(Date.now() + ms).toISOString()
  /** Signs by a clock that is right. */
  const ownerOf = (process: ServiceProcess) =>
    newWallet({ ...process, clock: right.clock } as ServiceProcess)
  const place = async (process: ServiceProcess, more: object = {}) => {
    const wallet = ownerOf(process)
    const order = wallet.order(more)
    const response = await process.call('/orders/new', json(order))
    return { status: response.status, uuid: order.uuid, wallet }
  }
  const statusOf = async (process: ServiceProcess, uuid: string) =>
    ((await (await process.call(`/orders/${uuid}`)).json()) as { data: { status: string } }).data
      .status

  it('the limit of a key is exact across both, and its windows are of Postgres', async () => {
    const { apiKey, keyId } = await createKey(right, ownerOf(right), { rateLimit: 20 })
    const statuses = await Promise.all(
      Array.from({ length: 60 }, (_, at) => use(at % 2 === 0 ? skewed : right, apiKey)),
    )
    const admitted = statuses.filter((status) => status === 404).length
    const [row] = await admin`SELECT minute_window::float8 AS minute, day_window::float8 AS day,
      floor(extract(epoch FROM clock_timestamp()) / 60)::float8 AS now FROM key_counters WHERE key_id = ${keyId}`
    // A minute may have begun meanwhile.
    expect([20, 40]).toContain(admitted)
    expect(row?.now - row?.minute).toBeLessThanOrEqual(1)
    expect(row?.day).toBe(Math.floor(Date.now() / DAY))
  })

  it('a window that an earlier release wrote a day ahead does not close a key, nor open it', async () => {
    const { apiKey, keyId } = await createKey(right, ownerOf(right), { rateLimit: 10 })
    await admin`UPDATE key_counters SET minute_window = minute_window + 1440, minute_count = 10,
      hour_window = hour_window + 24, hour_count = 1000000 WHERE key_id = ${keyId}`
    expect(await use(right, apiKey)).toBe(404)
    const [row] =
      await admin`SELECT minute_count, hour_count FROM key_counters WHERE key_id = ${keyId}`
    expect(row).toEqual({ minute_count: 1, hour_count: 1 })
  })

  it('a key that expires in an hour, or did an hour ago, is so to both', async () => {
    const { apiKey, keyId } = await createKey(right, ownerOf(right), { expiresAt: iso(HOUR) })
    expect([await use(skewed, apiKey), await use(right, apiKey)]).toEqual([404, 404])
    const made = await skewed.call(
      '/api-keys',
      json(
        ownerOf(skewed).sign({
          action: 'create_api_key',
          keyName: 'late',
          permissions: [],
          expiresAt: iso(-HOUR),
        }),
      ),
    )
    expect(made.status).toBe(400)
    expect(keyId).toBeDefined()
  })

  it('a message is fresh for as long as it is to the other, and no longer', async () => {
    const owner = ownerOf(skewed)
    const create = (timestamp: number) =>
      skewed.call(
        '/api-keys',
        json(
          owner.sign({
            action: 'create_api_key',
            keyName: `at ${timestamp}`,
            permissions: [],
            timestamp,
          }),
        ),
      )
    expect((await create(Date.now())).status).toBe(201)
    expect((await create(Date.now() + skew)).status).toBe(401)
  })

  it('the grace of a rotation and a session last as long as was signed', async () => {
    const owner = ownerOf(skewed)
    const { apiKey, keyId } = await createKey(skewed, owner)
    const rotation = owner.sign({ action: 'rotate_api_key', keyId, graceSeconds: 600 })
    const rotated = await skewed.call(`/api-keys/${keyId}/rotate`, json(rotation))
    const { previousUntil } = (await rotated.json()) as { previousUntil: string }
    expect(Math.abs(Date.parse(previousUntil) - Date.now() - 600_000)).toBeLessThan(60_000)
    expect([await use(skewed, apiKey), await use(right, apiKey)]).toEqual([404, 404])
    const opened = await skewed.call(
      '/sessions',
      json(owner.sign({ action: 'create_session', ttlSeconds: 600 })),
    )
    const { session } = (await opened.json()) as { session: string }
    for (const process of [skewed, right]) {
      const listed = await process.call('/api-keys', {
        headers: { Authorization: `Bearer ${session}` },
      })
      expect(listed.status).toBe(200)
    }
  })

  it('an order that ends in an hour is open to both, and stays so while both reconcile', async () => {
    const open = await place(skewed, { validTo: iso(HOUR) })
    const over = await place(skewed, { validTo: iso(-HOUR) })
    expect([open.status, over.status]).toEqual([201, 201])
    expect(await statusOf(skewed, over.uuid)).toBe('expired')
    // Several passes of the reconciler of each process.
    for (const until = performance.now() + 5_000; performance.now() < until; )
      expect(await statusOf(skewed, open.uuid)).toBe('open')
    expect(await statusOf(right, open.uuid)).toBe('open')
    const cancelled = await skewed.call(`/orders/${open.uuid}/cancel`, {
      ...json(open.wallet.sign({ action: 'cancel_order', uuid: open.uuid })),
      method: 'PATCH',
    })
    expect(cancelled.status).toBe(200)
  })

  it('an amount of a day is of the day of Postgres', async () => {
    const owner = ownerOf(skewed)
    const { inputToken } = owner.order()
    const { apiKey, keyId } = await createKey(right, owner, {
      maxAmountIn: { [inputToken]: { perDay: '1000' } },
    })
    const order = json(owner.order({ amountIn: '900' }), { 'X-API-Key': apiKey })
    expect((await skewed.call('/orders/new', order)).status).toBe(201)
    const more = json(owner.order({ amountIn: '900' }), { 'X-API-Key': apiKey })
    expect((await right.call('/orders/new', more)).status).toBe(403)
    const days = await admin`SELECT day FROM key_reservations WHERE key_id = ${keyId}`
    expect(days.map(({ day }) => Number(day))).toEqual([Math.floor(Date.now() / DAY)])
  })

  it('that process says so in /ready and in its log, and the other does not', async () => {
    const clockOf = async (process: ServiceProcess) =>
      ((await (await process.call('/ready')).json()) as { clock: object }).clock
    const { aheadMs, differs } = (await clockOf(skewed)) as { aheadMs: number; differs: boolean }
    expect(differs).toBe(true)
    expect(Math.sign(aheadMs)).toBe(Math.sign(skew))
    expect(Math.abs(aheadMs)).toBeGreaterThan(23 * HOUR)
    expect(await clockOf(right)).toMatchObject({ differs: false })
    expect(skewed.output()).toContain('"clock_differs"')
    expect(right.output()).not.toContain('"clock_differs"')
  })
})
