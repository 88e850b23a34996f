import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { cpus, tmpdir, totalmem } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { distributeDatabase, openDatabase } from '../../src/db/open.ts'
import { CITUS_URL } from '../support/citus.ts'
import { partitionTables } from '../support/partitions.ts'
import { hasPgBouncer, type PgBouncer, startPgBouncer } from '../support/pgbouncer.ts'
import { type Executes, measureExecutes } from './executes.ts'
import { seedKeys } from './keys.ts'
import type { Load, LoadGenerator } from './load.ts'
import { type Cell, takeTurn } from './measure.ts'
import { type Cluster, openCluster, type Postgres, startPostgres } from './postgres.ts'
import { type Remote, startRemote } from './remote.ts'
import { goalsOf, present, type Results } from './report.ts'
import type { Server } from './serve.ts'
import type { Signatures } from './signatures.ts'
import { makeKeysSign } from './signed.ts'
import { median } from './statistics.ts'
import { openWrk } from './wrk.ts'

const SIDES = [
  'empty',
  'headers',
  'map',
  'middleware',
  'gate',
  'signed',
  'partitioned',
  'citus',
  'pglite',
  'workerd-empty',
  'workerd-own',
  'workerd',
  'naive',
  'better-auth',
] as const
type SideName = (typeof SIDES)[number]
/** Those that are measured with many keys too. */
const SIDES_OF_MANY: readonly SideName[] = ['map', 'gate', 'naive']
/** Those that are the service, which runs with the flags of `npm start`. */
const SIDES_OF_SERVICE: readonly SideName[] = [
  'middleware',
  'gate',
  'signed',
  'partitioned',
  'citus',
  'pglite',
]
const START_FLAGS = ['--max-semi-space-size=16']
/** Those that wrk measures too, with few keys. */
const SIDES_OF_WRK: readonly SideName[] = ['empty', 'headers', 'middleware', 'gate', 'naive']
const SECTIONS = [...SIDES, 'wrk', 'memory', 'signatures', 'orders', 'executes', 'stub'] as const
type Section = (typeof SECTIONS)[number]

const USAGE = `npm run bench -- [options]
  --rounds N          turns that each side takes (3)
  --seconds S         length of a turn (1)
  --connections A,B   how many at once (1,64,256)
  --keys A,B          few keys and many (1000,1000000); one number leaves the many out
  --only A,B          of: ${SECTIONS.join(', ')}
  --json FILE         write down everything that was measured
  --cpu-prof FOLDER   write CPU profiles of the gate's servers
  TEST_CITUS_URL      a coordinator, for citus
  --quick             a smoke check: one short round, few keys; its figures mean nothing`

const SERVE = new URL('serve.ts', import.meta.url)
const SERVE_WORKERD = new URL('serve-workerd.ts', import.meta.url)
const LOAD = new URL('load.ts', import.meta.url)
const SIGNATURES = new URL('signatures.ts', import.meta.url)
const BUSY = 64
const PARTITIONS = Number(process.env.TEST_PARTITIONS ?? 8)
/** How many gate objects each side in workerd has, and what is called. */
const WORKERD: Partial<Record<SideName, [gateObjects: string, path: string]>> = {
  'workerd-empty': ['0', '/health'],
  'workerd-own': ['0', '/api/v1/bench'],
  workerd: ['4', '/api/v1/bench'],
}
/** More orders than a server creates in a second, to be signed ahead. */
const ORDERS_PER_SECOND = 5_000
/** The same of signed requests. */
const SIGNED_PER_SECOND = 10_000

interface Plan {
  rounds: number
  seconds: number
  warmSeconds: number
  connections: number[]
  /** Orders that are executed end to end. */
  executes: number
  only: ReadonlySet<Section>
  smallKeys: number
  /** The same as `smallKeys` when nothing is to be measured with many. */
  bigKeys: number
  json: string | undefined
  cpuProfile: string | undefined
}

