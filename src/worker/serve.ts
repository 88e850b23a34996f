import type { Context, Hono } from 'hono'
import { createApp } from '../app.ts'
import { logHeads } from '../audit/heads.ts'
import { toHex } from '../crypto/bytes.ts'
import { type Encryption, openEncryption } from '../crypto/encryption.ts'
import { type EncryptionKeys, readEncryptionKeys } from '../crypto/keys.ts'
import { type Mac, openMac } from '../crypto/mac.ts'
import { type Database, messageOf } from '../db/database.ts'
import { type Distribution, readDistribution } from '../db/distribution.ts'
import { connectPostgres, type OpenDatabase, type PostgresRoute } from '../db/postgres.ts'
import { findRoleRoute } from '../db/role-route.ts'
import { clockOf, timestamptz } from '../db/time.ts'
import { type DatabaseWatch, openWatch } from '../db/watch.ts'
import { checkEncryptionKeys } from '../encryption/check.ts'
import { type Config, readConfig } from '../env.ts'
import { findDoubts } from '../env-warnings.ts'
import { REFUSALS } from '../errors.ts'
import { type Limits, limitsOf } from '../gate/admit.ts'
import { type Gate, openGate } from '../gate/gate.ts'
import { type KnownKeys, openKnownKeys } from '../gate/known-keys.ts'
import type { AppEnv } from '../http/context.ts'
import { pageFiles } from '../http/page.ts'
import { errorBody } from '../http/problem.ts'
import { logReadiness, type Readiness, shareChecks } from '../http/readiness.ts'
import { JOBS, type Job, logChanges } from '../jobs.ts'
import { hashSecret } from '../keys/secret.ts'
import { openGithubReports } from '../leaks/github.ts'
import { type Log, openLog } from '../log.ts'
import { type InsertOrder, openInserts } from '../orders/insert.ts'
import { openCredentialUse } from '../service-credentials/use.ts'
import type { Chain } from '../settlement/chain.ts'
import {
  type OperatorAccounts,
  type OperatorMemory,
  openOperators,
} from '../settlement/operator.ts'
import { connectStacksNode } from '../settlement/stacks-node.ts'
import { openNonces, type UseNonce } from '../signed-requests/nonces.ts'
import { openSigners, type Signers } from '../signed-requests/signers.ts'
import type { Recover } from '../stacks/recover.ts'
import { openUsage, type UsageRecorder } from '../usage/record.ts'
import { openHoldings, type ReadHoldings } from '../wallets/holdings.ts'
import type { World } from '../world.ts'
import { cloudflareAddress } from './address.ts'
import { type GateObjectCalls, openGateObject } from './gate-object.ts'
import {
  type GateNamespace,
  type OpenGateOverObjects,
  openGateOverObjects,
} from './gate-objects.ts'
import { type OpenIpLimits, openIpLimits, type RateLimitBinding } from './ip-limits.ts'

/** The bindings of wrangler.toml, beside the variables and secrets of src/env.ts. */
export interface Bindings {
  HYPERDRIVE: { connectionString: string }
  KEYLESS_LIMIT: RateLimitBinding | undefined
  FAILED_KEYS_LIMIT: RateLimitBinding | undefined
  /** The gate objects; without them each request has a statement of its own. */
  GATE?: GateNamespace
  /** What src/dashboard/build.mjs wrote: the page, and in docs/ the files of /docs. */
  FILES: { fetch(url: string, init?: { headers: Headers }): Promise<Response> }
}

/** The runtime's context of one request. */
export interface ExecutionContext {
  waitUntil(work: Promise<unknown>): void
}

export interface WorkerOptions {
  /** The isolate's own clock: the service uses Postgres'. */
  ownNow: () => number
  /** The signature engine, and its name for the log. */
  engine: { name: string; recover: Recover }
  write: (line: string) => void
  /** A time in place of both clocks, for tests. */
  fixedTime?: () => number
  /** Receives the text of every statement, for counting. */
  onStatement?: (text: string) => void
}

/** State of an isolate. Nothing in it belongs to a request, a socket or a timer. */
interface Isolate {
  config: Config
  app: Hono<AppEnv>
  chain: Chain
  /** Configured, and checked against the database with the first statement that reaches it. */
  keys: EncryptionKeys
  areKeysChecked: boolean
  /** Read with the first session. */
  distribution: Distribution | undefined
  /** Found out with the first session. */
  route: PostgresRoute | undefined
  encryption: Encryption
  mac: Mac
  limits: Limits
  /** What rows of keys mean: values only, which requests may share. */
  knownKeys: KnownKeys
  /** What verifies signed requests: values only, which requests may share. */
  signers: Signers
  verifyLeakReport: World['verifyLeakReport']
  openGateOverObjects: OpenGateOverObjects
  readHoldings: ReadHoldings
  usage: UsageRecorder
  log: Log
  keepHead: World['keepHead']
  openIpLimits: OpenIpLimits
  readiness: Readiness
  operatorMemory: OperatorMemory
  watch: DatabaseWatch
  /** When the database was last read, by the isolate's own clock. */
  watchedAt: number
}

