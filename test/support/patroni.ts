import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  chownSync,
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { freePort, freshDatabaseAt, newFolder, unprivileged } from './postgres.ts'

/** Two servers of Debian's Postgres under Patroni, with an etcd of their own. */
export interface PatroniCluster {
  leader: PatroniMember
  standby: PatroniMember
  /** A new database; its address names both servers. */
  freshDatabase(): Promise<string>
  /** Makes the standby the leader, as an operator does for maintenance. */
  switchOver(): void
  close(): Promise<void>
}

export interface PatroniMember {
  name: string
  /** Without a database. */
  url: string
  /** Resolves once it leads. */
  leads(): Promise<void>
  /** Ends Patroni and Postgres at once, as the loss of the machine does. */
  kill(): Promise<void>
  /** All its processes stand still; returns how to let them go on. */
  freeze(): () => void
}

const DEBIAN_POSTGRES = '/usr/lib/postgresql'
const POLL_MS = 20
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** What Patroni's part needs and this machine lacks, as a sentence; undefined where there is all of it. */
export function missingForPatroni(): string | undefined {
  const found = (name: string) =>
    (process.env.PATH ?? '').split(':').some((folder) => existsSync(join(folder, name)))
  const missing = ['patroni', 'etcd'].filter((name) => !found(name))
  if (binaries() === undefined) missing.push('postgresql')
  if (missing.length === 0) return undefined
  return `Patroni is not tried: ${missing.join(', ')} not installed (Debian: apt install patroni etcd-server postgresql)`
}

/** The newest version that Debian has installed. */
function binaries(): string | undefined {
  const versions = existsSync(DEBIAN_POSTGRES) ? readdirSync(DEBIAN_POSTGRES) : []
  const newest = versions.map(Number).sort((one, other) => other - one)[0]
  const folder = join(DEBIAN_POSTGRES, String(newest), 'bin')
  return existsSync(join(folder, 'initdb')) ? folder : undefined
}

export async function startPatroni({
  isSynchronous,
}: {
  isSynchronous: boolean
}): Promise<PatroniCluster> {
  const folder = newFolder()
  const user = unprivileged()
  const children: ChildProcess[] = []
  const env = { PATH: process.env.PATH, HOME: folder, LC_ALL: 'C', ETCD_UNSUPPORTED_ARCH: 'arm64' }
  const run = (program: string, given: string[]) => {
    const child = spawn(program, given, {
      ...user,
      cwd: folder,
      env,
      stdio: ['ignore', 'pipe', 'pipe'],
    })
    children.push(child)
    return child
  }

  const [clients, peers] = [await freePort(), await freePort()]
  const at = (port: number) => `http://127.0.0.1:${port}`
  const etcdFiles = join(folder, 'etcd')
  mkdirSync(etcdFiles)
  if (user !== undefined) chownSync(etcdFiles, user.uid, user.gid)
  chmodSync(etcdFiles, 0o700)
  run('etcd', [
    ...['--data-dir', etcdFiles, '--initial-cluster', `default=${at(peers)}`],
    ...['--listen-client-urls', at(clients), '--advertise-client-urls', at(clients)],
    ...['--listen-peer-urls', at(peers), '--initial-advertise-peer-urls', at(peers)],
  ])
  while (!(await responds(`${at(clients)}/health`))) await pause(POLL_MS)

  async function start(name: string): Promise<PatroniMember & { pid: number }> {
    const [port, rest] = [await freePort(), await freePort()]
    const file = join(folder, `${name}.yml`)
    writeFileSync(file, configuration({ name, folder, port, rest, etcd: clients, isSynchronous }))
    const child = run('patroni', [file])
    let said = ''
    for (const stream of [child.stdout, child.stderr])
      stream?.on('data', (chunk) => {
        said = (said + chunk).slice(-4_000)
      })
    const pid = child.pid as number
    const until = async (path: string) => {
      while (!(await responds(`${at(rest)}${path}`))) {
        if (child.exitCode !== null) throw new Error(`Patroni ended:\n${said}`)
        await pause(POLL_MS)
      }
    }
    await until(name === LEADER ? '/primary' : '/replica')
    return {
      name,
      pid,
      url: `postgres://postgres:postgres@127.0.0.1:${port}`,
      leads: () => until('/primary'),
      async kill() {
        const exit = once(child, 'exit')
        for (const one of processesUnder(pid, join(folder, name))) signal(one, 'SIGKILL')
        await exit
      },
      freeze() {
        const all = processesUnder(pid, join(folder, name))
        for (const one of all) signal(one, 'SIGSTOP')
        return () => {
          for (const one of all) signal(one, 'SIGCONT')
        }
      },
    }
  }
  const leader = await start(LEADER)
  const standby = await start(STANDBY)
  if (isSynchronous) while (!(await isSync(`${at(clients)}`))) await pause(POLL_MS)

  async function isSync(etcd: string): Promise<boolean> {
    const key = Buffer.from('/service/latchkey/sync').toString('base64')
    const response = await fetch(`${etcd}/v3/kv/range`, {
      method: 'POST',
      body: JSON.stringify({ key }),
    })
    const { kvs = [] } = (await response.json()) as { kvs?: { value: string }[] }
    return kvs.some(({ value }) => Buffer.from(value, 'base64').toString().includes(STANDBY))
  }

  return {
    leader,
    standby,
    async freshDatabase() {
      const { host, pathname } = new URL(await freshDatabaseAt(leader.url))
      return `postgres://postgres:postgres@${host},${new URL(standby.url).host}${pathname}`
    },
    switchOver() {
      const given = ['-c', join(folder, `${LEADER}.yml`), 'switchover', 'latchkey', '--force']
      execFileSync('patronictl', [...given, '--master', LEADER, '--candidate', STANDBY], {
        ...user,
        env,
        stdio: 'pipe',
      })
    },
    async close() {
      for (const name of [LEADER, STANDBY]) {
        const member = name === LEADER ? leader : standby
        for (const one of processesUnder(member.pid, join(folder, name))) {
          signal(one, 'SIGCONT')
          signal(one, 'SIGKILL')
        }
      }
      for (const child of children) {
        if (child.exitCode !== null || child.signalCode !== null) continue
        const exit = once(child, 'exit')
        child.kill('SIGKILL')
        await exit
      }
      rmSync(folder, { recursive: true, force: true, maxRetries: 20, retryDelay: 100 })
    },
  }
}

