import { setTimeout as pause } from 'node:timers/promises'
import type { Fault } from '../../src/devnet/faults.ts'
import { type DevnetProcess, startDevnetProcess } from '../../src/node/devnet.ts'
import { fundedOperator, type ServiceProcess, sharedEnv, startProcess } from '../support/process.ts'
import { createKey, createOrder, fund, newWallet } from '../support/wallet.ts'
import { cpuMicrosOf, type Postgres } from './postgres.ts'
import { startRemote } from './remote.ts'
import { quantile } from './statistics.ts'
import type { StubNode } from './stub-node.ts'

/** Orders executed end to end. */
export interface Executes {
  /** The devnet, whose Clarity VM is a bound of its own, or a stub that takes everything and executes nothing. */
  node: 'devnet' | 'stub'
  /** How long every answer of the node takes. */
  answerMs: number
  operators: number
  orders: number
  connections: number
  /** Answered 200: signed, stored, and taken by the node. */
  executesPerSecond: number
  /** Confirmed, from the first request until the last order has its block. */
  confirmedPerSecond: number
  p50Ms: number
  p99Ms: number
  /** CPU time of the service's process, for each execute until the last one is answered; the reconciler is in it. */
  cpuMicros: number
  /** CPU time of all processes of Postgres, likewise. */
  postgresCpuMicros: number | undefined
  /** Executes that were told to come back, since every operator had 25 pending. */
  toldToWait: number
  /** Taken by the devnet while no block is made. */
  mostInFlight: number | undefined
  /** Executed, and not confirmed in the end. */
  unsettled: number
}

const STUB = new URL('stub-node.ts', import.meta.url)
const SIDES = [
  { node: 'stub', answerMs: 0 },
  { node: 'devnet', answerMs: 0 },
  { node: 'devnet', answerMs: 200 },
] as const
const OPERATORS = 4
const CONNECTIONS = 64
const WALLETS = 8
const PENDING_PER_OPERATOR = 25
const COME_BACK_MS = 20
const LONGEST_MS = 600_000

/** Creates orders ahead, executes them by key over many connections at once, and waits for the last block. */
export async function measureExecutes(
  postgres: Postgres,
  orders: number,
  nodes: readonly Executes['node'][],
  say: (what: string) => void,
  cpuProfile?: string,
): Promise<Executes[]> {
  const measured: Executes[] = []
  for (const side of SIDES.filter(({ node }) => nodes.includes(node))) {
    const database = `executes_${side.node}_${side.answerMs}`
    await postgres.query(`CREATE DATABASE ${database}`)
    const node = await startNode(side.node)
    const chain = { devnetUrl: node.url }
    const operators: string[] = []
    while (operators.length < OPERATORS) operators.push(await fundedOperator(chain))
    const service = await startProcess({
      ...sharedEnv(postgres.urlOf(database), chain),
      OPERATOR_PRIVATE_KEYS: operators.join(','),
      RECONCILE_INTERVAL_MS: '200',
      ...(cpuProfile !== undefined && { NODE_OPTIONS: `--cpu-prof --cpu-prof-dir=${cpuProfile}` }),
    })
    try {
      measured.push(await measureOne({ ...side, url: node.url, postgres, service, orders, say }))
    } finally {
      await service.stop()
      await node.stop()
    }
  }
  return measured
}

async function startNode(node: Executes['node']): Promise<Pick<DevnetProcess, 'url' | 'stop'>> {
  if (node === 'devnet') return startDevnetProcess()
  const stub = await startRemote<StubNode>(STUB)
  return { url: await stub.call('url'), stop: stub.stop }
}