/** One Postgres session per request; the statements of a request run one after another. */
const SESSIONS_PER_REQUEST = 1

/** Statements that a gate object has under way at once, at most: one is prepared while another one runs. */
const STATEMENTS_PER_OBJECT = 2

/** Requests that wait in a gate object, at most; the Workers of later ones decide by themselves. */
const MAX_WAITING_PER_OBJECT = 1_000

/** A request and a tick have a name of their own in leases. */
const HOLDER_BYTES = 8

/** Passes of a job per tick of the cron trigger; the next tick goes on where these end. */
const MAX_PASSES = 10

/** Pause between two readings of the database's clock and release, after requests. */
const WATCH_INTERVAL_MS = 10_000

/** The service on Workers. The first request of an isolate opens it: the global scope may not do work that takes time. */
export function createWorker({ ownNow, engine, write, fixedTime, onStatement }: WorkerOptions) {
  let opened: Isolate | undefined

  async function readWatch(one: Isolate, db: Database): Promise<void> {
    one.watchedAt = ownNow()
    await one.watch.read(db)
  }

  /** What remains to be done once a request has its response. */
  async function finish(one: Isolate, session: () => Database): Promise<void> {
    const now = nowOf(one)()
    if (one.usage.isDue(now)) await one.usage.flushDue(session(), now)
    const isDue = Math.abs(ownNow() - one.watchedAt) >= WATCH_INTERVAL_MS
    if (isDue && fixedTime === undefined) await readWatch(one, session())
  }

  /** Two concurrent first requests may both open the isolate; the later one stays. */
  async function isolate(bindings: Bindings): Promise<Isolate> {
    if (opened !== undefined) return opened
    opened = await openIsolate(bindings, write, ownNow)
    const { STACKS_NETWORK: network } = opened.config
    opened.log('info', 'isolate_opened', { network, signatures: engine.name })
    return opened
  }

  async function routeOf(one: Isolate, bindings: Bindings): Promise<PostgresRoute> {
    one.route ??= await findRoleRoute(bindings.HYPERDRIVE.connectionString)
    return one.route
  }

  function nowOf({ watch }: Isolate): () => number {
    return fixedTime ?? watch.now
  }

  /** Runs work in a world with its own database session, which is opened when it is first needed and closed afterwards. */
  async function inWorld<T>(
    bindings: Bindings,
    context: ExecutionContext,
    one: Isolate,
    work: (world: World) => Promise<T>,
  ): Promise<T> {
    const route = await routeOf(one, bindings)
    const outlive = (rest: Promise<unknown>) => context.waitUntil(rest)
    let database: OpenDatabase | undefined
    const session = () => {
      database ??= connectPostgres(route, { maxConnections: SESSIONS_PER_REQUEST, onStatement })
      return database.db
    }
    const world = worldOf(one, bindings, session, outlive)
    const done = checkDatabase(one, session, readWatch).then(() => work(world))
    // A client that disconnects must not cut an execute short: the work finishes, then the session is closed.
    const finished = done.catch(() => {}).then(() => finish(one, session))
    const close = () => database?.close()
    outlive(finished.then(close, close))
    return done
  }

  function worldOf(
    one: Isolate,
    bindings: Bindings,
    session: () => Database,
    outlive: (rest: Promise<unknown>) => void,
  ): World {
    const { config, chain, encryption, mac, limits, knownKeys, usage, log, operatorMemory } = one
    const { OPERATOR_PRIVATE_KEYS: privateKeys, STACKS_NETWORK: network } = config
    const now = nowOf(one)
    const databaseTime = () =>
      fixedTime === undefined ? clockOf(one.distribution, now)() : timestamptz(fixedTime())
    const ownGate: Gate = (request) =>
      openGate(session(), limits, {
        mac,
        log,
        now,
        fixedTime,
        knownKeys,
        distribution: one.distribution,
      })(request)
    let operators: OperatorAccounts | undefined
    let insertOrder: InsertOrder | undefined
    let useNonce: UseNonce | undefined
    return {
      config,
      get db() {
        return session()
      },
      get distribution() {
        return one.distribution
      },
      databaseTime,
      gate: one.openGateOverObjects(bindings.GATE, ownGate, outlive),
      watch: one.watch,
      chain,
      holder: toHex(randomBytes(HOLDER_BYTES)),
      get operators() {
        operators ??= openOperators({
          db: session(),
          databaseTime,
          chain,
          privateKeys,
          network,
          memory: operatorMemory,
          log,
          lowBalanceInMicroStx: config.LOW_BALANCE_IN_MICRO_STX,
        })
        return operators
      },
      ipLimits: one.openIpLimits(
        { keyless: bindings.KEYLESS_LIMIT, failedKeys: bindings.FAILED_KEYS_LIMIT },
        outlive,
      ),
      readiness: one.readiness,
      encryption,
      hashSecret,
      verifyLeakReport: one.verifyLeakReport,
      readHoldings: one.readHoldings,
      mac,
      useCredential: (hash) =>
        openCredentialUse({
          db: session(),
          mac,
          log,
          fixedTime: fixedTime ?? (one.distribution?.hasManyServers === true ? now : undefined),
        })(hash),
      usage,
      recover: engine.recover,
      get insertOrder() {
        insertOrder ??= openInserts(session(), one.distribution)
        return insertOrder
      },
      signers: one.signers,
      get useNonce() {
        useNonce ??= openNonces(session(), { distribution: one.distribution, fixedTime, now })
        return useNonce
      },
      log,
      keepHead: one.keepHead,
      now,
      randomBytes,
    }
  }

  async function repeat(job: Job, world: World): Promise<void> {
    for (let pass = 0; pass < MAX_PASSES; pass++) if (await job.run(world, world.now())) return
  }

  return {
    async fetch(
      request: Request,
      bindings: Bindings,
      context: ExecutionContext,
    ): Promise<Response> {
      try {
        const one = await isolate(bindings)
        return await inWorld(bindings, context, one, async (world) =>
          one.app.fetch(request, { world, files: bindings.FILES }),
        )
      } catch (error) {
        return unconfigured(error, ownNow(), write)
      }
    },

    /** Runs the periodic jobs at each tick of the cron trigger. */
    async scheduled(_: unknown, bindings: Bindings, context: ExecutionContext): Promise<void> {
      let job: Job | undefined
      try {
        await inWorld(bindings, context, await isolate(bindings), async (world) => {
          for (job of JOBS) await repeat(job, world)
          for (job of JOBS) await job.stop?.(world)
        })
      } catch (error) {
        openLog('error', write, ownNow)('error', 'job_failed', {
          job: job?.name,
          fault: messageOf(error),
        })
        throw error // The platform counts the tick as failed.
      }
    },

    /** The calls of one gate object, which opens its sessions with the first of them and keeps them. */
    gateObject(bindings: Bindings): GateObjectCalls {
      return openGateObject(ownNow, async () => {
        const one = await isolate(bindings)
        const { mac, limits, knownKeys, watch, log } = one
        const { db, close } = connectPostgres(await routeOf(one, bindings), {
          maxConnections: STATEMENTS_PER_OBJECT,
          onStatement,
        })
        try {
          await checkDatabase(one, () => db, readWatch)
        } catch (error) {
          await close()
          throw error
        }
        const gate = openGate(db, limits, {
          mac,
          log,
          now: nowOf(one),
          fixedTime,
          knownKeys,
          maxWaiting: MAX_WAITING_PER_OBJECT,
          maxStatements: STATEMENTS_PER_OBJECT,
          distribution: one.distribution,
        })
        return { db, gate, watch, log }
      })
    },
  }
}

