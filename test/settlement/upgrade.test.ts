import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { answered, refused } from '../support/assertions.ts'
import { databaseAt } from '../support/old-database.ts'
import { secretsOf } from '../support/service.ts'
import { createOrder, json } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const SUBMIT = '/v2/transactions'
/** The last migration of the release without MACs on orders. */
const RELEASE_0_1_0 = 4
/** Tables with what an order consists of, each after those that it refers to. */
const TABLES = [
  'wallets',
  'signed_actions',
  'api_keys',
  'operators',
  'orders',
  'order_events',
  'transactions',
]

describe('the orders of a release without MACs, after an upgrade', () => {
  let chain: OwnChain
  let service: Settling
  let uuids: Record<'open' | 'cancelled' | 'failed' | 'confirmed' | 'broadcasted', string>
  beforeAll(async () => {
    chain = await startOwnChain()
    const before = await startSettling(chain, { engine: 'Postgres' })
    const order = () => createOrder(before, before.wallet)
    uuids = {
      open: await order(),
      cancelled: await order(),
      failed: await order(),
      confirmed: await order(),
      broadcasted: await order(),
    }
    const { cancelled, failed, confirmed, broadcasted } = uuids
    await answered(
      await before.call(`/orders/${cancelled}/cancel`, {
        method: 'PATCH',
        headers: { 'X-API-Key': before.apiKey },
      }),
    )
    await chain.plan({ on: SUBMIT, do: 'abort', as: 'abort_by_post_condition', times: 1 })
    await before.execute(failed)
    await chain.blockTime(null)
    await before.until(failed, 'failed')
    await chain.blockTime(0)
    await before.execute(confirmed)
    await before.until(confirmed, 'confirmed')
    await chain.blockTime(null)
    await before.execute(broadcasted)

    const old = await databaseAt(RELEASE_0_1_0)
    await copy(before.databaseUrl, old.client)
    await old.client.end()
    service = {
      ...before,
      ...(await startSettling(chain, {
        engine: 'Postgres',
        databaseUrl: old.databaseUrl,
        env: {
          ...secretsOf(before),
          OPERATOR_PRIVATE_KEY: '',
          OPERATOR_PRIVATE_KEYS: before.world.operators.all
            .map(({ privateKey }) => privateKey)
            .join(','),
        },
      })),
      wallet: before.wallet,
      apiKey: before.apiKey,
    }
    await before.close()
    await chain.blockTime(0)
  })
  afterAll(async () => {
    await service.close()
    await chain.stop()
  })

  /** Copies what the older tables have columns for. */
  async function copy(databaseUrl: string, to: postgres.Sql): Promise<void> {
    const from = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    for (const table of TABLES) {
      const columns = await to<{ name: string }[]>`SELECT column_name AS name
        FROM information_schema.columns WHERE table_name = ${table} AND table_schema = 'public'`
      const names = columns.map(({ name }) => name)
      const [found] = await from<
        { rows: string | null }[]
      >`SELECT json_agg(${from(table)})::text AS rows
        FROM ${from(table)}`
      if (found?.rows == null) continue
      const list = names.map((name) => `"${name}"`).join(', ')
      await to.unsafe(
        `INSERT INTO "${table}" (${list}) SELECT ${list} FROM json_populate_recordset(NULL::"${table}", $1::text::json)`,
        [found.rows],
      )
      await to.unsafe(
        `SELECT setval(pg_get_serial_sequence('${table}', column_name), 1000000)
          FROM information_schema.columns WHERE table_name = '${table}' AND column_default LIKE 'nextval%'`,
      )
    }
    await from.end()
  }

  const sign = (members: object) =>
    service.wallet.sign({ timestamp: service.clock.now, ...members })

  it('that failed on chain are exposed until the service has burnt them', async () => {
    expect(await service.order(uuids.failed)).toMatchObject({
      status: 'failed',
      intentExposed: true,
      burn: 'requested',
    })
    for (let made = 0; made < 6; made++) await service.pass(20_000)
    expect(await service.order(uuids.failed)).toMatchObject({ status: 'failed', burn: 'mined' })
    expect(await service.order(uuids.failed)).not.toHaveProperty('intentExposed')
  })

  it('that were under way are followed to their end, and those that ended stay as they are', async () => {
    await service.until(uuids.broadcasted, 'confirmed')
    const confirmed = await service.order(uuids.confirmed)
    expect(confirmed).toMatchObject({ status: 'confirmed' })
    expect(confirmed).not.toHaveProperty('intentExposed')
    const cancelled = await service.order(uuids.cancelled)
    expect(cancelled).toMatchObject({ status: 'cancelled' })
    expect(cancelled).not.toHaveProperty('burn')
    await service.pass(86_400_000)
  })

  it('that are open are refused until their owner sends them again, and can be cancelled', async () => {
    const execute = { action: 'execute_order', uuid: uuids.open }
    const response = await service.call(`/orders/${uuids.open}/execute`, json(sign(execute)))
    await refused(response, 'orderTampered')
    const members = { action: 'cancel_order', uuid: uuids.open, onChain: true }
    await answered(
      await service.call(`/orders/${uuids.open}/cancel`, {
        ...json(sign(members)),
        method: 'PATCH',
      }),
    )
    for (let made = 0; made < 4; made++) await service.pass(20_000)
    expect(await service.order(uuids.open)).toMatchObject({ status: 'cancelled', burn: 'mined' })
  })
})
