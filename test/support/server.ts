import { spawn } from 'node:child_process'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'

const ENTRY = fileURLToPath(new URL('../../src/node.ts', import.meta.url))

export interface Service {
  url: string
  /** Everything that the process has written so far. */
  log(): string
  stop(): Promise<void>
}

/** The service itself, as `npm start` runs it, with a database, a chain and a port of its own. */
export async function startService(env: Record<string, string> = {}): Promise<Service> {
  const folder = await mkdtemp(join(tmpdir(), 'latchkey-service-'))
  const child = spawn(process.execPath, [ENTRY], {
    env: {
      PATH: process.env.PATH,
      PORT: '0',
      DATABASE_URL: `pglite:${join(folder, 'db')}`,
      IP_RATE_LIMIT_PER_MINUTE: '100000',
      ...env,
    },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  let log = ''
  child.stderr.on('data', (chunk) => {
    log += chunk
  })
  const exited = new Promise<void>((resolve) => child.once('exit', () => resolve()))
  const stop = async () => {
    child.kill('SIGTERM')
    await exited
    await rm(folder, { recursive: true, force: true })
  }
  const listening = new Promise<number>((resolve, reject) => {
    createInterface(child.stdout).on('line', (line) => {
      log += `${line}\n`
      const { event, port } = line.startsWith('{') ? JSON.parse(line) : {}
      if (event === 'listening') resolve(port)
    })
    exited.then(() => reject(new Error(`The service did not start:\n${log}`)))
  })
  return { url: `http://127.0.0.1:${await listening}`, log: () => log, stop }
}