const LEADER = 'first'
const STANDBY = 'second'

interface Member {
  name: string
  folder: string
  port: number
  rest: number
  etcd: number
  isSynchronous: boolean
}

/** JSON is YAML. The shortest times that Patroni allows. */
function configuration({ name, folder, port, rest, etcd, isSynchronous }: Member): string {
  const login = (username: string) => ({ username, password: 'postgres' })
  return JSON.stringify({
    scope: 'latchkey',
    name,
    restapi: { listen: `127.0.0.1:${rest}`, connect_address: `127.0.0.1:${rest}` },
    etcd3: { hosts: `127.0.0.1:${etcd}` },
    bootstrap: {
      dcs: {
        ttl: 20,
        loop_wait: 1,
        retry_timeout: 3,
        synchronous_mode: isSynchronous,
        postgresql: {
          use_pg_rewind: true,
          parameters: { max_connections: 100, wal_log_hints: 'on' },
        },
      },
      initdb: [{ encoding: 'UTF8' }, 'data-checksums'],
    },
    postgresql: {
      listen: `127.0.0.1:${port}`,
      connect_address: `127.0.0.1:${port}`,
      data_dir: join(folder, name),
      bin_dir: binaries(),
      pgpass: join(folder, `${name}.pgpass`),
      authentication: { superuser: login('postgres'), replication: login('replicator') },
      pg_hba: [
        'host all all 127.0.0.1/32 md5',
        'host replication all 127.0.0.1/32 md5',
        'local all all trust',
      ],
      parameters: { unix_socket_directories: folder },
    },
  })
}

async function responds(url: string): Promise<boolean> {
  return fetch(url).then(
    ({ ok }) => ok,
    () => false,
  )
}

/** Patroni's own processes, and those of the server on its files: it starts that in a session of its own. */
function processesUnder(patroni: number, data: string): number[] {
  const pidFile = join(data, 'postmaster.pid')
  const roots = [patroni]
  if (existsSync(pidFile)) roots.push(Number(readFileSync(pidFile, 'utf8').split('\n')[0]))
  return [...new Set(roots.flatMap((root) => [root, ...childrenOf(root)]))]
}

function childrenOf(pid: number): number[] {
  const file = `/proc/${pid}/task/${pid}/children`
  if (!existsSync(file)) return []
  const direct = readFileSync(file, 'utf8').split(' ').filter(Boolean).map(Number)
  return direct.flatMap((child) => [child, ...childrenOf(child)])
}

function signal(pid: number, name: 'SIGKILL' | 'SIGSTOP' | 'SIGCONT'): void {
  try {
    process.kill(pid, name)
  } catch {
    // It has ended.
  }
}
