import { join } from 'node:path'
import { createApp } from './app.ts'
import { archiveFiles } from './archive-file.ts'
import { messageOf } from './db/database.ts'
import { lockFolder } from './db/folder-lock.ts'
import { openDatabase } from './db/open.ts'
import { type Config, readConfig } from './env.ts'
import { findDoubts } from './env-warnings.ts'
import { logServers } from './jobs.ts'
import { openLog } from './log.ts'
import { type DevnetProcess, startDevnetProcess } from './node/devnet.ts'
import { gzip, readDocsFile } from './node/docs.ts'
import { dataFolder, devnetEncryptionKey, operatorSocket } from './node/folder.ts'
import { listen } from './node/listen.ts'
import { releaseMemory } from './node/memory.ts'
import { withOperatorKeys } from './node/operator-keys.ts'
import { listenForOperator } from './node/operator-socket.ts'
import { pageOfFolder } from './node/page.ts'
import { addressReader, inRanges, proxyReader } from './node/proxies.ts'
import { chooseEngine } from './node/recover.ts'
import { runJobs } from './node/run-jobs.ts'
import { openTelemetry } from './node/telemetry.ts'
import { openWorld } from './node/world.ts'
import { performWith } from './operator/acts.ts'
import { VERSION } from './version.ts'
import { extendUrl, originOf } from './wire/url.ts'

/** What started this process: under npm a shell, which a signal ends without reaching the process itself. */
const PARENT = process.ppid
const PARENT_CHECK_MS = 100

/** How long requests that are under way may take to finish once the process is told to stop. */
const GRACE_MS = 10_000

/** This machine itself, where a proxy or a probe runs: its connections are not limited by address. */
const LOOPBACK = ['127.0.0.0/8', '::1']

const now = () => Date.now()

async function main(): Promise<void> {
  const env = withOperatorKeys(process.env)
  const given = readConfig(env)
  const telemetry = openTelemetry({
    config: given,
    env: process.env,
    ownLog: openLog(given.LOG_LEVEL, (line) => process.stdout.write(`${line}\n`), now),
    now,
  })
  const { log } = telemetry
  for (const problem of findDoubts(process.env, given)) log('warn', 'setting_doubtful', { problem })
  const opened: (() => Promise<void>)[] = [telemetry.close]
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
    const database = await openDatabase(given.DATABASE_URL, {
      onWait: (holder) => log('warn', 'migration_waits', { holder }),
      onChange: logServers(log),
    })
    opened.push(database.close)
    const { config, devnet } = await withDevnet(given, () => log('error', 'devnet_lost'))
    if (devnet !== undefined) opened.push(devnet.stop)
    const engine = chooseEngine()
    const world = await openWorld({
      config,
      db: database.db,
      log,
      ownNow: now,
      elapsed: () => performance.now(),
      recover: engine.recover,
      fetch: telemetry.fetch,
      signDigest: engine.signDigest,
    })
    const app = createApp({
      worldOf: () => world,
      addressOf: addressReader(config.TRUSTED_PROXIES, log),
      isFromProxy: proxyReader(config.TRUSTED_PROXIES),
      allowedOrigins: config.ALLOWED_ORIGINS,
      allowedHeaders: config.ALLOWED_HEADERS,
      readDocsFile,
      gzip,
      observe: telemetry.observe,
    })
    app.route('/', pageOfFolder())
    await releaseMemory()
    await telemetry.serve(world)
    const socket = operatorSocket(config)
    if (socket !== undefined)
      opened.push(await listenForOperator(socket, performWith({ ...world, archiveFiles }), log))
    const { port, finish } = await listen(app, config, {
      log,
      now: world.now,
      isExempt: inRanges([...LOOPBACK, ...config.TRUSTED_PROXIES]),
    })
    const closeStreams = async () => {
      world.feed?.close()
      world.walletFeed?.close()
    }
    opened.push(runJobs(world, telemetry.onPass), finish, closeStreams)
    process.on('SIGTERM', stop)
    process.on('SIGINT', stop)
    if (process.env.npm_lifecycle_event !== undefined) stopWithParent(() => stop('PARENT_ENDED'))
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

/**
 * `npm start` sends a signal to the shell that it runs scripts in. Some shells replace themselves by a single program; dash does
 * not and ends at once, so that the process is left without parent. `exec` in the script would do, but cmd.exe has none.
 */
function stopWithParent(stop: () => void): void {
  setInterval(() => {
    if (process.ppid !== PARENT) stop()
  }, PARENT_CHECK_MS).unref()
}

/** A devnet makes for itself what other networks must be told. */
async function withDevnet(
  config: Config,
  onLost: () => void,
): Promise<{ config: Config; devnet?: DevnetProcess }> {
  if (config.STACKS_NETWORK !== 'devnet') return { config }
  const folder = dataFolder(config.DATABASE_URL)
  const key = { ENCRYPTION_KEY: config.ENCRYPTION_KEY ?? devnetEncryptionKey(folder) }
  if (config.STACKS_API_URL !== undefined)
    return {
      config: {
        ...config,
        ...key,
        QUOTE_URL: config.QUOTE_URL ?? extendUrl(config.STACKS_API_URL, '/quote'),
      },
    }
  const chain = join(folder, 'chain')
  const unlock = lockFolder(chain, 'set STACKS_API_URL to the chain that it started')
  const devnet = await startDevnetProcess({ folder: chain, onLost }).catch((error) => {
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

function welcome(config: Config, port: number): string {
  const url = `http://${reachableHost(config.HOST)}:${port}`
  const demo = `npm run demo${demoOptions(config.HOST, port, url)}`
  const help = 'npm run latchkey help'
  const width = Math.max(demo.length, help.length) + 4
  return `
  Latchkey ${VERSION} on ${url}  (devnet: a Stacks chain at ${originOf(config.STACKS_API_URL ?? '')})

  Open it:  ${url}  (your keys, orders and their proof, with a throw-away wallet)

  Try it, in another terminal:
    ${demo.padEnd(width)}the whole story: a wallet signs, a key trades, the key is revoked
    curl ${url}/api/v1/info
    ${help.padEnd(width)}keys and orders from the command line, with LATCHKEY_URL=${url}

  Read it:  ${url}/docs
  Stop it:  Ctrl-C  (its data stays in ${dataFolder(config.DATABASE_URL)})

`
}

/** A wildcard address is for listening only. */
function reachableHost(host: string): string {
  if (host === '0.0.0.0' || host === '::') return '127.0.0.1'
  return host.includes(':') ? `[${host}]` : host
}

/** An option and not a variable before the command, which cmd.exe does not know. */
function demoOptions(host: string, port: number, url: string): string {
  if (host === '127.0.0.1' && port === 8787) return ''
  const isLoopback = /^http:\/\/(127\.|localhost:|\[::1\])/.test(url)
  return ` -- --url ${url}${isLoopback ? '' : ' --allow-insecure'}`
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
  process.stderr.write(`${messageOf(error)}\n`)
  process.exit(1)
}

main().catch(fail)
