import { join } from 'node:path'
import { type HttpBindings, serve } from '@hono/node-server'
import { createApp } from './app.ts'
import { openDatabase } from './db/open.ts'
import { type Config, readConfig } from './env.ts'
import type { AppContext } from './http/context.ts'
import { openLog } from './log.ts'
import { type Devnet, startDevnet } from './node/devnet.ts'
import { docsFiles } from './node/docs.ts'
import { dataFolder, keptEncryptionKey } from './node/folder.ts'
import { trustProxies } from './node/proxies.ts'
import { chooseEngine } from './node/recover.ts'
import { openWorld } from './node/world.ts'
import { VERSION } from './version.ts'

/** How long requests that are under way may take to finish once the process is told to stop. */
const GRACE_MS = 10_000

const now = () => Date.now()

async function main(): Promise<void> {
  const given = readConfig(process.env)
  const log = openLog(given.LOG_LEVEL, (line) => process.stdout.write(`${line}\n`), now)
  const database = await openDatabase(given.DATABASE_URL)
  const { config, devnet } = await withDevnet(given)
  const engine = chooseEngine()
  const world = await openWorld({ config, db: database.db, log, now, recover: engine.recover })
  const app = createApp({
    worldOf: () => world,
    addressOf: addressReader(config),
    allowedOrigins: config.ALLOWED_ORIGINS,
  })
  app.route('/', docsFiles())

  const server = serve(
    { fetch: app.fetch, port: config.PORT, hostname: config.HOST },
    (address) => {
      log('info', 'listening', {
        host: config.HOST,
        port: address.port,
        network: config.STACKS_NETWORK,
        signatures: engine.name,
        signatures: engine.name,
      })
      if (config.STACKS_NETWORK === 'devnet' && config.LOG_LEVEL !== 'silent')
        process.stderr.write(welcome(config, address.port))
    },
  )
  const stop = once(async (signal: string) => {
    log('info', 'stopping', { signal })
    const late = setTimeout(() => process.exit(1), GRACE_MS)
    await new Promise((resolve) => server.close(resolve))
    await database.close()
    await devnet?.stop()
    clearTimeout(late)
    log('info', 'stopped')
  })
  process.on('SIGTERM', stop)
  process.on('SIGINT', stop)
}

/** A devnet makes for itself what other networks must be told. */
async function withDevnet(config: Config): Promise<{ config: Config; devnet?: Devnet }> {
  if (config.STACKS_NETWORK !== 'devnet') return { config }
  const folder = dataFolder(config.DATABASE_URL)
  const key = { ENCRYPTION_KEY: config.ENCRYPTION_KEY ?? keptEncryptionKey(folder) }
  if (config.STACKS_API_URL !== undefined)
    return {
      config: {
        ...config,
        ...key,
        QUOTE_URL: config.QUOTE_URL ?? `${config.STACKS_API_URL}/quote`,
      },
    }
  const devnet = await startDevnet({ folder: join(folder, 'chain') })
  return {
    config: {
      ...config,
      ...key,
      STACKS_API_URL: devnet.url,
      QUOTE_URL: config.QUOTE_URL ?? `${devnet.url}/quote`,
    },
    devnet,
  }
}

function addressReader(config: Config) {
  const clientAddress = trustProxies(config.TRUSTED_PROXIES)
  return (c: AppContext) => {
    const { incoming } = c.env as HttpBindings
    return clientAddress(incoming.socket.remoteAddress ?? '', c.req.header('x-forwarded-for'))
  }
}

function welcome(config: Config, port: number): string {
  const url = `http://${config.HOST}:${port}`
  return `
  Latchkey ${VERSION} on ${url}  (devnet: a local Stacks chain at ${config.STACKS_API_URL})

  Try it, in another terminal:
    npm run demo                          the whole story: a wallet signs, a key trades, the key is revoked
    curl ${url}/api/v1/info
    npm run latchkey help                 keys and orders from the command line

  Read it:  ${url}/docs
  Stop it:  Ctrl-C  (its data stays in ${dataFolder(config.DATABASE_URL)})

`
}

function once<A>(work: (argument: A) => Promise<void>): (argument: A) => void {
  let begun = false
  return (argument) => {
    if (begun) return
    begun = true
    void work(argument)
  }
}

main().catch((error: unknown) => {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
})