/** Rejects while the database was written with another key, or cannot tell: an isolate serves nothing before it is certain. */
async function checkDatabase(
  isolate: Isolate,
  session: () => Database,
  readWatch: (isolate: Isolate, db: Database) => Promise<void>,
): Promise<void> {
  if (isolate.areKeysChecked) return
  const db = session()
  await checkEncryptionKeys(db, isolate.keys)
  await readWatch(isolate, db)
  isolate.distribution = await readDistribution(db)
  isolate.areKeysChecked = true
}

async function openIsolate(
  bindings: Bindings,
  write: (line: string) => void,
  ownNow: () => number,
): Promise<Isolate> {
  const config = readBindings(bindings)
  const log = openLog(config.LOG_LEVEL, write, ownNow)
  for (const problem of findDoubts(textBindings(bindings), config))
    log('warn', 'setting_doubtful', { problem })
  const limiters = { keyless: bindings.KEYLESS_LIMIT, failedKeys: bindings.FAILED_KEYS_LIMIT }
  for (const [bucket, limiter] of Object.entries(limiters))
    if (limiter === undefined) log('warn', 'rate_limit_binding_missing', { bucket })
  const app = createApp({
    worldOf: (c) => requestOf(c).world,
    addressOf: cloudflareAddress(log),
    allowedOrigins: config.ALLOWED_ORIGINS,
    allowedHeaders: config.ALLOWED_HEADERS,
    // Without gzip: Cloudflare compresses responses itself.
    readDocsFile: async (c, name) => {
      const file = await fileOf(c, `docs/${name}`)
      return file.ok ? new Uint8Array(await file.arrayBuffer()) : undefined
    },
  })
  app.route('/', pageFiles(fileOf))
  const keys = readEncryptionKeys(config.ENCRYPTION_KEY)
  // Date.now() stands still while a worker computes; between two requests it advances.
  const watch = openWatch({ ownNow, elapsed: ownNow, onChange: logChanges(log) })
  const mac = openMac(keys)
  const chain = connectStacksNode({
    network: config.STACKS_NETWORK,
    apiUrl: config.STACKS_API_URL ?? '',
    quoteUrl: config.QUOTE_URL ?? '',
    fetch,
    timeoutMs: config.NODE_TIMEOUT_MS,
    now: ownNow,
    ...(config.STACKS_API_KEY !== undefined && {
      apiHeaders: { 'x-api-key': config.STACKS_API_KEY },
    }),
  })
  const encryption = await openEncryption(keys, randomBytes)
  return {
    config,
    app,
    chain,
    readHoldings: openHoldings({
      chain,
      tokens: config.ACCOUNT_TOKENS,
      now: ownNow,
      pause: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      sharesPending: false,
    }),
    encryption,
    signers: openSigners({ mac, encryption }),
    mac,
    limits: limitsOf(config),
    knownKeys: openKnownKeys(mac),
    verifyLeakReport:
      config.LEAK_REPORTS === 'github'
        ? openGithubReports({
            url: config.GITHUB_KEYS_URL,
            fetch: (url, init) => fetch(url, init),
            elapsed: ownNow,
            sharesPending: false,
          })
        : undefined,
    openGateOverObjects: openGateOverObjects(config.GATE_OBJECTS, log, ownNow),
    keys,
    areKeysChecked: false,
    distribution: undefined,
    route: undefined,
    usage: openUsage(log),
    log,
    keepHead: logHeads(log),
    openIpLimits: openIpLimits(config.IP_RATE_LIMIT_PER_MINUTE),
    readiness: shareChecks({ sharesPending: false, onChecked: logReadiness(log) }),
    operatorMemory: {},
    watch,
    watchedAt: 0,
  }
}

