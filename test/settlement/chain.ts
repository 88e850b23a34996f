import { sql } from 'drizzle-orm'
import { rows } from '../../src/db/database.ts'
import type { Fault } from '../../src/devnet/faults.ts'
import { startDevnetProcess } from '../../src/node/devnet.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import { fundedOperator } from '../support/process.ts'
import { type Engine, type Service, type ServiceOptions, startService } from '../support/service.ts'
import { createKey, fund, newWallet, type Wallet } from '../support/wallet.ts'

/** A devnet of one's own, for what would disturb others. */
export interface OwnChain {
  url: string
  plan(...faults: Fault[]): Promise<void>
  clear(): Promise<void>
  /** null: only when `mine` says so. */
  blockTime(ms: number | null): Promise<void>
  mine(): Promise<void>
  reorganise(txid: string, to: 'mempool' | 'nowhere' | 'microblock'): Promise<void>
  /** What a node estimates, and the least it takes, in micro-STX a byte. */
  feeRate(rates: { estimate?: number; minimum?: number }): Promise<void>
  drop(txid: string, as: string): Promise<void>
  transactionsOf(address: string): Promise<OnChain[]>
  newOperator(): Promise<string>
  stop(): Promise<void>
}

/** A transaction as the chain has it. */
export interface OnChain {
  txid: string
  nonce: number
  fee: string
  status: string
  uuid?: string
  fn?: string
  height?: number
}

export async function startOwnChain(): Promise<OwnChain> {
  const { url, stop } = await startDevnetProcess()
  const post = async (path: string, body: unknown) => {
    const response = await fetch(`${url}${path}`, {
      method: 'POST',
      headers: { 'Content-Type': 'application/json' },
      body: JSON.stringify(body),
    })
    if (!response.ok) throw new Error(`${path}: ${await response.text()}`)
  }
  return {
    url,
    plan: (...faults) => post('/faults', faults),
    clear: async () => void (await fetch(`${url}/faults`, { method: 'DELETE' })),
    blockTime: (ms) => post('/faults/block-time', { ms }),
    mine: () => post('/faults/mine', {}),
    reorganise: (txid, to) => post('/faults/reorganise', { txid, to }),
    feeRate: (rates) => post('/faults/fee-rate', rates),
    drop: (txid, as) => post('/faults/drop', { txid, as }),
    transactionsOf: async (address) =>
      (await (await fetch(`${url}/transactions/${address}`)).json()) as OnChain[],
    newOperator: () => fundedOperator({ devnetUrl: url }),
    stop,
  }
}

/** A service on a chain of one's own, with a wallet that has a key and can pay, and operators of its own. */
export interface Settling extends Service {
  chain: OwnChain
  wallet: Wallet
  apiKey: string
  keyId: string
  /** By default with the key of `wallet`. */
  execute(uuid: string, apiKey?: string): Promise<{ status: number; body: Record<string, unknown> }>
  order(uuid: string): Promise<Record<string, unknown>>
  /** Runs the reconciler, its clock going on between the passes, until the order has this status. */
  until(uuid: string, status: string, passes?: number): Promise<Record<string, unknown>>
  pass(aheadMs?: number): Promise<void>
  events(uuid: string): Promise<string[]>
  /** All that the operators have on chain, by nonce. */
  onChain(): Promise<OnChain[]>
  stored(): Promise<Record<string, unknown>[]>
}

export async function startSettling(
  chain: OwnChain,
  {
    engine = 'PGlite',
    operators = 1,
    ...options
  }: ServiceOptions & { engine?: Engine; operators?: number } = {},
): Promise<Settling> {
  const keys: string[] = []
  while (keys.length < operators) keys.push(await chain.newOperator())
  const service = await startService(engine, {
    ...options,
    env: {
      STACKS_API_URL: chain.url,
      QUOTE_URL: `${chain.url}/quote`,
      OPERATOR_PRIVATE_KEY: '',
      OPERATOR_PRIVATE_KEYS: keys.join(','),
      RATE_LIMIT_PER_MINUTE: '1000000',
      RATE_LIMIT_PER_HOUR: '1000000',
      RATE_LIMIT_PER_DAY: '1000000',
      ...options.env,
    },
  })
  const wallet = newWallet(service)
  await fund(service, wallet)
  const { apiKey, keyId } = await createKey(service, wallet)
  const order: Settling['order'] = async (uuid) => {
    const response = await service.call(`/orders/${uuid}`)
    return ((await response.json()) as { data: Record<string, unknown> }).data
  }
  const pass = async (aheadMs = 0) => {
    service.clock.now += aheadMs
    await reconcile(service.world)
  }
  return {
    ...service,
    chain,
    wallet,
    apiKey,
    keyId,
    order,
    pass,
    async execute(uuid, key = apiKey) {
      const response = await service.call(`/orders/${uuid}/execute`, {
        method: 'POST',
        headers: { 'X-API-Key': key },
      })
      return { status: response.status, body: (await response.json()) as Record<string, unknown> }
    },
    async until(uuid, status, passes = 30) {
      for (let made = 0; made < passes; made++) {
        const seen = await order(uuid)
        if (seen.status === status) return seen
        await pass(20_000)
      }
      const seen = await order(uuid)
      if (seen.status === status) return seen
      throw new Error(`${uuid} is ${seen.status} after ${passes} passes, not ${status}`)
    },
    async events(uuid) {
      const found = await rows<{ status: string }>(
        service.world.db,
        sql`SELECT status FROM order_events WHERE order_uuid = ${uuid} ORDER BY id`,
      )
      return found.map((event) => event.status)
    },
    async onChain() {
      const all = service.world.operators.all.map(({ address }) => chain.transactionsOf(address))
      return (await Promise.all(all)).flat().toSorted((a, b) => a.nonce - b.nonce)
    },
    stored: () =>
      rows(
        service.world.db,
        sql`SELECT txid, order_uuid, kind, nonce::int, fee_in_micro_stx::int AS fee, status, reason FROM transactions
          ORDER BY operator, nonce, fee_in_micro_stx`,
      ),
  }
}