interface Bench {
  plan: Plan
  postgres: Postgres
  /** Undefined without TEST_CITUS_URL. */
  cluster: Cluster | undefined
  /** The database of the cluster. */
  citusUrl: string | undefined
  /** Between workerd and Postgres, where it is installed. */
  pooler: PgBouncer | undefined
  load: LoadGenerator & Pick<Load, 'prepareKeys'>
  wrk: LoadGenerator | undefined
  folder: string
}

function readPlan(): Plan {
  const { values } = parseArgs({
    options: {
      rounds: { type: 'string' },
      seconds: { type: 'string' },
      connections: { type: 'string' },
      keys: { type: 'string' },
      only: { type: 'string' },
      json: { type: 'string' },
      'cpu-prof': { type: 'string' },
      quick: { type: 'boolean', default: false },
    },
  })
  const only = values.only?.split(',') ?? SECTIONS
  const unknown = only.find((name) => !SECTIONS.includes(name as Section))
  if (unknown !== undefined) throw new Error(`no such part: ${unknown}`)
  const { quick } = values
  const [smallKeys = 0, bigKeys = smallKeys] = numbers(
    values.keys ?? (quick ? '1000,20000' : '1000,1000000'),
  )
  return {
    rounds: numbers(values.rounds ?? (quick ? '1' : '3'))[0] as number,
    seconds: numbers(values.seconds ?? (quick ? '0.4' : '1'))[0] as number,
    warmSeconds: quick ? 0.1 : 0.3,
    connections: numbers(values.connections ?? (quick ? '1,64' : '1,64,256')),
    executes: quick ? 40 : 1_000,
    only: new Set(only as Section[]),
    smallKeys,
    bigKeys,
    json: values.json,
    cpuProfile: values['cpu-prof'],
  }
}

function numbers(text: string): number[] {
  const read = text.split(',').map(Number)
  if (read.every((number) => number > 0)) return read
  throw new Error(`not numbers above 0: ${text}`)
}

async function main(plan: Plan): Promise<void> {
  const begun = performance.now()
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-bench-'))
  const [postgres, load] = await Promise.all([startPostgres(), startRemote<Load>(LOAD)])
  const wrk = plan.only.has('wrk') ? await openWrk(folder, plan.smallKeys) : undefined
  await makeWorkerRole(postgres)
  const pooler = hasPgBouncer ? await startPooler(postgres) : undefined
  const cluster =
    CITUS_URL !== undefined && plan.only.has('citus') ? await openCluster(CITUS_URL) : undefined
  const citusUrl = await cluster?.database()
  const bench = {
    plan,
    postgres,
    cluster,
    citusUrl,
    pooler,
    load: generatorOf(load),
    wrk,
    folder,
  }
  try {
    await makeDatabases(bench)
    const results: Results = {
      memory: plan.only.has('memory') ? await measureMemory(bench) : undefined,
      cells: await measureSides(bench),
      orders: plan.only.has('orders') ? await measureOrders(bench) : [],
      executes: await measureExecutes(postgres, plan.executes, nodesOf(plan), say, plan.cpuProfile),
      signatures: plan.only.has('signatures') ? await measureSignatures(plan) : {},
      smallKeys: plan.smallKeys,
      bigKeys: plan.bigKeys,
    }
    const seconds = Math.round((performance.now() - begun) / 1000)
    const machine = machineOf(postgres)
    console.log(
      `\n${machine.cores} x ${machine.cpu}, Node ${machine.node}, Postgres ${machine.postgres}`,
    )
    console.log(
      `${plan.rounds} rounds of ${plan.seconds} s, medians; ${machine.date}, ${seconds} s\n`,
    )
    console.log(present(results))
    if (plan.json !== undefined) {
      const { only, ...options } = plan
      const written = { machine, seconds, options: { ...options, only: [...only] }, ...results }
      await writeFile(
        plan.json,
        `${JSON.stringify({ ...written, goals: goalsOf(results) }, null, 2)}\n`,
      )
    }
    const refused = [...results.cells, ...results.orders]
      .flatMap(({ samples }) => samples)
      .reduce((sum, sample) => sum + sample.refused, 0)
    const unsettled = results.executes.reduce((sum, one) => sum + one.unsettled, 0)
    if (unsettled > 0)
      throw new Error(`${unsettled} orders were not confirmed: nothing above counts`)
    if (refused > 0)
      throw new Error(`${refused} requests were not answered 2xx: nothing above counts`)
  } finally {
    await load.stop()
    await pooler?.stop()
    await postgres.stop()
    await rm(folder, { recursive: true, force: true })
  }
}

