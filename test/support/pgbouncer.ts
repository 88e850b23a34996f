import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { chmodSync, existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'

const PROGRAM = ['/usr/sbin/pgbouncer', '/usr/bin/pgbouncer'].find(existsSync)

/** Of Debian's package `pgbouncer`. Where a release is tested it must be there. */
export const hasPgBouncer = PROGRAM !== undefined || process.env.CI === 'true'

export interface PgBouncer {
  /** A connection string of the server, by way of the pooler. */
  through(databaseUrl: string): string
  stop(): Promise<void>
}

/** Starts PgBouncer in front of a server. With no settings but these it is as Debian's 1.18 is. */
export async function startPgBouncer(
  serverUrl: string,
  settings: Record<string, string | number> = {},
  logins: Record<string, string> = {},
): Promise<PgBouncer> {
  const { hostname, port: serverPort, username, password } = new URL(serverUrl)
  const folder = mkdtempSync(join(tmpdir(), 'latchkey-pgbouncer-'))
  chmodSync(folder, 0o755)
  const port = await freePort()
  const users = Object.entries({ [username]: password, ...logins })
  writeFileSync(
    join(folder, 'users.txt'),
    users.map(([name, secret]) => `"${name}" "${secret}"`).join('\n'),
  )
  const lines = Object.entries({
    listen_addr: '127.0.0.1',
    listen_port: port,
    unix_socket_dir: '',
    auth_type: 'plain',
    auth_file: join(folder, 'users.txt'),
    pool_mode: 'transaction',
    max_client_conn: 500,
    default_pool_size: 5,
    ...settings,
  }).map(([name, value]) => `${name} = ${value}`)
  writeFileSync(
    join(folder, 'pgbouncer.ini'),
    `[databases]\n* = host=${hostname} port=${serverPort}\n[pgbouncer]\n${lines.join('\n')}\n`,
  )
  // It refuses to run as root.
  const asUser = process.getuid?.() === 0 ? { uid: 65_534, gid: 65_534 } : {}
  const child = spawn(String(PROGRAM), [join(folder, 'pgbouncer.ini')], {
    ...asUser,
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  const said: string[] = []
  await new Promise<void>((resolve, reject) => {
    createInterface(child.stderr).on('line', (line) => {
      said.push(line)
      if (line.includes('process up')) resolve()
    })
    child.once('error', reject)
    child.once('exit', () => reject(new Error(`PgBouncer did not start:\n${said.join('\n')}`)))
  })
  return {
    through(databaseUrl) {
      const url = new URL(databaseUrl)
      url.port = String(port)
      return url.href
    },
    async stop() {
      const exit = once(child, 'exit')
      child.kill('SIGTERM')
      child.kill('SIGQUIT')
      await exit
      rmSync(folder, { recursive: true, force: true })
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  server.close()
  await once(server, 'close')
  return port
}
