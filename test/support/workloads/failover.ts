import { randomUUID } from 'node:crypto'
import postgres from 'postgres'
import {
  type Chain,
  fundedOperator,
  type ServiceProcess,
  sharedEnv,
  startProcess,
} from '../process.ts'
import { createKey, newWallet } from '../wallet.ts'
import { type Lost, lostSuccesses, mismatches } from './ledger.ts'
import { type Heard, openLoad } from './load.ts'

/** Two servers of which the second one takes the place of the first. */
export interface FailoverServers {
  /** Names both servers. */
  databaseUrl: string
  /** Addresses without a database. */
  oldUrl: string
  newUrl: string
  /** Takes the primary away. */
  fail(): Promise<void>
  /** Resolves once the standby takes writes. */
  promote(): Promise<void>
  /** Lets the old primary return, where it can. */
  comeBack?(): Promise<void>
}

export interface Failover {
  requests: number
  /** Requests that got a success. */
  acknowledged: number
  /** Acknowledged successes that the new primary does not have, by what they were. */
  lost: Lost
  /** Requests with a key that were let through after the response to its revocation, which the new primary has. */
  wrong: number
  /** What contradicts what clients were told, or itself; what was lost is in there too. */
  mismatches: string[]
  /** Responses that the load should never get: 401, 429 and 500 among them. */
  unexpected: Record<string, number>
  /** From the promotion to the first success through each process that changed something. */
  secondsUntilBack: number
  /** From the promotion to the last 503. */
  secondsDisturbed: number
  /** Probes of readiness that said yes while no server had taken a write for a second, or no while all was well. */
  dishonestProbes: string[]
  /** Sessions of the service on the old primary at the end. */
  sessionsOnOld: string[]
  slowestMs: number
  died: string[]
}

export interface FailoverOptions {
  chain: Chain
  servers: FailoverServers
  /** How long the load runs after the promotion. */
  settleMs?: number
  lanes?: number
}

const EXPECTED = new Set(['ORDER_NOT_FOUND', 'PERMISSION_DENIED', 'UNAVAILABLE'])
const WARM_MS = 1_500
const PROBE_MS = 200
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** Fails a primary over to its standby, under the load of two processes that know both servers. */
export async function failOver({
  chain,
  servers,
  settleMs = 6_000,
  lanes = 16,
}: FailoverOptions): Promise<Failover> {
  const env = { ...sharedEnv(servers.databaseUrl, chain), MAX_ACTIVE_KEYS_PER_WALLET: '10000' }
  const start = async () =>
    startProcess({ ...env, OPERATOR_PRIVATE_KEY: await fundedOperator(chain) })
  const services = await Promise.all([start(), start()])
  const load = await openLoad(services[0] as ServiceProcess)
  const trading = load.run(() => services, lanes)
  const revocations = watchRevocations(services)
  const readiness = watchReadiness(services)
  await pause(WARM_MS)
  const failingAt = performance.now()
  await servers.fail()
  const failedAt = performance.now()
  await servers.promote()
  const promotedAt = performance.now()
  await pause(settleMs / 2)
  await servers.comeBack?.()
  await pause(settleMs)
  load.stop()
  await trading
  const [used, probes] = [await revocations.stop(), await readiness.stop()]
  const died: string[] = []
  for (const service of services) {
    const ended = service.ended()
    if (ended !== undefined) died.push(`${ended}: ${service.output().slice(-1_000)}`)
  }
  const { pathname } = new URL(servers.databaseUrl.replace(/,[^/]*/, ''))
  const sessionsOnOld = await sessionsAt(`${servers.oldUrl}/postgres`)
  await Promise.all(services.map((service) => service.stop()))
  const client = postgres(`${servers.newUrl}${pathname}`, { max: 1, onnotice: () => {} })
  try {
    const lost = await lostSuccesses(load.ledger, client)
    return {
      requests: load.heard.length,
      acknowledged: load.heard.filter(({ status }) => status !== undefined && status < 300).length,
      lost,
      wrong: await acceptedThough(used, client),
      mismatches: await mismatches(load.ledger, client),
      unexpected: unexpectedOf(load.heard),
      secondsUntilBack: firstSuccess(load.heard, services, promotedAt),
      secondsDisturbed: lastRefusal(load.heard, promotedAt),
      dishonestProbes: dishonest(probes, { failingAt, failedAt, promotedAt }),
      sessionsOnOld,
      slowestMs: Math.round(Math.max(...load.heard.map((one) => one.heardAt - one.sentAt))),
      died,
    }
  } finally {
    await client.end()
  }
}

interface Use {
  keyId: string
  /** Let through, and sent after the response to the revocation. */
  accepted: boolean
}

