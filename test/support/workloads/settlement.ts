import { setTimeout as pause } from 'node:timers/promises'
import { fileURLToPath } from 'node:url'
import { sql } from 'drizzle-orm'
import { rows } from '../../../src/db/database.ts'
import type { Fault } from '../../../src/devnet/faults.ts'
import { reconcile } from '../../../src/settlement/reconcile.ts'
import type { Settling } from '../../settlement/chain.ts'
import { GENEROUS, type ServiceProcess, startProcess } from '../process.ts'
import { createOrder } from '../wallet.ts'

const FAULT_POINT = fileURLToPath(new URL('../fault-point.ts', import.meta.url))
const SUBMIT = '/v2/transactions'

/** What a node does now and then; each of it leaves an acknowledged order to be confirmed all the same. */
const TROUBLE: readonly Fault[] = [
  { on: SUBMIT, do: 'hang-up-before', times: 1 },
  { on: SUBMIT, do: 'hang-up-after', times: 2 },
  { on: SUBMIT, do: 'delay', ms: 60, times: 3 },
  { on: SUBMIT, do: 'reject', reason: 'ServerFailureOther', times: 2 },
  { on: SUBMIT, do: 'reject', reason: 'TooMuchChaining', times: 1 },
  { on: SUBMIT, do: 'reject', reason: 'ConflictingNonceInMempool', times: 1 },
  { on: SUBMIT, do: 'reject', reason: 'NotEnoughFunds', times: 1 },
  { on: SUBMIT, do: 'drop', as: 'dropped_problematic', times: 1 },
  { on: SUBMIT, do: 'answer', status: 503, times: 2 },
  { on: '/extended/', do: 'answer', status: 503, times: 3 },
]

export interface Attempt {
  uuid: string
  /** Undefined when the connection broke first. */
  status: number | undefined
  txid: string | undefined
}

export interface Verdict {
  kills: number
  orders: number
  acknowledged: number
  confirmed: number
  /** Orders that have more than one transaction in blocks. */
  duplicates: string[]
  /** Acknowledged, and not confirmed. */
  lost: string[]
  /** Orders whose end is not what the chain says. */
  wrong: string[]
  unended: string[]
  /** Operators with a nonce that is missing, twice used, or still pending. */
  gaps: string[]
  /** Executions that the key's counters do not have, or have twice. */
  miscounted: number
}

