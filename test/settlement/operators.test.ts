import { randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import { archiveFiles } from '../../src/archive-file.ts'
import { rows } from '../../src/db/database.ts'
import { fetchPeer } from '../../src/node/fetch.ts'
import { performWith } from '../../src/operator/acts.ts'
import { MAX_PENDING } from '../../src/settlement/operator.ts'
import { createKey, createOrder, fund, newWallet } from '../support/wallet.ts'
import { openCampaign } from '../support/workloads/settlement.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

const OPERATORS = 100
const ORDERS = 300
const CONNECTIONS = 24
const WALLETS = 12
/** A database that is slow for a moment is 503. */
const MOST_AGAIN = 10

/** Counts the requests that a service sends to the node and to the quote service, by path. */
function countingFetch() {
  const paths: string[] = []
  return {
    paths,
    fetch: ((url, init) => {
      paths.push(new URL(url).pathname)
      return fetchPeer(url, init)
    }) as typeof fetchPeer,
    of: (part: string) => paths.filter((path) => path.includes(part)).length,
  }
}

const unfunded = () => `${randomBytes(32).toString('hex')}01`

describe('operators', { timeout: 600_000 }, () => {
  let chain: OwnChain
  const opened: Settling[] = []
  beforeAll(async () => {
    chain = await startOwnChain()
  })
  afterEach(async () => {
    await chain.clear()
    await chain.blockTime(0)
    for (const service of opened.splice(0)) await service.close()
  })
  afterAll(() => chain.stop())

  async function start(options: Parameters<typeof startSettling>[1] = {}): Promise<Settling> {
    const service = await startSettling(chain, { engine: 'Postgres', ...options })
    opened.push(service)
    return service
  }
  async function orders(service: Settling, count: number): Promise<string[]> {
    const uuids: string[] = []
    while (uuids.length < count) uuids.push(await createOrder(service, service.wallet))
    return uuids
  }
  /** Several at once, as connections would. */
  async function executeAll(service: Settling, uuids: readonly string[]) {
    const answers = new Map<string, { status: number; body: Record<string, unknown> }>()
    const queue = uuids.values()
    const worker = async () => {
      for (const uuid of queue) answers.set(uuid, await service.execute(uuid))
    }
    await Promise.all(Array.from({ length: CONNECTIONS }, worker))
    return answers
  }
  const statesOf = (service: Settling) =>
    rows<{ address: string; pending: number; balance: number }>(
      service.world.db,
      sql`SELECT address, (next_nonce - chain_nonce)::int AS pending, balance::float8 AS balance FROM operators ORDER BY address`,
    )
  const act = (service: Settling) => performWith({ ...service.world, archiveFiles })

  it(`of a hundred settle ${ORDERS} orders once each, and a request more or less costs none of them more`, async () => {
    const counted = countingFetch()
    const service = await start({
      operators: OPERATORS,
      maxConnections: CONNECTIONS,
      fetch: counted.fetch,
    })
    for (let passes = 0; passes < OPERATORS / 10; passes++) await service.pass()
    expect(await statesOf(service)).toHaveLength(OPERATORS)
    const uuids: string[] = []
    const keyOf = new Map<string, string>()
    for (let wallets = 0; wallets < WALLETS; wallets++) {
      const wallet = newWallet(service)
      await fund(service, wallet)
      const { apiKey } = await createKey(service, wallet)
      for (let made = 0; made < ORDERS / WALLETS; made++) {
        const uuid = await createOrder(service, wallet)
        keyOf.set(uuid, apiKey)
        uuids.push(uuid)
      }
    }
    await chain.blockTime(null)
    counted.paths.length = 0
    // Neighbours in the queue are of different wallets. A database that is too slow for a moment is 503, and the client repeats.
    const mixed = uuids.toSorted()
    let attempts = 0
    const queue = mixed.values()
    const worker = async () => {
      for (const uuid of queue) {
        let status = 503
        for (let again = 0; status === 503 && again < MOST_AGAIN; again++, attempts++)
          ({ status } = await service.execute(uuid, keyOf.get(uuid)))
        expect([uuid, status]).toEqual([uuid, 200])
      }
    }
    await Promise.all(Array.from({ length: CONNECTIONS }, worker))
    // Preview, estimate and submission: no operator is asked for.
    expect(counted.of('/v2/accounts/') + counted.of('/nonces')).toBe(0)
    expect(counted.of('/v2/transactions')).toBe(ORDERS)
    const perExecute = counted.paths.length / attempts
    const pending = (await statesOf(service)).map((one) => one.pending)
    expect(pending.reduce((sum, one) => sum + one, 0)).toBe(ORDERS)
    expect(Math.max(...pending)).toBeLessThanOrEqual((ORDERS / OPERATORS) * 2)

    await chain.mine()
    await chain.blockTime(0)
    counted.paths.length = 0
    let passes = 0
    for (; passes < 60; passes++) {
      await service.pass(20_000)
      if ((await statesOf(service)).every((one) => one.pending === 0)) break
    }
    const perPass = counted.paths.length / (passes + 1)
    console.info(JSON.stringify({ attempts, perExecute, perPass, passes: passes + 1 }))
    expect(perExecute).toBeLessThan(7)
    const mined = (await service.onChain()).filter(({ fn }) => fn?.startsWith('x-swap-'))
    expect(mined.map(({ uuid }) => uuid).sort()).toEqual(uuids.toSorted())
    const [confirmed] = await rows<{ n: number }>(
      service.world.db,
      sql`SELECT count(*)::int AS n FROM orders WHERE status = 'confirmed'`,
    )
    expect(confirmed?.n).toBe(ORDERS)
  })

  it('of a hundred settle each order once or not at all although processes are killed', async () => {
    const service = await start({ operators: OPERATORS })
    const campaign = openCampaign(service)
    for (let kills = 0; kills < 4; kills += 2) await campaign.killAtRandom(2, 25)
    expect(await campaign.judge()).toMatchObject({
      kills: 4,
      orders: 50,
      duplicates: [],
      lost: [],
      wrong: [],
      unended: [],
      gaps: [],
      miscounted: 0,
    })
  })

  it('that are all full cost an execute one look-up, and not one for each', async () => {
    const counted = countingFetch()
    const service = await start({ operators: 3, maxConnections: CONNECTIONS, fetch: counted.fetch })
    await chain.blockTime(null)
    const uuids = await orders(service, 3 * MAX_PENDING + 1)
    const answers = await executeAll(service, uuids)
    const refused = uuids.filter((uuid) => answers.get(uuid)?.status !== 200)
    expect(refused).toHaveLength(1)
    counted.paths.length = 0
    expect(await service.execute(refused[0] ?? '')).toMatchObject({
      status: 503,
      body: { details: { reason: 'operator_busy' } },
    })
    expect([counted.of('/v2/accounts/'), counted.of('/nonces')]).toEqual([1, 1])
  })

  it('without funds are passed over, and an execute that finds no others is refused with that reason', async () => {
    const [rich, poor] = [await chain.newOperator(), unfunded()]
    const service = await start({ env: { OPERATOR_PRIVATE_KEYS: `${poor},${rich}` } })
    const { all } = service.world.operators
    await service.pass()
    for (const uuid of await orders(service, 4))
      expect(await service.execute(uuid)).toMatchObject({ status: 200 })
    const [first, second] = all.map(({ address }) => address)
    expect(await chain.transactionsOf(first ?? '')).toEqual([])
    expect(await chain.transactionsOf(second ?? '')).toHaveLength(4)
    await act(service)('retireOperator', { address: second ?? '' })
    const [uuid = ''] = await orders(service, 1)
    expect(await service.execute(uuid)).toMatchObject({
      status: 503,
      body: { details: { reason: 'operator_funds' } },
    })
    expect(await service.order(uuid)).toMatchObject({ status: 'open' })
    const said = service.logged.filter((line) => line.includes('operator_has_no_funds'))
    expect(said).toHaveLength(1)
    expect(said[0]).toContain(first)
  })

  it('are never claimed for more than their balance, whoever claims at once', async () => {
    const service = await start({ maxConnections: CONNECTIONS })
    await service.pass()
    await chain.blockTime(null)
    // Enough for five swaps.
    await rows(service.world.db, sql`UPDATE operators SET balance = 15000`)
    await chain.plan({ on: '/v2/accounts/', do: 'answer', status: 503 })
    const answers = await executeAll(service, await orders(service, CONNECTIONS))
    expect([...answers.values()].filter(({ status }) => status === 200)).toHaveLength(5)
    expect(await statesOf(service)).toMatchObject([{ pending: 5, balance: 0 }])
  })

  it('that are retired take no claim from the commit on, of any process, and follow theirs to the end', async () => {
    const service = await start({ operators: 2, maxConnections: CONNECTIONS })
    const { db } = service.world
    await service.pass()
    await chain.blockTime(null)
    const [address = ''] = service.world.operators.all.map((one) => one.address)
    const uuids = await orders(service, 40)
    const executing = executeAll(service, uuids)
    await new Promise<void>((resolve) => setImmediate(resolve))
    const retired = Promise.all(
      Array.from({ length: 20 }, () => act(service)('retireOperator', { address })),
    )
    const [atCommit] = await retired.then(() =>
      rows<{ next: number }>(
        db,
        sql`SELECT next_nonce::int AS next FROM operators WHERE address = ${address}`,
      ),
    )
    const isNew = (await retired).filter((one) => one.ok && one.value.isNew)
    expect(isNew).toHaveLength(1)
    const answers = await executing
    expect([...answers.values()].filter(({ status }) => status !== 200 && status !== 503)).toEqual(
      [],
    )
    const more = await executeAll(service, await orders(service, 10))
    for (const { status } of more.values()) expect(status).toBeLessThan(504)
    const [after] = await rows<{ next: number }>(
      db,
      sql`SELECT next_nonce::int AS next FROM operators WHERE address = ${address}`,
    )
    expect(after).toEqual(atCommit)
    const [late] = await rows<{ n: number }>(
      db,
      sql`SELECT count(*)::int AS n FROM transactions JOIN operators ON address = operator
        WHERE address = ${address} AND created_at > retired_at`,
    )
    expect(late?.n).toBe(0)
    await chain.blockTime(0)
    await chain.mine()
    for (let passes = 0; passes < 20; passes++) await service.pass(20_000)
    const mined = await chain.transactionsOf(address)
    expect(mined.map(({ nonce }) => nonce).sort((a, b) => a - b)).toEqual(mined.map((_, at) => at))
    expect(mined.every(({ height }) => height !== undefined)).toBe(true)
    expect(await act(service)('resumeOperator', { address })).toMatchObject({
      value: { isNew: true },
    })
    const [uuid = ''] = await orders(service, 1)
    expect(await service.execute(uuid)).toMatchObject({ status: 200 })
  })

  it('return what they have once, when they are empty, to the treasury, and their nonces have no gap', async () => {
    const treasury = 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG'
    const service = await start({
      operators: 2,
      maxConnections: CONNECTIONS,
      env: { TREASURY_ADDRESS: treasury },
    })
    await chain.blockTime(null)
    const [uuid = ''] = await orders(service, 1)
    expect(await service.execute(uuid)).toMatchObject({ status: 200 })
    const [sent] = (await service.onChain()) as { nonce: number }[]
    expect(sent).toBeDefined()
    const [operator] = await rows<{ address: string }>(
      service.world.db,
      sql`SELECT operator AS address FROM transactions`,
    )
    const { address = '' } = operator ?? {}
    expect(await act(service)('retireOperator', { address })).toMatchObject({
      value: { kept: 'pending', pending: 1, returned: null },
    })
    await chain.mine()
    await service.until(uuid, 'confirmed')
    // All of them see the account without pending transactions, before the first one stores its transfer.
    await chain.plan({ on: '/extended/v3/principals/', do: 'delay', ms: 1_000 })
    // One that waits for too long on a slow machine rejects, and has returned nothing.
    const all = await Promise.allSettled(
      Array.from({ length: CONNECTIONS }, () => act(service)('retireOperator', { address })),
    )
    const returned = all.filter(
      (one) => one.status === 'fulfilled' && one.value.ok && one.value.value.returned !== null,
    )
    expect(returned).toHaveLength(1)
    await chain.clear()
    await chain.mine()
    await chain.blockTime(0)
    for (let passes = 0; passes < 3; passes++) await service.pass(20_000)
    expect(await service.world.chain.account(address)).toMatchObject({ nonce: 2, balance: 3_000n })
    expect((await service.world.chain.account(treasury))?.balance).toBeGreaterThan(900_000_000n)
    expect(await act(service)('retireOperator', { address })).toMatchObject({
      value: { kept: 'empty', pending: 0, returned: null },
    })
    const check = await act(service)('checkAudit', {})
    expect(check).toMatchObject({ ok: true, value: { faultCount: 0, unchecked: [] } })
  })

  it('are asked for their balance no more than so often a minute, by all processes together', async () => {
    const counted = countingFetch()
    const service = await start({
      operators: 20,
      fetch: counted.fetch,
      env: { BALANCE_REQUESTS_PER_MINUTE: '30', LOW_BALANCE_IN_MICRO_STX: '2000000000' },
    })
    for (let passes = 0; passes < 4; passes++) await service.pass()
    for (let minute = 0; minute < 4; minute++) {
      counted.paths.length = 0
      for (let passes = 0; passes < 30; passes++) await service.pass(2_000)
      expect(counted.of('/v2/accounts/')).toBeLessThanOrEqual(31)
      if (minute > 0) expect(counted.of('/v2/accounts/')).toBeGreaterThan(20)
    }
    const low = service.logged.filter((line) => line.includes('operator_funds_low'))
    expect(low).toHaveLength(20)
  })
})
