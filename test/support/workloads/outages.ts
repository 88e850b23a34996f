import postgres, { type Sql } from 'postgres'
import type { OwnPostgres } from '../postgres.ts'
import {
  type Chain,
  fundedOperator,
  type ServiceProcess,
  sharedEnv,
  startProcess,
} from '../process.ts'
import { mismatches } from './ledger.ts'
import { type Heard, type Load, openLoad } from './load.ts'

/** How the database goes away: as an operator, a machine and the kernel end it, or all its processes stand still. */
export type Outage = 'fast' | 'immediate' | 'kill' | 'freeze'
export const OUTAGES: readonly Outage[] = ['fast', 'immediate', 'kill', 'freeze']

/** A service is back to normal so soon after its database is. */
export const RECOVERY_MS = 2_000

export interface Outages {
  outages: number
  requests: number
  /** Requests that were asked and answered while nobody could say. */
  whileDown: number
  /** Answers while down that were not 503 UNAVAILABLE with Retry-After. */
  wrongWhileDown: Record<string, number>
  /** Answers of whatever time that the load should never get: 401, 429 and 500 among them. */
  unexpected: Record<string, number>
  /** 503s to requests that were sent later than `RECOVERY_MS` after the database's return. */
  lateRefusals: number
  /** The last 503 of an outage, in milliseconds after the database's return. */
  slowestRecoveryMs: number
  /** Requests that waited longer than their waits for the database add up to. */
  tooLong: string[]
  /** Server connections of the service, at most: before an outage, after one, and as many as its pools may have. */
  connectionsBefore: number
  connectionsAfter: number
  connectionsAllowed: number
  mismatches: string[]
  /** Last words of processes that did not live through it. */
  died: string[]
}

/** One wait for the database is given up after 3.3 s. */
const LONGEST_MS = 5_000
/** An execute waits for the gate, for its claim and for the record of its result, and for the chain in between. */
const LONGEST_EXECUTE_MS = 3 * LONGEST_MS

const EXPECTED = new Set(['ORDER_NOT_FOUND', 'PERMISSION_DENIED', 'UNAVAILABLE'])
const LANES = 24
const CONNECTIONS_PER_PROCESS = 10
/** Longer than any patience of the service. */
const FREEZE_MS = 12_000
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Takes the database away from two processes under load, and gives it back. */
export async function breakDatabase({
  server,
  chain,
  outages,
  onOutage = () => {},
}: {
  server: OwnPostgres
  chain: Chain
  outages: readonly Outage[]
  onOutage?: (tally: Outages, outage: Outage) => void
}): Promise<Outages> {
  const databaseUrl = await server.freshDatabase()
  const env = { ...sharedEnv(databaseUrl, chain), MAX_ACTIVE_KEYS_PER_WALLET: '10000' }
  const start = async () =>
    startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
  const services = await Promise.all([start(), start()])
  const load = await openLoad(services[0] as ServiceProcess)
  const trading = load.run(() => services, LANES)
  const tally: Outages = {
    outages: 0,
    requests: 0,
    whileDown: 0,
    wrongWhileDown: {},
    unexpected: {},
    lateRefusals: 0,
    slowestRecoveryMs: 0,
    tooLong: [],
    connectionsBefore: 0,
    connectionsAfter: 0,
    connectionsAllowed: services.length * CONNECTIONS_PER_PROCESS,
    mismatches: [],
    died: [],
  }
  await pause(1_000)
  for (const outage of outages) {
    tally.connectionsBefore = Math.max(tally.connectionsBefore, await connectionsTo(databaseUrl))
    const { downAt, returning, upAt } = await suffer(server, outage)
    await pause(RECOVERY_MS + 500)
    tally.connectionsAfter = Math.max(tally.connectionsAfter, await connectionsTo(databaseUrl))
    judge(load, { outage, downAt, returning, upAt }, tally)
    onOutage(tally, outage)
  }
  load.stop()
  await trading
  tally.requests = load.heard.length
  for (const { ms, longestMs, name, told } of load.heard.map(described)) {
    if (ms > longestMs) tally.tooLong.push(told)
    if (name !== undefined) tally.unexpected[name] = (tally.unexpected[name] ?? 0) + 1
  }
  for (const service of services) {
    const ended = service.ended()
    if (ended !== undefined) tally.died.push(`${ended}: ${service.output().slice(-1_000)}`)
    await service.stop()
  }
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  tally.mismatches.push(...(await mismatches(load.ledger, client)))
  await client.end()
  return tally
}

async function suffer(server: OwnPostgres, outage: Outage) {
  const down = 500 + Math.random() * 500
  if (outage === 'freeze') {
    const thaw = server.freeze()
    const downAt = performance.now()
    await pause(FREEZE_MS + down)
    const returning = performance.now()
    thaw()
    return { downAt, returning, upAt: returning }
  }
  await server.stop(outage)
  const downAt = performance.now()
  await pause(down)
  const returning = performance.now()
  await server.start()
  return { downAt, returning, upAt: performance.now() }
}

interface Times {
  outage: Outage
  downAt: number
  returning: number
  upAt: number
}

function judge({ heard }: Load, { downAt, returning, upAt }: Times, tally: Outages): void {
  tally.outages++
  for (const one of heard) {
    if (one.sentAt >= downAt && one.heardAt < returning) {
      tally.whileDown++
      if (one.status === 503 && one.code === 'UNAVAILABLE' && Number(one.retryAfter) >= 1) continue
      const what = `${one.what} ${one.status} ${one.code} Retry-After ${one.retryAfter}`
      tally.wrongWhileDown[what] = (tally.wrongWhileDown[what] ?? 0) + 1
    }
    if (one.heardAt < upAt || one.status !== 503) continue
    if (one.sentAt > upAt + RECOVERY_MS) tally.lateRefusals++
    tally.slowestRecoveryMs = Math.max(tally.slowestRecoveryMs, Math.round(one.heardAt - upAt))
  }
}

function described({ what, sentAt, heardAt, status, code }: Heard) {
  const isExpected = status !== undefined && (status < 300 || EXPECTED.has(code ?? ''))
  const name = isExpected ? undefined : `${what} ${status} ${code}`
  const ms = Math.round(heardAt - sentAt)
  return {
    ms,
    longestMs: what === 'execute' ? LONGEST_EXECUTE_MS : LONGEST_MS,
    name,
    told: `${what} ${status} ${code} after ${ms} ms, sent at ${Math.round(sentAt)}`,
  }
}

/** The service's connections, as the server sees them. */
async function connectionsTo(databaseUrl: string): Promise<number> {
  const client: Sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const [found] = await client`SELECT count(*)::int AS connections FROM pg_stat_activity
    WHERE datname = current_database() AND application_name = 'latchkey'`
  await client.end()
  return found?.connections
}