/** Processes of one service that are killed; what they share, and what came of it. */
export function openCampaign(service: Settling, more: Record<string, string> = {}) {
  const env = {
    PORT: '0',
    DATABASE_URL: service.databaseUrl,
    STACKS_API_URL: service.chain.url,
    QUOTE_URL: `${service.chain.url}/quote`,
    ENCRYPTION_KEY: service.world.config.ENCRYPTION_KEY ?? '',
    OPERATOR_PRIVATE_KEYS: service.world.config.OPERATOR_PRIVATE_KEYS.join(','),
    NODE_TIMEOUT_MS: '2000',
    RECONCILE_INTERVAL_MS: '50',
    ...GENEROUS,
    ...more,
  }
  const attempts: Attempt[] = []
  const uuids: string[] = []
  let kills = 0

  /** Undefined when it was brought to its point by what others had left, before it listened. */
  const start = (faultPoint = '') =>
    startProcess({ ...env, FAULT_POINT: faultPoint }, FAULT_POINT).catch((error: Error) => {
      if (error.cause === 'SIGKILL') return undefined
      throw error
    })

  async function execute(target: ServiceProcess, uuid: string): Promise<Attempt> {
    const answer = await target.ask(`/orders/${uuid}/execute`, {
      method: 'POST',
      key: service.apiKey,
    })
    const attempt = { uuid, status: answer?.status, txid: answer?.body?.txid as string | undefined }
    attempts.push(attempt)
    return attempt
  }

  async function newOrders(count: number): Promise<string[]> {
    const made = await Promise.all(
      Array.from({ length: count }, () => createOrder(service, service.wallet)),
    )
    uuids.push(...made)
    return made
  }

  /** Starts a process that is to die at a point, gives it orders, and waits for its end. Answers whether it got there. */
  async function killAt(point: string, faults: Fault[] = [], orders = 3): Promise<boolean> {
    const made = await newOrders(orders)
    if (faults.length > 0) await service.chain.plan(...faults)
    const target = await start(point)
    if (target === undefined) {
      kills++
      return true
    }
    const answers = Promise.all(made.map((uuid) => execute(target, uuid)))
    // The leases of a process that was killed before stand for a while, and keep the steps of the reconciler from this one.
    for (let waited = 0; waited < 2_500 && target.ended() === undefined; waited++) await pause(20)
    const reached = target.ended() === 'SIGKILL'
    await target.kill()
    await answers
    kills++
    return reached
  }

  /** Lets processes work on orders, amid whatever the node does, and kills them at any moment. */
  async function killAtRandom(processes = 2, orders = 4): Promise<void> {
    const made = await newOrders(orders)
    const fault = TROUBLE[Math.floor(Math.random() * TROUBLE.length)]
    if (fault !== undefined) await service.chain.plan(fault)
    const targets = await Promise.all(Array.from({ length: processes }, () => start()))
    await Promise.all(
      targets.map(async (target) => {
        if (target === undefined) return
        const enough = Math.random() * (orders + 1)
        let answered = 0
        const goOn = new AbortController()
        const count = () => ++answered > enough && goOn.abort()
        const answers = Promise.all(made.map((uuid) => execute(target, uuid).then(count)))
        await pause(2_000, undefined, { signal: goOn.signal }).catch(() => {})
        await pause(Math.random() * 50)
        await target.kill()
        kills++
        await answers
      }),
    )
    await service.chain.clear()
  }

  /** Without any fault, everything ends: at the latest after the longest time between two looks, and a lease. */
  async function finish(patienceMs = 120_000): Promise<void> {
    await service.chain.clear()
    const until = Date.now() + patienceMs
    while (Date.now() < until && (await underWay()) > 0) {
      service.clock.now = Date.now()
      await reconcile(service.world)
      await pause(50)
    }
  }

  /** Once everything has ended: compares the chain with what was promised. */
  async function judge(): Promise<Verdict> {
    await finish()
    const onChain = (await service.onChain()).filter(({ height }) => height !== undefined)
    const states = await rows<{ uuid: string; status: string; txid: string | null }>(
      service.world.db,
      sql`SELECT uuid, status, txid FROM orders WHERE owner = ${service.wallet.address}`,
    )
    const acknowledged = new Set(
      attempts.filter(({ status = 0 }) => status < 300 && status >= 200).map(({ uuid }) => uuid),
    )
    const minedFor = (uuid: string) =>
      onChain.filter((one) => one.uuid === uuid && one.fn?.startsWith('x-swap-'))
    const hasAborted = (uuid: string) => minedFor(uuid).some(({ status }) => status !== 'success')
    const [usage] = await rows<{ executions: number; events: number }>(
      service.world.db,
      sql`SELECT execution_count::int AS executions, (SELECT count(*)::int FROM order_events
          WHERE status = 'broadcasted' AND details->>'reason' IS NULL) AS events
        FROM key_counters WHERE key_id = ${service.keyId}`,
    )
    return {
      kills,
      orders: uuids.length,
      acknowledged: acknowledged.size,
      confirmed: states.filter(({ status }) => status === 'confirmed').length,
      duplicates: uuids.filter((uuid) => minedFor(uuid).length > 1),
      lost: states
        .filter(
          ({ uuid, status }) =>
            acknowledged.has(uuid) &&
            status !== 'confirmed' &&
            !(status === 'failed' && hasAborted(uuid)),
        )
        .map(({ uuid, status }) => `${uuid} ${status}`),
      wrong: states
        .filter(({ uuid, status, txid }) => {
          const [mined] = minedFor(uuid)
          return status === 'confirmed'
            ? mined?.status !== 'success' || mined.txid !== txid
            : mined !== undefined && !(status === 'failed' && hasAborted(uuid))
        })
        .map(({ uuid, status }) => `${uuid} ${status}`),
      unended: states
        .filter(({ status }) => !['confirmed', 'failed', 'open'].includes(status))
        .map(({ uuid, status }) => `${uuid} ${status}`),
      gaps: await gaps(),
      miscounted: (usage?.events ?? 0) - (usage?.executions ?? 0),
    }
  }

  async function underWay(): Promise<number> {
    const [left] = await rows<{ n: number }>(
      service.world.db,
      sql`SELECT count(*)::int AS n FROM transactions WHERE status IN ('signed', 'accepted', 'outbid')`,
    )
    return left?.n ?? 0
  }

  async function gaps(): Promise<string[]> {
    const operators = await rows<{ address: string; next: number }>(
      service.world.db,
      sql`SELECT address, next_nonce::int AS next FROM operators`,
    )
    const found: string[] = []
    for (const { address, next } of operators) {
      const mined = (await service.chain.transactionsOf(address)).filter(({ height }) => height)
      const nonces = mined.map(({ nonce }) => nonce).sort((a, b) => a - b)
      if (nonces.length !== next || nonces.some((nonce, at) => nonce !== at))
        found.push(`${address}: next ${next}, mined ${nonces.join(' ')}`)
    }
    return found
  }

  return { start, execute, newOrders, killAt, killAtRandom, finish, judge, attempts }
}
