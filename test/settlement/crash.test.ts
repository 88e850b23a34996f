import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { Fault } from '../../src/devnet/faults.ts'
import { openCampaign } from '../support/workloads/settlement.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

/** Kills at random moments: a few in `npm test`, RANDOM_KILLS=200 in the soak. */
const RANDOM_KILLS = Number(process.env.RANDOM_KILLS ?? 4)
const ALL = process.env.CRASH_POINTS === 'all'

const SUBMIT = '/v2/transactions'
const BOTH = ['before', 'after']
/** The steps of the way; when to die at them in `npm test` (in the soak: before, on the way, and after); and the faults
 * that make a process come by those that it usually does not. */
const STEPS: readonly { step: string; moments: string[]; faults?: Fault[]; orders?: number }[] = [
  { step: 'claim', moments: BOTH },
  { step: 'submit', moments: [...BOTH, 'sent'] },
  { step: 'accepted', moments: BOTH },
  { step: 'lease', moments: BOTH },
  { step: 'find', moments: ['after'] },
  { step: 'mined', moments: BOTH },
  { step: 'operator', moments: ['after'] },
  { step: 'quote', moments: [] },
  { step: 'interface', moments: [] },
  { step: 'account', moments: [] },
  { step: 'nonces', moments: [] },
  {
    step: 'outbid',
    moments: BOTH,
    faults: [{ on: SUBMIT, do: 'reject', reason: 'FeeTooLow', times: 4 }],
  },
  {
    step: 'look',
    moments: ['after'],
    faults: [{ on: SUBMIT, do: 'reject', reason: 'TooMuchChaining', times: 8 }],
  },
  {
    step: 'burn',
    moments: BOTH,
    faults: [{ on: SUBMIT, do: 'abort', as: 'abort_by_response', times: 1 }],
  },
]
const CLEAN = {
  kills: expect.any(Number),
  orders: expect.any(Number),
  acknowledged: expect.any(Number),
  confirmed: expect.any(Number),
  duplicates: [],
  lost: [],
  wrong: [],
  unended: [],
  gaps: [],
  miscounted: 0,
}

describe('a service that is killed', { timeout: 1_800_000 }, () => {
  let chain: OwnChain
  let service: Settling
  beforeAll(async () => {
    chain = await startOwnChain()
    service = await startSettling(chain, { engine: 'Postgres', operators: 2 })
  })
  afterAll(async () => {
    await service.close()
    await chain.stop()
  })

  it('at every step of the way executes every order once or not at all, and loses none that it acknowledged', async () => {
    const campaign = openCampaign(service)
    const points = STEPS.flatMap(({ step, moments, faults = [], orders = 3 }) =>
      (ALL ? ['before', 'sent', 'after'] : moments).map((moment) => ({
        point: `${moment}:${step}`,
        faults,
        orders,
      })),
    )
    const unreached: string[] = []
    const kill = async ({ point, faults, orders }: (typeof points)[number]) => {
      if (!(await campaign.killAt(point, faults, orders))) unreached.push(point)
      if (ALL) console.info(`so far: killed at ${point}`)
      if (faults.length > 0) await chain.clear()
    }
    // Two at once, on the same database and the same operators; a fault is for one alone.
    const [plain, faulty] = [true, false].map((isPlain) =>
      points.filter(({ faults }) => (faults.length === 0) === isPlain),
    )
    for (let at = 0; at < (plain?.length ?? 0); at += 2)
      await Promise.all((plain ?? []).slice(at, at + 2).map(kill))
    for (const point of faulty ?? []) {
      await campaign.finish()
      await kill(point)
    }
    const verdict = await campaign.judge()
    console.info(JSON.stringify({ ...verdict, unreached }))
    expect(verdict).toEqual(CLEAN)
    expect(unreached).toEqual([])
  })

  it('at any moment, while the node has troubles of its own, does so too', async () => {
    const campaign = openCampaign(service)
    for (let kills = 0; kills < RANDOM_KILLS; kills += 2) {
      if (kills > 0 && kills % 10 === 0) console.info(`so far: ${kills} of ${RANDOM_KILLS} kills`)
      await campaign.killAtRandom()
    }
    const verdict = await campaign.judge()
    console.info(JSON.stringify(verdict))
    expect(verdict).toEqual(CLEAN)
  })
})

describe('one order', { timeout: 600_000 }, () => {
  it('executed 1,000 times from 50 connections over 2 processes is one transaction', async () => {
    const chain = await startOwnChain()
    const service = await startSettling(chain, { engine: 'Postgres', operators: 2 })
    const campaign = openCampaign(service, { NODE_TIMEOUT_MS: '10000' })
    const processes = await Promise.all([campaign.start(), campaign.start()])
    const [uuid = ''] = await campaign.newOrders(1)
    await Promise.all(
      Array.from({ length: 50 }, async (_, connection) => {
        const target = processes[connection % 2]
        if (target === undefined) throw new Error('a process did not start')
        for (let asked = 0; asked < 20; asked++) await campaign.execute(target, uuid)
      }),
    )
    const statuses = campaign.attempts.map(({ status }) => status)
    expect(statuses).toHaveLength(1_000)
    expect(statuses.filter((status) => status === 200)).toHaveLength(1)
    expect(statuses.filter((status) => status === 400)).toHaveLength(999)
    await Promise.all(processes.map((target) => target?.stop()))
    expect(await campaign.judge()).toEqual(CLEAN)
    expect((await service.onChain()).map((one) => one.uuid)).toEqual([uuid])
    await service.close()
    await chain.stop()
  })
})