function generatorOf(load: Remote<Load>): Bench['load'] {
  return {
    prepareKeys: (count) => load.call('prepareKeys', count),
    begin: (target) => load.call('begin', target),
    measure: (seconds) => load.call('measure', seconds),
    end: () => load.call('end'),
  }
}

function machineOf({ version, settings }: Postgres) {
  return {
    date: new Date().toISOString(),
    cores: cpus().length,
    cpu: cpus()[0]?.model.trim() ?? '?',
    memoryGigabytes: Math.round(totalmem() / 1e9),
    platform: `${process.platform} ${process.arch}`,
    node: process.versions.node,
    postgres: version,
    postgresSettings: settings,
  }
}

/** The settings of docs/workers.md: without them each transaction of a worker carries its own. */
const WORKER_SETTINGS = [
  "TimeZone = 'UTC'",
  "statement_timeout = '3s'",
  "lock_timeout = '2s'",
  "idle_in_transaction_session_timeout = '5s'",
  "plan_cache_mode = 'force_generic_plan'",
  'enable_seqscan = off',
  'jit = off',
]

async function makeWorkerRole(postgres: Postgres): Promise<void> {
  await postgres.query("CREATE ROLE worker SUPERUSER LOGIN PASSWORD 'worker'")
  for (const setting of WORKER_SETTINGS) await postgres.query(`ALTER ROLE worker SET ${setting}`)
}

/**
 * Between workerd and Postgres, so that a session of a worker is none of Postgres. It pools sessions: before release 1.21 its
 * pooling by transaction has no prepared statements. So a new client costs Postgres a reset of the session.
 */
function startPooler(postgres: Postgres): Promise<PgBouncer> {
  const settings = {
    pool_mode: 'session',
    default_pool_size: 20,
    max_client_conn: 1_000,
    log_connections: 0,
    log_disconnections: 0,
  }
  return startPgBouncer(postgres.urlOf('postgres'), settings, { worker: 'worker' })
}

/** `gate` and `naive` share the databases: the same table in the same state. */
async function makeDatabases({ plan, postgres, citusUrl, load }: Bench): Promise<void> {
  say('making keys')
  await postgres.query('CREATE DATABASE better_auth')
  const counts = new Set(needsMany(plan) ? [plan.smallKeys, plan.bigKeys] : [plan.smallKeys])
  for (const count of counts) {
    await postgres.query(`CREATE DATABASE keys_${count}`)
    await fill(postgres.urlOf(`keys_${count}`), count)
    await postgres.vacuum(`keys_${count}`)
  }
  if (plan.only.has('partitioned')) {
    await postgres.query('CREATE DATABASE partitioned')
    await fill(postgres.urlOf('partitioned'), plan.smallKeys, (url) =>
      partitionTables(url, PARTITIONS),
    )
    await postgres.vacuum('partitioned')
  }
  if (plan.only.has('signed')) {
    await postgres.query('CREATE DATABASE signed')
    await fill(postgres.urlOf('signed'), plan.smallKeys)
    const { db, close } = await openDatabase(postgres.urlOf('signed'))
    await makeKeysSign(db)
    await close()
    await postgres.vacuum('signed')
  }
  if (citusUrl !== undefined) {
    await fill(citusUrl, plan.smallKeys, (url) => distributeDatabase(url, { onStep: () => {} }))
    const { db, close } = await openDatabase(citusUrl)
    await db.execute('VACUUM ANALYZE')
    await close()
  }
  await load.prepareKeys(Math.max(...counts))
}

async function fill(
  url: string,
  keys: number,
  distribute: (url: string) => Promise<unknown> = async () => {},
): Promise<void> {
  const { db, close } = await openDatabase(url)
  await seedKeys(db, keys)
  await close()
  await distribute(url)
}

