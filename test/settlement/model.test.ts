import * as fc from 'fast-check'
import { afterAll, beforeAll, expect, it } from 'vitest'
import type { Fault } from '../../src/devnet/faults.ts'
import type { Chain } from '../../src/settlement/chain.ts'
import type { World } from '../../src/world.ts'
import { type Service, startService } from '../support/service.ts'
import { createKey, createOrder, newWallet } from '../support/wallet.ts'
import { type OwnChain, type Settling, startOwnChain, startSettling } from './chain.ts'

/** Stories in `npm test`, and how long they are; MODEL_RUNS=500 in the soak. */
const RUNS = Number(process.env.MODEL_RUNS ?? 8)
const COMMANDS = 25

/** What an order is to somebody who knows only what he did to it. */
type State =
  | 'open'
  | 'cancelled'
  | 'expired'
  | 'failed'
  | 'underway'
  | 'doomed'
  /** No node had its swap at first, and its validTo may come before one has. */
  | 'undelivered'
  /** As `undelivered`, and its broadcast was counted. */
  | 'forgotten'

interface Model {
  orders: Map<string, { state: State; validTo?: number }>
  now: number
  requests: number
}

/** The service, which may be started again, and one wallet with one key. */
interface Real {
  settling: Settling
  /** In the place of the first process, once it was restarted. */
  service: Service
  apiKey: string
  keyId: string
  wallet: Settling['wallet']
}

const SUBMIT = '/v2/transactions'
const QUOTE = '/quote'

interface Plan {
  faults?: Fault[]
  status: number
  state: State
  /** The state of an order with a validTo. */
  untilEnd?: State
}

/** What happens at an execute: to the node, what the service answers, and what the order is after it. */
const EXECUTES: Readonly<Record<string, Plan>> = {
  'all is well': { status: 200, state: 'underway' },
  rejected: {
    faults: [{ on: SUBMIT, do: 'reject', reason: 'NoSuchContract', times: 1 }],
    status: 202,
    state: 'underway',
    untilEnd: 'undelivered',
  },
  'no funds': {
    faults: [{ on: SUBMIT, do: 'reject', reason: 'NotEnoughFunds', times: 1 }],
    status: 202,
    state: 'underway',
    untilEnd: 'undelivered',
  },
  'nonce taken': {
    faults: [{ on: SUBMIT, do: 'reject', reason: 'ConflictingNonceInMempool', times: 1 }],
    status: 202,
    state: 'underway',
    untilEnd: 'undelivered',
  },
  'too many pending': {
    faults: [{ on: SUBMIT, do: 'reject', reason: 'TooMuchChaining', times: 1 }],
    status: 202,
    state: 'underway',
    untilEnd: 'undelivered',
  },
  'hung up before': {
    faults: [{ on: SUBMIT, do: 'hang-up-before', times: 1 }],
    status: 202,
    state: 'underway',
    untilEnd: 'undelivered',
  },
  'hung up after': {
    faults: [{ on: SUBMIT, do: 'hang-up-after', times: 1 }],
    status: 202,
    state: 'underway',
  },
  'node fails': {
    faults: [{ on: SUBMIT, do: 'answer', status: 500, times: 1 }],
    status: 202,
    state: 'underway',
    untilEnd: 'undelivered',
  },
  dropped: {
    faults: [{ on: SUBMIT, do: 'drop', as: 'dropped_problematic', times: 1 }],
    status: 200,
    state: 'underway',
    untilEnd: 'forgotten',
  },
  aborted: {
    faults: [{ on: SUBMIT, do: 'abort', as: 'abort_by_post_condition', times: 1 }],
    status: 200,
    state: 'doomed',
  },
  'no route': {
    faults: [
      { on: QUOTE, do: 'answer', status: 200, body: { success: false, error: '' }, times: 1 },
    ],
    status: 502,
    state: 'open',
  },
  'no quote': {
    faults: [{ on: QUOTE, do: 'answer', status: 503, times: 1 }],
    status: 503,
    state: 'open',
  },
  'crash before sending': { status: 500, state: 'underway', untilEnd: 'undelivered' },
  'crash after sending': { status: 500, state: 'underway' },
}

class Crash extends Error {}
let crash: 'before' | 'after' | undefined

const crashing = (world: World): World => ({
  ...world,
  chain: new Proxy(world.chain, {
    get(real, name: keyof Chain) {
      if (name !== 'submit' || crash === undefined) return real[name]
      return async (raw: Uint8Array<ArrayBuffer>) => {
        if (crash === 'after') await real.submit(raw)
        throw new Crash()
      }
    },
  }),
})

