import { sql } from 'drizzle-orm'
import { expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { deadlocksOf } from '../support/deadlocks.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { createKey, createOrder, fund, newWallet } from '../support/wallet.ts'

const CALLERS = 24
/** Orders of a wallet that are executed at once, and how many of them the bound lets through. */
const ORDERS = 5
const ALLOWED = 3
const WALLETS = 6
const ENV = {
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '1000000',
  RATE_LIMIT_PER_DAY: '1000000',
  MAX_SETTLING_PER_WALLET: String(ALLOWED),
}

it('of orders that are claimed together, by two services with 24 connections each, one that is refused takes none with it', async () => {
  const one = await startService('Postgres', { maxConnections: CALLERS, env: ENV })
  const { databaseUrl } = one
  const env = { ...ENV, ...secretsOf(one) }
  const other = await startService('Postgres', { maxConnections: CALLERS, databaseUrl, env })
  const owners = await Promise.all(
    Array.from({ length: WALLETS + 1 }, async () => {
      const wallet = newWallet(one)
      await fund(one, wallet)
      const { apiKey } = await createKey(one, wallet)
      const uuids = await Promise.all(
        Array.from({ length: ORDERS }, () => createOrder(one, wallet)),
      )
      return { wallet, apiKey, uuids }
    }),
  )
  const [suspended, ...bounded] = owners
  await rows(
    one.world.db,
    sql`INSERT INTO suspended_wallets VALUES (${suspended?.wallet.address}, 'race', now())`,
  )
  const execute = async (service: Service, uuid: string, apiKey: string) => {
    const init = { method: 'POST', headers: { 'X-API-Key': apiKey } }
    const response = await service.call(`/orders/${uuid}/execute`, init)
    const { code } = (await response.json()) as { code?: string }
    return code ?? response.status
  }
  // The wallets take turns, in the opposite direction in each service.
  const sent = Array.from({ length: ORDERS }, (_, at) =>
    owners.map(({ apiKey, uuids }) => ({ apiKey, uuid: uuids[at] ?? '' })),
  ).flat()
  const half = Math.ceil(sent.length / 2)
  const answers = new Map<string, unknown>()
  const send = (service: Service, some: typeof sent) =>
    Promise.all(
      some.map(async ({ uuid, apiKey }) => {
        answers.set(uuid, await execute(service, uuid, apiKey))
      }),
    )
  await Promise.all([send(one, sent.slice(0, half)), send(other, sent.slice(half).toReversed())])

  const together = [one, other].map(({ statements }) =>
    statements.filter((text) => text.includes('INTO wallets') && text.includes('unnest')),
  )
  expect(together.every((found) => found.length > 0)).toBe(true)
  expect(suspended?.uuids.map((uuid) => answers.get(uuid))).toEqual(
    Array(ORDERS).fill('WALLET_SUSPENDED'),
  )
  for (const { uuids } of bounded)
    expect(uuids.map((uuid) => answers.get(uuid)).sort()).toEqual([
      ...Array(ALLOWED).fill(200),
      ...Array(ORDERS - ALLOWED).fill('SETTLEMENT_LIMIT_EXCEEDED'),
    ])
  const claimed = await rows<{ uuid: string; status: string; nonce: number }>(
    one.world.db,
    sql`SELECT uuid, orders.status, nonce::int FROM transactions JOIN orders ON uuid = order_uuid ORDER BY nonce`,
  )
  const first = claimed[0]?.nonce ?? 0
  expect(claimed.map(({ nonce }) => nonce - first)).toEqual(
    Array.from({ length: WALLETS * ALLOWED }, (_, at) => at),
  )
  for (const { uuid, status } of claimed)
    expect([answers.get(uuid), status]).toEqual([200, 'broadcasted'])
  await Promise.all([one.close(), other.close()])
  expect(await deadlocksOf(databaseUrl)).toBe(0)
})