/** `executes` are measured on both nodes, `stub` on the stub alone. */
function nodesOf({ only }: Plan): Executes['node'][] {
  if (only.has('executes')) return ['stub', 'devnet']
  return only.has('stub') ? ['stub'] : []
}

function needsMany({ only }: Plan): boolean {
  return only.has('memory') || SIDES_OF_MANY.some((side) => only.has(side))
}

function startServer(bench: Bench, side: SideName, keys: number): Promise<Remote<Server>> {
  const { postgres, pooler, folder, plan } = bench
  const worker = WORKERD[side]
  if (worker !== undefined) {
    const direct = postgres.urlOf(`keys_${keys}`).replace('postgres:postgres', 'worker:worker')
    return startRemote<Server>(SERVE_WORKERD, [pooler?.through(direct) ?? direct, ...worker])
  }
  const profile = plan.cpuProfile !== undefined && side === 'gate'
  const urls: Partial<Record<SideName, string | undefined>> = {
    pglite: `pglite:${join(folder, `${side}_${keys}`)}`,
    'better-auth': postgres.urlOf('better_auth'),
    signed: postgres.urlOf('signed'),
    partitioned: postgres.urlOf('partitioned'),
    citus: bench.citusUrl,
  }
  const url = urls[side] ?? postgres.urlOf(`keys_${keys}`)
  const flags = profile ? ['--cpu-prof', '--cpu-prof-dir', plan.cpuProfile as string] : []
  if (SIDES_OF_SERVICE.includes(side)) flags.push(...START_FLAGS)
  return startRemote<Server>(SERVE, [side, String(keys), url], flags)
}

/** Touches every key once, and looks at the server's memory meanwhile. Comes first: it also brings the table to life. */
async function measureMemory(bench: Bench): Promise<Results['memory']> {
  const { load, plan } = bench
  say(`touching ${plan.bigKeys} keys once`)
  const server = await startServer(bench, 'gate', plan.bigKeys)
  const address = await server.call('address')
  const rssMegabytes = async () => (await server.call('usage')).rssBytes / 1e6
  const beforeMegabytes = await rssMegabytes()
  let mostMegabytes = beforeMegabytes
  const watch = setInterval(async () => {
    mostMegabytes = Math.max(mostMegabytes, await rssMegabytes())
  }, 250)
  const send = { what: 'gets', keys: plan.bigKeys, order: 'each once' } as const
  await load.begin({ ...address, connections: 256, warmSeconds: 0, send })
  const { seconds, refused } = await load.measure(600)
  await load.end()
  clearInterval(watch)
  if (Object.keys(refused).length > 0) throw new Error(`refused: ${JSON.stringify(refused)}`)
  const afterMegabytes = await rssMegabytes()
  mostMegabytes = Math.max(mostMegabytes, afterMegabytes)
  await server.stop()
  return { keys: plan.bigKeys, beforeMegabytes, mostMegabytes, afterMegabytes, seconds }
}

interface Entrant {
  side: SideName
  keys: number
  server: Remote<Server>
}