const pick = (model: Model, at: number): string =>
  [...model.orders.keys()][at % model.orders.size] ?? ''

/** The statuses in which the service may show an order, and whether it could still be acted on. */
const SHOWN: Readonly<Record<State, string[]>> = {
  open: ['open'],
  cancelled: ['cancelled'],
  expired: ['expired'],
  failed: ['failed'],
  underway: ['executing', 'broadcasted', 'confirmed'],
  doomed: ['executing', 'broadcasted', 'failed'],
  undelivered: ['executing', 'broadcasted', 'confirmed', 'failed'],
  forgotten: ['executing', 'broadcasted', 'confirmed', 'failed'],
}

abstract class Step implements fc.AsyncCommand<Model, Real> {
  abstract check(model: Readonly<Model>): boolean
  abstract act(model: Model, real: Real): Promise<void>
  abstract toString(): string

  async run(model: Model, real: Real): Promise<void> {
    await this.act(model, real)
    for (const order of model.orders.values())
      if (order.state === 'open' && order.validTo !== undefined && order.validTo <= model.now)
        order.state = 'expired'
    for (const [uuid, { state }] of model.orders)
      expect(SHOWN[state]).toContain((await real.settling.order(uuid)).status)
  }
}

class Create extends Step {
  readonly ttlMs: number | undefined
  constructor(ttlMs: number | undefined) {
    super()
    this.ttlMs = ttlMs
  }
  check = () => true
  async act(model: Model, { service, wallet }: Real) {
    const validTo = this.ttlMs === undefined ? undefined : model.now + this.ttlMs
    const terms = validTo === undefined ? {} : { validTo: new Date(validTo).toISOString() }
    const uuid = await createOrder(service, wallet, terms)
    model.orders.set(uuid, { state: 'open', ...(validTo !== undefined && { validTo }) })
  }
  toString = () => `create(${this.ttlMs ?? ''})`
}

class Execute extends Step {
  readonly at: number
  readonly how: string
  constructor(at: number, how: string) {
    super()
    this.at = at
    this.how = how
  }
  check = (model: Readonly<Model>) => model.orders.size > 0
  async act(model: Model, real: Real) {
    const uuid = pick(model, this.at)
    const order = model.orders.get(uuid)
    const plan = EXECUTES[this.how]
    if (order === undefined || plan === undefined) return
    if (plan.faults !== undefined) await real.settling.chain.plan(...plan.faults)
    crash = /^crash (before|after)/.exec(this.how)?.[1] as typeof crash
    const { status } = await call(real, `/orders/${uuid}/execute`, 'POST')
    const didCrash = crash !== undefined
    crash = undefined
    await real.settling.chain.clear()
    model.requests++
    expect(status).toBe(order.state === 'open' ? plan.status : 400)
    const { state, untilEnd = state } = plan
    if (order.state === 'open') order.state = order.validTo === undefined ? state : untilEnd
    if (didCrash) await restart(real)
  }
  toString = () => `execute(${this.at}, ${this.how})`
}

class Cancel extends Step {
  readonly at: number
  constructor(at: number) {
    super()
    this.at = at
  }
  check = (model: Readonly<Model>) => model.orders.size > 0
  async act(model: Model, real: Real) {
    const uuid = pick(model, this.at)
    const order = model.orders.get(uuid)
    const { status } = await call(real, `/orders/${uuid}/cancel`, 'PATCH')
    model.requests++
    expect(status).toBe(order?.state === 'open' ? 200 : 400)
    if (order?.state === 'open') order.state = 'cancelled'
  }
  toString = () => `cancel(${this.at})`
}

class Wait extends Step {
  readonly ms: number
  constructor(ms: number) {
    super()
    this.ms = ms
  }
  check = () => true
  async act(model: Model, { settling }: Real) {
    await settling.pass(this.ms)
    model.now = settling.clock.now
  }
  toString = () => `wait(${this.ms})`
}

class Restart extends Step {
  check = () => true
  act = (_: Model, real: Real) => restart(real)
  toString = () => 'restart'
}

async function call({ service, apiKey }: Real, path: string, method: string): Promise<Response> {
  return service.call(path, { method, headers: { 'X-API-Key': apiKey } })
}

