import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { takeLeases } from '../../src/db/lease.ts'
import { fetchPeer } from '../../src/node/fetch.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import { fairShare, releaseShare, takeShare } from '../../src/settlement/share.ts'
import { type OwnChain, startOwnChain, startSettling } from '../settlement/chain.ts'
import { type Service, startService } from '../support/service.ts'
import { createOrder } from '../support/wallet.ts'

const PROCESSES = 4
const OPERATORS = 22
const CALLERS = 24

const LEASE_MS = 16_000
const names = (count: number, prefix = 'ST') =>
  Array.from({ length: count }, (_, at) => `${prefix}${String(at).padStart(3, '0')}`)

describe('shares', () => {
  it.each([
    1, 2, 3, 4, 7, 50,
  ])('of %i processes are disjoint, complete, and differ by one at most', (count) => {
    const operators = names(100)
    const members = names(count, 'p').map((holder) => ({ holder, operators }))
    const shares = members.map(({ holder }) =>
      fairShare(operators, members.toReversed(), holder).filter((one) =>
        one.startsWith('operator:'),
      ),
    )
    expect(shares.flat().sort()).toEqual(operators.map((one) => `operator:${one}`))
    const sizes = shares.map((share) => share.length)
    expect(Math.max(...sizes) - Math.min(...sizes)).toBeLessThanOrEqual(1)
  })

  it('go to the processes that can sign for an operator, and are shared by all where none can', () => {
    const [own = '', others = '', old = ''] = names(3)
    const members = [
      { holder: 'a', operators: [own] },
      { holder: 'b', operators: [others] },
    ]
    expect(fairShare([own, others, old], members, 'a')).toContain(`operator:${own}`)
    expect(fairShare([own, others, old], members, 'a')).not.toContain(`operator:${others}`)
    const both = ['a', 'b'].flatMap((holder) => fairShare([own, others, old], members, holder))
    expect(both.filter((one) => one === `operator:${old}`)).toHaveLength(1)
  })
})

describe(`of ${PROCESSES} processes that reconcile`, { timeout: 600_000 }, () => {
  let chain: OwnChain
  const services: Service[] = []
  const looked: string[][] = []
  let settling: Awaited<ReturnType<typeof startSettling>>
  beforeAll(async () => {
    chain = await startOwnChain()
    const fetchOf = (at: number): typeof fetchPeer => {
      const paths: string[] = []
      looked[at] = paths
      return (url, init) => {
        paths.push(new URL(url).pathname)
        return fetchPeer(url, init)
      }
    }
    settling = await startSettling(chain, {
      engine: 'Postgres',
      operators: OPERATORS,
      maxConnections: CALLERS,
      fetch: fetchOf(0),
      env: { BALANCE_REQUESTS_PER_MINUTE: '0' },
    })
    services.push(settling)
    const { ENCRYPTION_KEY = '', OPERATOR_PRIVATE_KEYS } = settling.world.config
    while (services.length < PROCESSES)
      services.push(
        await startService('Postgres', {
          databaseUrl: settling.databaseUrl,
          fetch: fetchOf(services.length),
          env: {
            ENCRYPTION_KEY,
            STACKS_API_URL: chain.url,
            QUOTE_URL: `${chain.url}/quote`,
            OPERATOR_PRIVATE_KEY: '',
            OPERATOR_PRIVATE_KEYS: OPERATOR_PRIVATE_KEYS.join(','),
            BALANCE_REQUESTS_PER_MINUTE: '0',
          },
        }),
      )
  }, 240_000)
  afterAll(async () => {
    for (const service of services) await service.close()
    await chain.stop()
  })

  const passTime = (ms: number) => {
    const now = settling.clock.now + ms
    for (const { clock } of services) clock.now = now
  }
  const together = async (some: readonly Service[]) => {
    await Promise.all(some.map(({ world }) => reconcile(world)))
  }
  const leased = (isDuty = false) =>
    rows<{ holder: string; n: number }>(
      settling.world.db,
      sql`SELECT holder, count(*)::int AS n FROM leases WHERE name LIKE ${isDuty ? 'duty:%' : 'operator:%'} GROUP BY holder ORDER BY n`,
    )

  it('each has an even share after two passes, and a transaction is followed by one of them', async () => {
    for (let passes = 0; passes < 4; passes++) await together(services)
    expect((await leased()).map(({ n }) => n)).toEqual([5, 5, 6, 6])
    expect((await leased(true)).length).toBeGreaterThan(1)

    await chain.blockTime(null)
    const uuids: string[] = []
    while (uuids.length < 4 * OPERATORS) uuids.push(await createOrder(settling, settling.wallet))
    for (const uuid of uuids) expect(await settling.execute(uuid)).toMatchObject({ status: 200 })
    await chain.mine()
    for (const paths of looked) paths.length = 0
    passTime(4_000)
    await together(services)
    // Of all that was looked up in the pass, nothing was looked up by two processes.
    const finds = looked.map((paths) => paths.filter((path) => path.includes('/transactions/')))
    expect(new Set(finds.flat()).size).toBe(finds.flat().length)
    expect(finds.flat().length).toBe(uuids.length)
    const shares = finds.map(({ length }) => length).sort((a, b) => a - b)
    console.info(JSON.stringify({ transactions: uuids.length, followedBy: shares }))
    expect(shares).toEqual([20, 20, 24, 24])
    await chain.blockTime(0)
    for (const uuid of uuids) await settling.until(uuid, 'confirmed')
  })

  it('one that dies leaves its share to the others once its leases end, and not before', async () => {
    passTime(0)
    const [dead, ...alive] = services.toReversed() as [Service, ...Service[]]
    await together(services)
    const before = await leased()
    passTime(LEASE_MS / 2)
    for (let passes = 0; passes < 2; passes++) await together(alive)
    expect((await leased()).find(({ holder }) => holder === dead.world.holder)).toEqual(
      before.find(({ holder }) => holder === dead.world.holder),
    )
    passTime(LEASE_MS / 2 + 1)
    for (let passes = 0; passes < 3; passes++) await together(alive)
    expect((await leased()).map(({ n }) => n)).toEqual([7, 7, 8])
  })

  it('one that stops leaves its share at once', async () => {
    const [stopped, ...others] = services as [Service, ...Service[]]
    for (let passes = 0; passes < 3; passes++) await together(services)
    await releaseShare(stopped.world)
    for (let passes = 0; passes < 3; passes++) await together(others)
    expect((await leased()).map(({ n }) => n)).toEqual([7, 7, 8])
  })

  it('no lease is held by two, however many take it at once, and an ended one is taken by one', async () => {
    const { world } = settling
    const wanted = names(30, 'race:')
    for (let round = 0; round < 3; round++) {
      settling.clock.now += LEASE_MS + 1
      const taken = await Promise.all(
        Array.from({ length: CALLERS }, (_, at) =>
          takeLeases(
            world,
            at % 2 === 0 ? wanted : wanted.toReversed(),
            `p${round}-${at}`,
            LEASE_MS,
          ),
        ),
      )
      expect(taken.flat().sort()).toEqual(wanted)
    }
  })

  it('shares of many that start at once are disjoint at every moment', async () => {
    const { world } = settling
    settling.clock.now += LEASE_MS + 1
    const many = names(CALLERS, 'start')
    for (let round = 0; round < 3; round++) {
      const shares = await Promise.all(many.map((holder) => takeShare({ ...world, holder })))
      const all = shares.flatMap(({ operators }) => [...operators])
      expect(new Set(all).size).toBe(all.length)
    }
  })
})