/** Grants keys, revokes them and goes on using them, on all processes. */
function watchRevocations(services: readonly ServiceProcess[]) {
  const uses: Use[] = []
  const revoked: { keyId: string; apiKey: string }[] = []
  let isOver = false
  async function use(
    { keyId, apiKey }: { keyId: string; apiKey: string },
    through: ServiceProcess,
  ) {
    const answer = await through.ask(`/orders/${randomUUID()}/execute`, {
      method: 'POST',
      key: apiKey,
    })
    const isRefused = [undefined, 401, 503].includes(answer?.status)
    uses.push({ keyId, accepted: !isRefused })
  }
  async function run(lane: number): Promise<void> {
    while (!isOver) {
      const through = services[lane % services.length] as ServiceProcess
      const wallet = newWallet(through)
      const key = await createKey(through, wallet).catch(() => undefined)
      if (key !== undefined) {
        const json = wallet.sign({ action: 'delete_api_key', keyId: key.keyId })
        const answer = await through.ask(`/api-keys/${key.keyId}`, { method: 'DELETE', json })
        if (answer?.status === 200) revoked.push(key)
        if (answer?.status === 200) await Promise.all(services.map((one) => use(key, one)))
      }
      const earlier = revoked[Math.floor(Math.random() * revoked.length)]
      if (earlier !== undefined) await Promise.all(services.map((one) => use(earlier, one)))
      else await pause(20)
    }
  }
  const lanes = [run(0), run(1)]
  return {
    async stop() {
      isOver = true
      await Promise.all(lanes)
      for (const key of revoked) await Promise.all(services.map((one) => use(key, one)))
      return uses
    },
  }
}

/** A revocation that was lost with the old primary is lost, and what its key does is no wrong yes of the service. */
async function acceptedThough(uses: readonly Use[], client: postgres.Sql): Promise<number> {
  const rows = await client`SELECT id FROM api_keys WHERE revoked_at IS NOT NULL`
  const revoked = new Set(rows.map(({ id }) => id as string))
  return uses.filter(({ keyId, accepted }) => accepted && revoked.has(keyId)).length
}

interface Probe {
  sentAt: number
  heardAt: number
  status: number | undefined
  reason: string | undefined
}

function watchReadiness(services: readonly ServiceProcess[]) {
  const probes: Probe[] = []
  let isOver = false
  const lanes = services.map(async (service) => {
    while (!isOver) {
      const sentAt = performance.now()
      const answer = await service.ask('/ready')
      const reason = answer?.body?.details?.reason
      probes.push({ sentAt, heardAt: performance.now(), status: answer?.status, reason })
      await pause(PROBE_MS)
    }
  })
  return {
    async stop() {
      isOver = true
      await Promise.all(lanes)
      return probes
    },
  }
}

/** The outcome of a check stands for a second. */
const PROBE_STANDS_MS = 1_200
/** After a promotion. */
const BACK_MS = 5_000

function dishonest(
  probes: readonly Probe[],
  { failingAt, failedAt, promotedAt }: Record<'failingAt' | 'failedAt' | 'promotedAt', number>,
): string[] {
  const since = (time: number) => `${Math.round(time - failedAt)} ms`
  return probes
    .filter(({ reason }) => reason !== 'chain')
    .filter(({ sentAt, heardAt, status }) =>
      status === 200
        ? sentAt > failedAt + PROBE_STANDS_MS && heardAt < promotedAt
        : heardAt < failingAt || sentAt > promotedAt + BACK_MS,
    )
    .map(
      ({ sentAt, heardAt, status, reason }) =>
        `${status} ${reason} ${since(sentAt)} to ${since(heardAt)}`,
    )
}

function unexpectedOf(heard: readonly Heard[]): Record<string, number> {
  const found: Record<string, number> = {}
  for (const { what, status, code } of heard) {
    if (status === undefined || status < 300 || EXPECTED.has(code ?? '')) continue
    const name = `${what} ${status} ${code}`
    found[name] = (found[name] ?? 0) + 1
  }
  return found
}

/** Infinity where a process had none. */
function firstSuccess(
  heard: readonly Heard[],
  services: readonly ServiceProcess[],
  promotedAt: number,
): number {
  const after = services.map((service) =>
    heard
      .filter((one) => one.through === service.port && one.heardAt > promotedAt)
      .filter(({ what, status }) => what !== 'list' && status !== undefined && status < 300)
      .reduce((first, { heardAt }) => Math.min(first, heardAt), Number.POSITIVE_INFINITY),
  )
  return Math.round((Math.max(...after) - promotedAt) / 10) / 100
}

function lastRefusal(heard: readonly Heard[], promotedAt: number): number {
  const late = heard.filter(({ status, heardAt }) => status === 503 && heardAt > promotedAt)
  const last = late.reduce((latest, { heardAt }) => Math.max(latest, heardAt), promotedAt)
  return Math.round((last - promotedAt) / 10) / 100
}

/**
 * Those of surveys have another name; a server that does not respond has none that is used. A session that waits for a standby has lost its
 * client, and does not notice.
 */
async function sessionsAt(url: string): Promise<string[]> {
  const client = postgres(url, { max: 1, onnotice: () => {}, connect_timeout: 2 })
  try {
    const found =
      await client`SELECT concat_ws(' ', state, wait_event, age(clock_timestamp(), backend_start),
        left(query, 60)) AS session FROM pg_stat_activity WHERE application_name = 'latchkey' AND wait_event IS DISTINCT FROM 'SyncRep'`
    return found.map(({ session }) => session as string)
  } catch {
    return []
  } finally {
    await client.end({ timeout: 0 })
  }
}