/** The environment that a request carries through Hono. */
function requestOf({ env }: { env: unknown }): { world: World; files: Bindings['FILES'] } {
  return env as { world: World; files: Bindings['FILES'] }
}

/** The platform compresses files, and compares their ETags. It serves `index.html` at `/` only. */
function fileOf(c: Context, path: string): Promise<Response> {
  const url = `https://files/${path === 'index.html' ? '' : path}`
  return requestOf(c).files.fetch(url, { headers: c.req.raw.headers })
}

/** Required on Workers on every network: a worker has no folder in which it could keep generated values. */
const NEEDED = ['STACKS_API_URL', 'QUOTE_URL', 'ENCRYPTION_KEY'] as const

/** Variables and secrets: the bindings that are text. */
function textBindings(bindings: Bindings): Record<string, string> {
  const variables = Object.entries(bindings).flatMap(([name, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value) ? [[name, String(value)]] : [],
  )
  return Object.fromEntries(variables)
}

function readBindings(bindings: Bindings): Config {
  const config = readConfig({
    ...textBindings(bindings),
    DATABASE_URL: bindings.HYPERDRIVE.connectionString,
  })
  const missing = NEEDED.filter((name) => config[name] === undefined)
  if (missing.length === 0) return config
  throw new Error(
    `The configuration has faults:\n${missing.map((name) => `  ${name}: is needed on Workers`).join('\n')}`,
  )
}

/** The caller gets 503; the reason is in the log only. */
function unconfigured(error: unknown, at: number, write: (line: string) => void): Response {
  const { status } = REFUSALS.unavailable
  const requestId = `req_${toHex(randomBytes(12))}`
  const timestamp = new Date(at).toISOString()
  const fault = messageOf(error)
  write(JSON.stringify({ time: timestamp, level: 'error', event: 'not_started', requestId, fault }))
  const body = errorBody('unavailable', undefined, { at, requestId })
  return Response.json(body, {
    status,
    headers: { 'Retry-After': '60', 'Cache-Control': 'no-store', 'X-Request-Id': requestId },
  })
}

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length))
}
