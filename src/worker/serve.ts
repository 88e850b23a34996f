import type { Hono } from 'hono'
import { createApp } from '../app.ts'
import { logHeads } from '../audit/heads.ts'
import { toHex } from '../crypto/bytes.ts'
import { type Encryption, openEncryption } from '../crypto/encryption.ts'
import { type EncryptionKeys, readEncryptionKeys } from '../crypto/keys.ts'
import { type Mac, openMac } from '../crypto/mac.ts'
import { type Database, messageOf } from '../db/database.ts'
import { connectPostgres, type OpenDatabase } from '../db/postgres.ts'
import { type DatabaseClock, postgresClock } from '../db/time.ts'
import { checkEncryptionKeys } from '../encryption/check.ts'
import { type Config, readConfig } from '../env.ts'
import { type ErrorBody, REFUSALS } from '../errors.ts'
import { type Limits, limitsOf } from '../gate/admit.ts'
import { type Gate, openGate } from '../gate/gate.ts'
import { type KnownKeys, openKnownKeys } from '../gate/known-keys.ts'
import type { AppEnv } from '../http/context.ts'
import { docsPages } from '../http/docs.ts'
import { JOBS } from '../jobs.ts'
import { hashSecret } from '../keys/secret.ts'
import { type Log, openLog } from '../log.ts'
import type { Chain } from '../settlement/chain.ts'
import {
  type OperatorAccounts,
  type OperatorMemory,
  openOperators,
} from '../settlement/operator.ts'
import { connectStacksNode } from '../settlement/stacks-node.ts'
import type { Recover } from '../stacks/recover.ts'
import { openUsage, type UsageRecorder } from '../usage/record.ts'
import type { World } from '../world.ts'
import { type GateObjectCalls, openGateObject } from './gate-object.ts'
import { type GateNamespace, type OpenShardedGate, openShardedGate } from './gate-shards.ts'
import { type OpenIpLimits, openIpLimits, type RateLimitBinding } from './ip-limits.ts'

/** The bindings of wrangler.toml, beside the variables and secrets of src/env.ts. */
export interface Bindings {
  HYPERDRIVE: { connectionString: string }
  KEYLESS_LIMIT: RateLimitBinding
  FAILED_KEYS_LIMIT: RateLimitBinding
  /** The gate objects; without them each request has a statement of its own. */
  GATE?: GateNamespace
  /** The files of swagger-ui-dist. */
  DOCS: { fetch(url: string): Promise<Response> }
}

/** The runtime's context of one request. */
export interface ExecutionContext {
  waitUntil(work: Promise<unknown>): void
}

export interface WorkerOptions {
  now: () => number
  /** The signature engine, and its name for the log. */
  engine: { name: string; recover: Recover }
  write: (line: string) => void
  /** Postgres' clock, unless a test has one of its own. */
  databaseTime?: DatabaseClock
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
  encryption: Encryption
  mac: Mac
  limits: Limits
  /** What rows of keys mean: values only, which requests may share. */
  knownKeys: KnownKeys
  openShardedGate: OpenShardedGate
  usage: UsageRecorder
  log: Log
  keepHead: World['keepHead']
  openIpLimits: OpenIpLimits
  operatorMemory: OperatorMemory
}

/** One Postgres session per request; the statements of a request run one after another. */
const SESSIONS_PER_REQUEST = 1

/** Statements that a gate object has under way at once, at most: one is prepared while the other one is executed. */
const STATEMENTS_PER_OBJECT = 2

/** Requests that wait in a gate object, at most; the Workers of later ones decide by themselves. */
const MAX_WAITING_PER_OBJECT = 1_000

/** Passes of a job per tick of the cron trigger; the next tick goes on where these end. */
const MAX_PASSES = 10

