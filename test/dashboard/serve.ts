import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { startEntry } from '../node/entry.ts'
import { freshDatabase } from '../support/service.ts'
import { OFFLINE, ROOT } from '../worker/workerd.ts'

export type Platform = 'Node and PGlite' | 'Node and Postgres' | 'workerd'

/** A service as its operator runs it, with the page that `npm ci` built. */
export interface Served {
  url: string
  /** Of Node and Postgres. */
  databaseUrl?: string
  stop(): Promise<void>
}

/** Starts the service with a devnet of its own. */
export async function serve(platform: Platform, env: Record<string, string> = {}): Promise<Served> {
  if (platform === 'workerd') return serveByWorkerd()
  const databaseUrl =
    platform === 'Node and PGlite' ? 'pglite::memory:' : await freshDatabase('Postgres')
  const entry = startEntry({
    DATABASE_URL: databaseUrl,
    IP_RATE_LIMIT_PER_MINUTE: '100000',
    ...env,
  })
  return {
    url: await entry.url(),
    databaseUrl,
    async stop() {
      entry.child.kill('SIGTERM')
      await entry.ended
    },
  }
}

/** `npm run dev:worker`: wrangler's workerd, with the assets of wrangler.toml. */
async function serveByWorkerd(): Promise<Served> {
  const port = await freePort()
  const child = spawn(process.execPath, [join(ROOT, 'src/node/dev-worker.ts')], {
    cwd: ROOT,
    env: { ...process.env, ...OFFLINE, PORT: String(port) },
    stdio: ['ignore', 'pipe', 'pipe'],
  })
  const ended = once(child, 'exit')
  let output = ''
  const welcome = new Promise<void>((resolve) => {
    for (const stream of [child.stdout, child.stderr])
      stream.on('data', (chunk: Buffer) => {
        output += chunk
        if (output.includes('Stop it:')) resolve()
      })
  })
  const failed = ended.then(() => {
    throw new Error(`It ended:\n${output}`)
  })
  failed.catch(() => {})
  await Promise.race([welcome, failed])
  return {
    url: `http://127.0.0.1:${port}`,
    async stop() {
      child.kill('SIGINT')
      await ended
    },
  }
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}
