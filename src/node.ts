import { join } from 'node:path'
import { setTimeout as pause } from 'node:timers/promises'
import type { HttpBindings } from '@hono/node-server'
import { createApp } from './app.ts'
import { openDatabase } from './db/open.ts'
import { type Config, readConfig } from './env.ts'
import type { AppContext } from './http/context.ts'
import { openLog } from './log.ts'
import { type Devnet, startDevnet } from './node/devnet.ts'
import { docsFiles } from './node/docs.ts'
import { dataFolder, keptEncryptionKey } from './node/folder.ts'
import { listen } from './node/listen.ts'
import { lockFolder } from './node/lock.ts'
import { releaseMemory } from './node/memory.ts'
import { trustProxies } from './node/proxies.ts'
import { chooseEngine } from './node/recover.ts'
import { openWorld } from './node/world.ts'
import { reconcile } from './settlement/reconcile.ts'
import { VERSION } from './version.ts'
import type { World } from './world.ts'

/** How long requests that are under way may take to finish once the process is told to stop. */
const GRACE_MS = 10_000
const LAST_PASS_MS = 2_000
const USAGE_MS = 1_000

const now = () => Date.now()

async function main(): Promise<void> {
  const given = readConfig(process.env)
  const log = openLog(given.LOG_LEVEL, (line) => process.stdout.write(`${line}\n`), now)
  const opened: (() => Promise<void>)[] = []
  const close = async () => {
    for (const closeOne of opened.splice(0).reverse()) await closeOne()
  }
  const stop = once(async (signal: string) => {
    log('info', 'stopping', { signal })
    setTimeout(() => {
      log('error', 'stopped_unfinished')
      process.exit(1)
    }, GRACE_MS).unref()
    await close()
    log('info', 'stopped')
  })
  try {
    const database = await openDatabase(given.DATABASE_URL)
    opened.push(database.close)
    const { config, devnet } = await withDevnet(given, () => log('error', 'devnet_lost'))
    if (devnet !== undefined) opened.push(devnet.stop)
    const engine = chooseEngine()
    const world = await openWorld({ config, db: database.db, log, now, recover: engine.recover })
    const app = createApp({
      worldOf: () => world,
      addressOf: addressReader(config),
      allowedOrigins: config.ALLOWED_ORIGINS,
    })
    app.route('/', docsFiles())
    releaseMemory()
    const { port, finish } = await listen(app, config)
    const hangUp = async () => world.feed?.close()
    opened.push(keepWritingUsage(world), keepReconciling(world), finish, hangUp)
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
    log('info', 'listening', {
      host: config.HOST,
      port,
      network: config.STACKS_NETWORK,
      signatures: engine.name,
    })
    if (config.STACKS_NETWORK === 'devnet' && config.LOG_LEVEL !== 'silent')
      process.stderr.write(welcome(config, port))
  } catch (error) {
    await close()
    throw error
  }
}

/** Writes the statistics every few seconds. Answers how to stop, which writes the last of them. */
function keepWritingUsage({ usage, db }: World): () => Promise<void> {
  const timer = setInterval(() => {
    if (usage.isDue(now())) void usage.flush(db)
  }, USAGE_MS)
  return async () => {
    clearInterval(timer)
    await usage.flush(db)
  }
}

/** Follows what is under way, pass after pass. Answers how to stop; a pass that takes long is cut, which harms nothing. */
function keepReconciling(world: World): () => Promise<void> {
  const { RECONCILE_INTERVAL_MS } = world.config
  if (RECONCILE_INTERVAL_MS === 0) return async () => {}
  const stopping = new AbortController()
  const { signal } = stopping
  async function run(): Promise<void> {
    while (!signal.aborted) {
      const isDone = await reconcile(world, now()).then(
        (pass) => pass.isDone,
        (error) => {
          world.log('error', 'not_reconciled', { fault: error instanceof Error ? error.name : '' })
          return true
        },
      )
      if (isDone) await pause(RECONCILE_INTERVAL_MS, undefined, { signal }).catch(() => {})
    }
  }
  const running = run()
  return () => {
    stopping.abort()
    return Promise.race([running, pause(LAST_PASS_MS, undefined, { ref: false })])
  }
}

/** A devnet makes for itself what other networks must be told. */
async function withDevnet(
  config: Config,
  onLost: () => void,
): Promise<{ config: Config; devnet?: Devnet }> {
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
  const chain = join(folder, 'chain')
  const unlock = lockFolder(chain, 'set STACKS_API_URL to the chain that it started')
  const devnet = await startDevnet({ folder: chain, onLost }).catch((error) => {
    unlock()
    throw error
  })
  return {
    config: {
      ...config,
      ...key,
      STACKS_API_URL: devnet.url,
      QUOTE_URL: config.QUOTE_URL ?? `${devnet.url}/quote`,
    },
    devnet: { url: devnet.url, stop: () => devnet.stop().finally(unlock) },
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
  const host = config.HOST.includes(':') ? `[${config.HOST}]` : config.HOST
  const url = `http://${host}:${port}`
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
    work(argument).catch(fail)
  }
}

function fail(error: unknown): never {
  process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n`)
  process.exit(1)
}

main().catch(fail)