/** The service on Workers. The first request of an isolate opens it: the global scope may not do work that takes time. */
export function createWorker({
  now,
  engine,
  write,
  databaseTime = postgresClock,
  onStatement,
}: WorkerOptions) {
  let opened: Isolate | undefined

  /** Two concurrent first requests may both open the isolate; the later one stays. */
  async function isolate(bindings: Bindings): Promise<Isolate> {
    if (opened !== undefined) return opened
    opened = await openIsolate(bindings, write, now)
    const { STACKS_NETWORK: network } = opened.config
    opened.log('info', 'isolate_opened', { network, signatures: engine.name })
    return opened
  }

  function connect(bindings: Bindings, maxConnections: number): OpenDatabase {
    return connectPostgres(bindings.HYPERDRIVE.connectionString, { maxConnections, onStatement })
  }

  /** Runs work in a world with its own database session, which is opened when it is needed and closed afterwards. */
  async function inWorld<T>(
    bindings: Bindings,
    context: ExecutionContext,
    one: Isolate,
    work: (world: World) => Promise<T>,
  ): Promise<T> {
    const { usage } = one
    const outlive = (rest: Promise<unknown>) => context.waitUntil(rest)
    let opened: OpenDatabase | undefined
    const session = () => {
      opened ??= connect(bindings, SESSIONS_PER_REQUEST)
      return opened.db
    }
    const world = worldOf(one, bindings, session, outlive)
    const done = one.areKeysChecked
      ? work(world)
      : checkKeys(one, session()).then(() => work(world))
    // A client that disconnects must not cut an execute short: the work finishes, then the session is closed.
    const flushed = done
      .catch(() => {})
      .then(() => (usage.isDue(now()) ? usage.flush(session()) : undefined))
    const close = () => opened?.close()
    outlive(flushed.then(close, close))
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
    let operators: OperatorAccounts | undefined
    const ownGate: Gate = (request) => openGate(session(), limits, { mac, log, knownKeys })(request)
    return {
      config,
      get db() {
        return session()
      },
      databaseTime,
      gate: one.openShardedGate(bindings.GATE, ownGate, outlive),
      chain,
      get operators() {
        operators ??= openOperators(
          session(),
          databaseTime,
          chain,
          privateKeys,
          network,
          operatorMemory,
        )
        return operators
      },
      ipLimits: one.openIpLimits(
        { keyless: bindings.KEYLESS_LIMIT, failedKeys: bindings.FAILED_KEYS_LIMIT },
        outlive,
      ),
      encryption,
      hashSecret,
      mac,
      usage,
      recover: engine.recover,
      log,
      keepHead: one.keepHead,
      now,
      randomBytes,
    }
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
          one.app.fetch(request, { world, docs: bindings.DOCS }),
        )
      } catch (error) {
        return unconfigured(error, now(), write)
      }
    },

    /** Runs the periodic jobs at each tick of the cron trigger. */
    async scheduled(_: unknown, bindings: Bindings, context: ExecutionContext): Promise<void> {
      await inWorld(bindings, context, await isolate(bindings), async (world) => {
        for (const job of JOBS)
          for (let pass = 0; pass < MAX_PASSES; pass++) if (await job.run(world, now())) break
      })
    },

    /** The calls of one gate object, which opens its connections with the first of them and keeps them. */
    gateObject(bindings: Bindings): GateObjectCalls {
      return openGateObject(async () => {
        const one = await isolate(bindings)
        const { mac, limits, knownKeys, log } = one
        const { db } = connect(bindings, STATEMENTS_PER_OBJECT)
        await checkKeys(one, db)
        const gate = openGate(db, limits, {
          mac,
          log,
          knownKeys,
          maxWaiting: MAX_WAITING_PER_OBJECT,
          maxStatements: STATEMENTS_PER_OBJECT,
        })
        return { db, gate, log }
      })
    },
  }
}

/** Rejects while the database was written with another key, or cannot tell: an isolate serves nothing before it is certain. */
async function checkKeys(isolate: Isolate, db: Database): Promise<void> {
  if (isolate.areKeysChecked) return
  await checkEncryptionKeys(db, isolate.keys)
  isolate.areKeysChecked = true
}

async function openIsolate(
  bindings: Bindings,
  write: (line: string) => void,
  now: () => number,
): Promise<Isolate> {
  const config = readBindings(bindings)
  const app = createApp({
    worldOf: (c) => requestOf(c).world,
    addressOf: (c) => c.req.header('cf-connecting-ip') ?? '',
    allowedOrigins: config.ALLOWED_ORIGINS,
  })
  app.route(
    '/',
    docsPages(async (c, name) => (await requestOf(c).docs.fetch(`https://docs/${name}`)).body),
  )
  const log = openLog(config.LOG_LEVEL, write, now)
  const keys = readEncryptionKeys(config.ENCRYPTION_KEY)
  const mac = openMac(keys)
  return {
    config,
    app,
    chain: connectStacksNode({
      network: config.STACKS_NETWORK,
      apiUrl: config.STACKS_API_URL ?? '',
      quoteUrl: config.QUOTE_URL ?? '',
      fetch,
      timeoutMs: config.NODE_TIMEOUT_MS,
      now,
      ...(config.STACKS_API_KEY !== undefined && {
        apiHeaders: { 'x-api-key': config.STACKS_API_KEY },
      }),
    }),
    encryption: await openEncryption(keys, randomBytes),
    mac,
    limits: limitsOf(config),
    knownKeys: openKnownKeys(mac),
    openShardedGate: openShardedGate(config.GATE_OBJECTS, log, now),
    keys,
    areKeysChecked: false,
    usage: openUsage(log),
    log,
    keepHead: logHeads(log),
    openIpLimits: openIpLimits(config.IP_RATE_LIMIT_PER_MINUTE),
    operatorMemory: {},
  }
}

/** The environment that a request carries through Hono. */
function requestOf({ env }: { env: unknown }): { world: World; docs: Bindings['DOCS'] } {
  return env as { world: World; docs: Bindings['DOCS'] }
}

/** Required on Workers on every network: a worker has no folder in which it could keep generated values. */
const NEEDED = ['STACKS_API_URL', 'QUOTE_URL', 'ENCRYPTION_KEY'] as const

function readBindings(bindings: Bindings): Config {
  const variables = Object.entries(bindings).flatMap(([name, value]) =>
    ['string', 'number', 'boolean'].includes(typeof value) ? [[name, String(value)]] : [],
  )
  const config = readConfig({
    ...Object.fromEntries(variables),
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
  const { status, code, error: text } = REFUSALS.unavailable
  const requestId = `req_${toHex(randomBytes(12))}`
  const timestamp = new Date(at).toISOString()
  const fault = messageOf(error)
  write(JSON.stringify({ time: timestamp, level: 'error', event: 'not_started', requestId, fault }))
  const body: ErrorBody = { error: text, code, timestamp, requestId }
  return Response.json(body, {
    status,
    headers: { 'Retry-After': '60', 'Cache-Control': 'no-store', 'X-Request-Id': requestId },
  })
}

function randomBytes(length: number): Uint8Array<ArrayBuffer> {
  return crypto.getRandomValues(new Uint8Array(length))
}
