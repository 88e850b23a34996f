import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { networkInterfaces } from 'node:os'
import { setTimeout as pause } from 'node:timers/promises'
import { Worker } from 'node:worker_threads'
import postgres from 'postgres'
import type { OwnPostgres } from '../postgres.ts'
import {
  type Chain,
  fundedOperator,
  type ServiceProcess,
  sharedEnv,
  startProcess,
} from '../process.ts'
import { createOrder, newWallet } from '../wallet.ts'
import type { Attacks, Targets } from './attackers.ts'
import { mismatches } from './ledger.ts'
import { type Heard, openLoad } from './load.ts'
import { RECOVERY_MS } from './outages.ts'

/** What honest bots saw of a service under attack, and what the attack cost it. */
export interface Abuse {
  requests: number
  /** Of the requests that met neither an outage nor a jump of the clock. */
  calm: number
  successRate: number
  p50Ms: number
  p99Ms: number
  slowestMs: number
  /** Answers that an honest request should not get, in calm and in disturbed times. */
  unexpectedInCalm: Record<string, number>
  unexpectedDisturbed: Record<string, number>
  outages: number
  clockJumps: number
  attacks: Attacks
  /** Connections that the service dropped, by reason. */
  drops: Record<string, number>
  /** Before and after, its garbage was collected. */
  rssMb: { before: number; peak: number; after: number }
  /** Live objects and buffers, after a collection. */
  liveMb: { before: number; after: number }
  files: { before: number; peak: number; after: number }
  mismatches: string[]
  /** Last words of a process that did not live through it. */
  died: string | undefined
}

const BOTS = 8
const REST_MS = 150
const EXPECTED = new Set(['ORDER_NOT_FOUND', 'PERMISSION_DENIED'])
/** What a request may also get that meets an outage or a jump of the clock: the signer's clock is another one then. */
const EXPECTED_DISTURBED = new Set(['UNAVAILABLE', 'EXPIRED_TIMESTAMP'])
const WARM_UP_MS = 5_000
/** Longer than the service waits for a client that does not read. */
const SETTLE_MS = 35_000
const DAY_MS = 86_400_000
const JUMPS_MS = [3_600_000, -3_600_000, DAY_MS, -600_000]

interface Span {
  from: number
  until: number
}

/** Attacks a process for a time, takes its database and its clock away meanwhile, and lets honest bots trade with it. */
export async function abuse({
  server,
  chain,
  seconds,
  onSecond = () => {},
}: {
  server: OwnPostgres
  chain: Chain
  seconds: number
  onSecond?: (text: string) => void
}): Promise<Abuse> {
  const databaseUrl = await server.freshDatabase()
  const service = await startProcess({
    ...sharedEnv(databaseUrl, chain),
    OPERATOR_PRIVATE_KEY: await fundedOperator(chain),
    MAX_ACTIVE_KEYS_PER_WALLET: '10000',
    IP_RATE_LIMIT_PER_MINUTE: '3000',
    HOST: '0.0.0.0',
  })
  const load = await openLoad(service)
  const uuid = await createOrder(service, newWallet(service))
  const trading = load.run(() => [service], BOTS, REST_MS)
  await pause(WARM_UP_MS)

  const liveBefore = await service.collect()
  const gauge = watchProcess(service)
  const attackers = startAttackers({
    host: outsideAddress() ?? '127.0.0.1',
    loopback: '127.0.0.1',
    port: service.port,
    uuid,
  })
  const disturbed: Span[] = []
  const until = performance.now() + seconds * 1_000
  const isOver = () => performance.now() >= until || service.ended() !== undefined
  const outages = breakRegularly(server, isOver, disturbed)
  const jumps = jumpRegularly(service, isOver, disturbed)
  while (!isOver()) {
    await pause(1_000)
    gauge.sample()
    const left = Math.round((until - performance.now()) / 1_000)
    onSecond(
      `${left} s left, ${load.heard.length} requests, ${gauge.rssMb.peak} MB, ${gauge.files.peak} files`,
    )
  }
  const attacks = await attackers.stop()
  const counts = { outages: await outages, clockJumps: await jumps }
  load.stop()
  await trading
  await pause(SETTLE_MS)
  const liveAfter = service.ended() === undefined ? await service.collect() : Number.NaN
  gauge.finish()
  const ended = service.ended()
  const died = ended === undefined ? undefined : `${ended}: ${service.output().slice(-1_000)}`
  await service.stop()
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const found = await mismatches(load.ledger, client)
  await client.end()
  const { rssMb, files, drops } = gauge
  const liveMb = { before: mb(liveBefore), after: mb(liveAfter) }
  return {
    ...judge(load.heard, disturbed),
    ...counts,
    attacks,
    drops,
    rssMb,
    liveMb,
    files,
    mismatches: found,
    died,
  }
}