async function measureOne({
  node,
  url,
  postgres,
  service,
  answerMs,
  orders,
  say,
}: {
  node: Executes['node']
  url: string
  postgres: Postgres
  service: ServiceProcess
  answerMs: number
  orders: number
  say: (what: string) => void
}): Promise<Executes> {
  const room = OPERATORS * PENDING_PER_OPERATOR
  const name = `executes on the ${node}, answers after ${answerMs} ms`
  say(`${name}: signing ${orders + room + OPERATORS} orders`)
  const ready = await makeOrders(service, orders + room + OPERATORS)
  const post = async (path: string, body: unknown) => {
    const headers = { 'Content-Type': 'application/json' }
    await fetch(`${url}${path}`, { method: 'POST', headers, body: JSON.stringify(body) })
  }
  const faults: Fault[] = ['/v2/', '/extended/', '/quote'].map((on) => ({
    on,
    do: 'delay',
    ms: answerMs,
  }))
  if (answerMs > 0) await post('/faults', faults)

  say(`${name}: ${orders} orders over ${CONNECTIONS} connections`)
  const tally = { taken: 0, toldToWait: 0, ms: [] as number[] }
  const execute = ({ uuid, apiKey }: Ready) =>
    service.ask(`/orders/${uuid}/execute`, { method: 'POST', key: apiKey })
  const [cpuBefore, postgresBefore] = [cpuMicrosOf(service.pid), postgres.cpuMicros()]
  const from = performance.now()
  const waiting = ready.splice(0, orders)
  const uuids = waiting.map(({ uuid }) => uuid)
  await inLanes(waiting, async (order) => {
    for (;;) {
      const sentAt = performance.now()
      const answer = await execute(order)
      if (answer?.status === 503) {
        tally.toldToWait += 1
        await pause(COME_BACK_MS)
        continue
      }
      if (answer?.status === 200) tally.taken += 1
      tally.ms.push(performance.now() - sentAt)
      return
    }
  })
  const answeredMs = performance.now() - from
  const [cpuAfter, postgresAfter] = [cpuMicrosOf(service.pid), postgres.cpuMicros()]
  const until = performance.now() + LONGEST_MS
  let confirmed = 0
  await inLanes(uuids, async (uuid) => {
    while (performance.now() < until) {
      const { status } = (await service.ask(`/orders/${uuid}`, {}))?.body.data ?? {}
      if (status === 'confirmed') confirmed += 1
      if (['confirmed', 'failed', 'open'].includes(status)) return
      await pause(COME_BACK_MS)
    }
  })
  const confirmedMs = performance.now() - from
  const ms = tally.ms.toSorted((one, other) => one - other)

  let mostInFlight: number | undefined
  if (node === 'devnet') {
    say(`${name}: how many at once without a block`)
    await post('/faults/block-time', { ms: null })
    let taken = 0
    await inLanes(ready, async (order) => {
      if ((await execute(order))?.status === 200) taken += 1
    })
    mostInFlight = taken
  }
  return {
    node,
    answerMs,
    operators: OPERATORS,
    orders,
    connections: CONNECTIONS,
    executesPerSecond: (tally.taken / answeredMs) * 1_000,
    confirmedPerSecond: (confirmed / confirmedMs) * 1_000,
    p50Ms: quantile(ms, 0.5),
    p99Ms: quantile(ms, 0.99),
    cpuMicros: (cpuAfter - cpuBefore) / orders,
    postgresCpuMicros:
      postgresBefore === undefined || postgresAfter === undefined
        ? undefined
        : (postgresAfter - postgresBefore) / orders,
    toldToWait: tally.toldToWait,
    mostInFlight,
    unsettled: orders - confirmed,
  }
}

interface Ready {
  uuid: string
  apiKey: string
}

async function makeOrders(service: ServiceProcess, count: number): Promise<Ready[]> {
  const owners = await Promise.all(
    Array.from({ length: WALLETS }, async () => {
      const wallet = newWallet(service)
      await fund(service, wallet)
      const { apiKey } = await createKey(service, wallet, { permissions: ['execute'] })
      return { wallet, apiKey }
    }),
  )
  const ready: Ready[] = []
  await inLanes(
    Array.from({ length: count }, (_, at) => owners[at % owners.length] as (typeof owners)[number]),
    async ({ wallet, apiKey }) => {
      ready.push({ uuid: await createOrder(service, wallet), apiKey })
    },
  )
  return ready
}

async function inLanes<T>(all: readonly T[], work: (one: T) => Promise<void>): Promise<void> {
  const waiting = [...all]
  const lane = async () => {
    for (let one = waiting.pop(); one !== undefined; one = waiting.pop()) await work(one)
  }
  await Promise.all(Array.from({ length: CONNECTIONS }, lane))
}
