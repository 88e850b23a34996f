import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmod, chown, mkdir, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import postgres from 'postgres'
import { freePort } from './postgres.ts'

/** A pgbouncer between workerd and Postgres, which keeps sessions as Hyperdrive does. */
export interface Pooler {
  urlOf(databaseUrl: string): string
  stop(): Promise<void>
}

const SESSIONS = 20
const ATTEMPTS = 100

/**
 * Starts pgbouncer; undefined where it is not installed. It pools sessions: before release 1.21 its pooling by transaction has no
 * prepared statements. So a new client costs Postgres a reset of the session, and its statements are prepared anew.
 */
export async function startPooler(folder: string, behind: string): Promise<Pooler | undefined> {
  const program = installed()
  if (program === undefined) return undefined
  const { port: postgresPort } = new URL(behind)
  const port = await freePort()
  const own = join(folder, 'pooler')
  const user = unprivileged()
  await chmod(folder, 0o755)
  await mkdir(own)
  const users = join(own, 'users.txt')
  const settings = join(own, 'pgbouncer.ini')
  await writeFile(users, '"postgres" "postgres"\n"worker" "worker"\n')
  await writeFile(
    settings,
    `[databases]
* = host=127.0.0.1 port=${postgresPort}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = ${port}
unix_socket_dir =
auth_type = trust
auth_file = ${users}
pool_mode = session
default_pool_size = ${SESSIONS}
max_client_conn = 1000
log_connections = 0
log_disconnections = 0
`,
  )
  for (const path of [own, users, settings])
    if (user !== undefined) await chown(path, user.uid, user.gid)
  const pooler = spawn(program, ['-q', settings], { ...user, stdio: 'ignore' })
  await untilReady(pooler, `postgres://postgres:postgres@127.0.0.1:${port}/postgres`)
  return {
    urlOf(databaseUrl) {
      const url = new URL(databaseUrl)
      url.port = String(port)
      return url.href
    },
    async stop() {
      const exit = once(pooler, 'exit')
      pooler.kill('SIGINT')
      await exit
    },
  }
}

async function untilReady(pooler: ChildProcess, url: string): Promise<void> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (pooler.exitCode !== null) throw new Error('pgbouncer did not start')
    const client = postgres(url, { max: 1, connect_timeout: 1, onnotice: () => {} })
    const isReady = await client.unsafe('SELECT 1').then(
      () => true,
      () => false,
    )
    await client.end({ timeout: 1 })
    if (isReady) return
    await setTimeout(50)
  }
  throw new Error('pgbouncer cannot be reached')
}

function installed(): string | undefined {
  try {
    return execFileSync('sh', ['-c', 'command -v pgbouncer'], { encoding: 'utf8' }).trim()
  } catch {
    return undefined
  }
}

/** pgbouncer refuses to run as root, as Postgres does; `startPostgres` has made the user. */
function unprivileged(): { uid: number; gid: number } | undefined {
  if (process.getuid?.() !== 0) return undefined
  const id = (flag: string) => Number(execFileSync('id', [flag, 'postgres'], { encoding: 'utf8' }))
  return { uid: id('-u'), gid: id('-g') }
}