function judge(heard: readonly Heard[], disturbed: readonly Span[]) {
  const isCalm = ({ sentAt, heardAt }: Heard) =>
    disturbed.every(({ from, until }) => heardAt < from || sentAt > until)
  const unexpectedInCalm: Record<string, number> = {}
  const unexpectedDisturbed: Record<string, number> = {}
  const times: number[] = []
  let succeeded = 0
  for (const one of heard) {
    const { what, status, code = '' } = one
    const calm = isCalm(one)
    const isExpected = status !== undefined && (status < 300 || EXPECTED.has(code))
    if (calm) times.push(one.heardAt - one.sentAt)
    if (calm && isExpected) succeeded++
    if (isExpected || (!calm && EXPECTED_DISTURBED.has(code))) continue
    const counts = calm ? unexpectedInCalm : unexpectedDisturbed
    const name = `${what} ${status} ${code}`
    counts[name] = (counts[name] ?? 0) + 1
  }
  times.sort((a, b) => a - b)
  const at = (share: number) => Math.round(times[Math.floor(times.length * share)] ?? Number.NaN)
  return {
    requests: heard.length,
    calm: times.length,
    successRate: succeeded / times.length,
    p50Ms: at(0.5),
    p99Ms: at(0.99),
    slowestMs: Math.round(times.at(-1) ?? Number.NaN),
    unexpectedInCalm,
    unexpectedDisturbed,
  }
}

/** Attackers have a thread of their own: the honest bots' times are not theirs. */
function startAttackers(targets: Targets): { stop(): Promise<Attacks> } {
  const worker = new Worker(new URL('attackers.ts', import.meta.url), { workerData: targets })
  return {
    async stop() {
      worker.postMessage('report')
      const [attacks] = await once(worker, 'message')
      await worker.terminate()
      return attacks
    },
  }
}

async function breakRegularly(
  server: OwnPostgres,
  isOver: () => boolean,
  disturbed: Span[],
): Promise<number> {
  const kinds = ['freeze', 'fast', 'immediate'] as const
  let outages = 0
  while (await rest(25_000, isOver)) {
    const from = performance.now()
    const span = { from, until: Number.POSITIVE_INFINITY }
    disturbed.push(span)
    const kind = kinds[outages % kinds.length]
    if (kind === 'freeze' || kind === undefined) {
      const thaw = server.freeze()
      await pause(3_000 + Math.random() * 7_000)
      thaw()
    } else {
      await server.stop(kind)
      await pause(1_000)
      await server.start()
    }
    span.until = performance.now() + RECOVERY_MS
    outages++
  }
  return outages
}

async function jumpRegularly(
  service: ServiceProcess,
  isOver: () => boolean,
  disturbed: Span[],
): Promise<number> {
  let jumps = 0
  while (await rest(17_000, isOver)) {
    const span = { from: performance.now(), until: Number.POSITIVE_INFINITY }
    disturbed.push(span)
    await service.setClock(Date.now() + (JUMPS_MS[jumps % JUMPS_MS.length] ?? 0))
    await pause(2_000)
    await service.setClock(undefined)
    span.until = performance.now() + 500
    jumps++
  }
  return jumps
}

/** Resolves after a time: false when it is over before. */
async function rest(ms: number, isOver: () => boolean): Promise<boolean> {
  const end = performance.now() + ms * (0.75 + Math.random() / 2)
  while (performance.now() < end && !isOver()) await pause(200)
  return !isOver()
}

const mb = (bytes: number) => Math.round(bytes / 1_048_576)

/** Memory, open files and dropped connections of a process. Linux only. */
function watchProcess(service: ServiceProcess) {
  const rss = () => {
    const [, kb] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${service.pid}/status`, 'utf8')) ?? []
    return Math.round(Number(kb) / 1_024)
  }
  const open = () => readdirSync(`/proc/${service.pid}/fd`).length
  const rssMb = { before: rss(), peak: rss(), after: Number.NaN }
  const files = { before: open(), peak: open(), after: Number.NaN }
  const drops: Record<string, number> = {}
  const seen = new Set<string>()
  function sample(): void {
    for (const line of service.output().split('\n')) {
      if (!line.includes('"connections_dropped"') || seen.has(line)) continue
      seen.add(line)
      const { reason, count } = JSON.parse(line)
      drops[reason] = (drops[reason] ?? 0) + count
    }
    if (service.ended() !== undefined) return
    rssMb.peak = Math.max(rssMb.peak, rss())
    files.peak = Math.max(files.peak, open())
  }
  return {
    rssMb,
    files,
    drops,
    sample,
    finish() {
      sample()
      if (service.ended() !== undefined) return
      rssMb.after = rss()
      files.after = open()
    },
  }
}

/** An address of this machine that is not loopback's. */
function outsideAddress(): string | undefined {
  return Object.values(networkInterfaces())
    .flatMap((all) => all ?? [])
    .find(({ family, internal }) => family === 'IPv4' && !internal)?.address
}
