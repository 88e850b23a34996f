import postgres from 'postgres'
import {
  type Chain,
  fundedOperator,
  type ServiceProcess,
  sharedEnv,
  startProcess,
} from '../process.ts'
import { mismatches } from './ledger.ts'
import { openLoad } from './load.ts'

export interface Kills {
  kills: number
  /** Requests, and how many of them got no answer. */
  requests: number
  lost: number
  /** Answers that no request of the load should get, by status and code. */
  unexpected: Record<string, number>
  mismatches: string[]
  deadlocks: number
  slowestMs: number
  orders: number
}

/** Answers that a request of the load may get while services die and come back. */
const EXPECTED = new Set(['ORDER_NOT_FOUND', 'PERMISSION_DENIED'])
/** Callers at once: enough to have something of every kind under way. */
const LANES = 16

/**
 * Two processes serve one database. One of them is killed at random moments, again and again, while the other goes on.
 * Each that takes its place signs for an operator of its own: the nonces that a dead one left out are another story.
 */
export async function killUnderLoad({
  databaseUrl,
  chain,
  kills,
  onKill = () => {},
}: {
  databaseUrl: string
  chain: Chain
  kills: number
  onKill?: (kills: number, requests: number) => void
}): Promise<Kills> {
  const env = { ...sharedEnv(databaseUrl, chain), MAX_ACTIVE_KEYS_PER_WALLET: '10000' }
  const start = async () =>
    startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
  const survivor = await start()
  const load = await openLoad(survivor)
  let victim: ServiceProcess | undefined
  const trading = load.run(
    () => (victim === undefined ? [survivor] : [survivor, victim, victim]),
    LANES,
  )
  for (let kill = 1; kill <= kills; kill++) {
    victim = await start()
    await new Promise((resolve) => setTimeout(resolve, 50 + Math.random() * 1_200))
    await victim.kill()
    victim = undefined
    onKill(kill, load.heard.length)
  }
  load.stop()
  await trading
  const ended = survivor.ended()
  await survivor.stop()

  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const found = await mismatches(load.ledger, client)
  if (ended !== undefined) found.push(`the process that nobody killed ended with ${ended}`)
  const [counted] = await client`SELECT deadlocks::int, (SELECT count(*)::int FROM orders) AS orders
    FROM pg_stat_database WHERE datname = current_database()`
  await client.end()
  const unexpected: Record<string, number> = {}
  for (const { what, status, code } of load.heard) {
    if (status === undefined || status < 300 || EXPECTED.has(code ?? '')) continue
    const name = `${what} ${status} ${code}`
    unexpected[name] = (unexpected[name] ?? 0) + 1
  }
  return {
    kills,
    requests: load.heard.length,
    lost: load.heard.filter(({ status }) => status === undefined).length,
    unexpected,
    mismatches: found,
    deadlocks: counted?.deadlocks,
    slowestMs: Math.round(Math.max(...load.heard.map(({ sentAt, heardAt }) => heardAt - sentAt))),
    orders: counted?.orders,
  }
}