async function measureSides(bench: Bench): Promise<Cell[]> {
  const { plan } = bench
  const chosen = SIDES.filter(
    (side) => plan.only.has(side) && (side !== 'citus' || bench.cluster !== undefined),
  )
  const entrants: Entrant[] = []
  for (const keys of new Set([plan.smallKeys, plan.bigKeys]))
    for (const side of chosen)
      if (keys === plan.smallKeys || SIDES_OF_MANY.includes(side)) {
        say(`starting ${side} with ${keys} keys`)
        entrants.push({ side, keys, server: await startServer(bench, side, keys) })
      }
  const generators = bench.wrk === undefined ? (['node'] as const) : (['node', 'wrk'] as const)
  const takesPart = ({ side, keys }: Entrant, connections: number, generator: Cell['generator']) =>
    isFor(side, connections) &&
    (generator === 'node' || (keys === plan.smallKeys && SIDES_OF_WRK.includes(side)))
  const cells: Cell[] = entrants.flatMap((entrant) =>
    generators.flatMap((generator) =>
      plan.connections
        .filter((connections) => takesPart(entrant, connections, generator))
        .map((connections) => {
          const { side, keys } = entrant
          return { side, keys, connections, generator, samples: [] }
        }),
    ),
  )
  const turn = (
    { side, server, keys }: Entrant,
    connections: number,
    warmSeconds: number,
    load = bench.load as LoadGenerator,
  ) => {
    const count = Math.ceil((plan.seconds + warmSeconds) * SIGNED_PER_SECOND)
    const send =
      side === 'signed'
        ? ({ what: 'signed gets', keys, count } as const)
        : ({ what: 'gets', keys, order: 'random' } as const)
    const measured = side === 'citus' ? bench.cluster : undefined
    return takeTurn(
      { postgres: measured ?? bench.postgres, load },
      server,
      { connections, warmSeconds, send },
      plan.seconds,
    )
  }

  for (const entrant of entrants) await turn(entrant, BUSY, 4 * plan.warmSeconds)
  for (let round = 0; round < plan.rounds; round++)
    for (const generator of generators)
      for (const connections of plan.connections) {
        say(`round ${round + 1} of ${plan.rounds}, ${connections} connections by ${generator}`)
        // Another one begins each time, so that no side always comes after the same one.
        for (const [at] of entrants.entries()) {
          const entrant = entrants[(at + round) % entrants.length] as Entrant
          if (!takesPart(entrant, connections, generator)) continue
          const load = generator === 'wrk' ? bench.wrk : bench.load
          const { requests: _, ...sample } = await turn(
            entrant,
            connections,
            plan.warmSeconds,
            load,
          )
          cells
            .find(
              (cell) =>
                cell.generator === generator && isOf(cell, entrant.side, entrant.keys, connections),
            )
            ?.samples.push(sample)
        }
      }
  await Promise.all(entrants.map(({ server }) => server.stop()))
  return cells
}

/** A worker may take a session of Postgres for each request, and there are not that many. */
function isFor(side: SideName, connections: number): boolean {
  return WORKERD[side] === undefined || connections <= BUSY
}

function isOf(cell: Cell, side: string, keys: number, connections: number): boolean {
  return cell.side === side && cell.keys === keys && cell.connections === connections
}

async function measureOrders(bench: Bench): Promise<Cell[]> {
  const { plan } = bench
  const server = await startServer(bench, 'gate', plan.smallKeys)
  const count = Math.ceil((plan.seconds + plan.warmSeconds) * ORDERS_PER_SECOND)
  const cells = [false, true].map((byKey) => ({
    side: byKey ? 'POST /orders/new by key' : 'POST /orders/new',
    keys: plan.smallKeys,
    connections: BUSY,
    generator: 'node' as const,
    samples: [] as Cell['samples'],
    byKey,
  }))
  for (let round = 0; round < plan.rounds; round++)
    for (const { byKey, connections, samples } of cells) {
      say(`orders ${byKey ? 'by key' : 'without a key'}, round ${round + 1} of ${plan.rounds}`)
      const send = { what: 'orders', count, byKey } as const
      const target = { connections, warmSeconds: plan.warmSeconds, send }
      const { requests: _, ...sample } = await takeTurn(bench, server, target, plan.seconds)
      samples.push(sample)
    }
  await server.stop()
  return cells.map(({ byKey: _, ...cell }) => cell)
}

async function measureSignatures({ rounds, seconds, warmSeconds }: Plan) {
  const signatures = await startRemote<Signatures>(SIGNATURES)
  const names = await signatures.call('names')
  for (const name of names) await signatures.call('measure', name, warmSeconds)
  const rates = new Map<string, number[]>(names.map((name) => [name, []]))
  for (let round = 0; round < rounds; round++) {
    say(`signatures, round ${round + 1} of ${rounds}`)
    for (const [name, measured] of rates)
      measured.push(await signatures.call('measure', name, seconds / 2))
  }
  await signatures.stop()
  return Object.fromEntries([...rates].map(([name, measured]) => [name, median(measured)]))
}

function say(what: string): void {
  process.stderr.write(`${what}\n`)
}

try {
  await main(readPlan())
  process.exit()
} catch (error) {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n\n${USAGE}\n`)
  // Whatever was started ends with this process.
  process.exit(1)
}