/** Another process on the same database, with the same clock; the one before it has forgotten everything. */
async function restart(real: Real): Promise<void> {
  const { settling } = real
  const { ENCRYPTION_KEY = '', OPERATOR_PRIVATE_KEYS } = settling.world.config
  const before = real.service
  real.service = await startService('Postgres', {
    databaseUrl: settling.databaseUrl,
    change: (world) => crashing({ ...world, now: () => settling.clock.now }),
    env: {
      ...GENEROUS,
      ENCRYPTION_KEY,
      STACKS_API_URL: settling.chain.url,
      QUOTE_URL: `${settling.chain.url}/quote`,
      OPERATOR_PRIVATE_KEY: '',
      OPERATOR_PRIVATE_KEYS: OPERATOR_PRIVATE_KEYS.join(','),
    },
  })
  if (before !== settling) await before.close()
}

const GENEROUS = {
  RATE_LIMIT_PER_MINUTE: '1000000',
  RATE_LIMIT_PER_HOUR: '1000000',
  RATE_LIMIT_PER_DAY: '1000000',
}

let chain: OwnChain
let settling: Settling
beforeAll(async () => {
  chain = await startOwnChain()
  settling = await startSettling(chain, {
    engine: 'Postgres',
    operators: 2,
    change: crashing,
  })
})
afterAll(async () => {
  await settling.close()
  await chain.stop()
})

it(`behaves as a plain model says, in ${RUNS} stories of create, execute, cancel, wait, faults and restarts`, {
  timeout: 1_800_000,
}, async () => {
  const at = fc.nat(5)
  const commands = fc.commands(
    [
      fc.option(fc.constantFrom(5_000, 60_000), { nil: undefined }).map((ttl) => new Create(ttl)),
      fc.tuple(at, fc.constantFrom(...Object.keys(EXECUTES))).map((given) => new Execute(...given)),
      at.map((one) => new Execute(one, 'all is well')),
      at.map((one) => new Cancel(one)),
      fc.constantFrom(1, 3_000, 20_000).map((ms) => new Wait(ms)),
      fc.constant(new Restart()),
    ],
    { maxCommands: COMMANDS, size: 'max' },
  )
  await fc.assert(
    fc.asyncProperty(commands, async (story) => {
      const wallet = newWallet(settling)
      await settling.call('/devnet/faucet', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify({ address: wallet.address }),
      })
      const { apiKey, keyId } = await createKey(settling, wallet)
      const real: Real = { settling, service: settling, apiKey, keyId, wallet }
      const model: Model = { orders: new Map(), now: settling.clock.now, requests: 0 }
      await fc.asyncModelRun(() => ({ model, real }), story)
      await settleAll(model, real)
      if (real.service !== settling) await real.service.close()
    }),
    { numRuns: RUNS, endOnFailure: process.env.MODEL_SHRINK === undefined },
  )
})

/** What is under way ends as it must, once on chain; and every request was counted as what became of it. */
async function settleAll(model: Model, { settling, apiKey, keyId, wallet }: Real): Promise<void> {
  const ends: Partial<Record<State, readonly string[]>> = {
    underway: ['confirmed'],
    doomed: ['failed'],
    undelivered: ['confirmed', 'failed'],
    forgotten: ['confirmed', 'failed'],
  }
  const swapped = new Set<string>()
  let executions = 0
  for (const [uuid, { state }] of model.orders) {
    const end = ends[state] && (await endOf(settling, uuid))
    if (end === undefined) continue
    expect(ends[state]).toContain(end)
    if (end === 'confirmed' || state === 'doomed') swapped.add(uuid)
    if (state !== 'undelivered' || end === 'confirmed') executions++
  }
  const mined = (await settling.onChain()).filter(({ height }) => height !== undefined)
  for (const uuid of model.orders.keys())
    expect(mined.filter((one) => one.uuid === uuid && one.fn?.startsWith('x-swap-'))).toHaveLength(
      swapped.has(uuid) ? 1 : 0,
    )

  const response = await settling.call(`/api-keys/${keyId}`, {
    headers: wallet.signHeaders({ action: 'get_api_key', keyId }),
  })
  const { apiKey: key } = (await response.json()) as { apiKey: { usageStats: object } }
  const states = [...model.orders.values()].map(({ state }) => state)
  const cancellations = states.filter((state) => state === 'cancelled').length
  expect(apiKey).toBeTruthy()
  expect(key.usageStats).toMatchObject({
    totalRequests: model.requests,
    successfulRequests: executions + cancellations,
    failedRequests: model.requests - executions - cancellations,
    executionCount: executions,
    cancellationCount: cancellations,
  })
}

/** Runs the reconciler until an order has ended. */
async function endOf(settling: Settling, uuid: string): Promise<unknown> {
  for (let made = 0; made < 60; made++) {
    const { status } = await settling.order(uuid)
    if (status === 'confirmed' || status === 'failed') return status
    await settling.pass(20_000)
  }
  return (await settling.order(uuid)).status
}
