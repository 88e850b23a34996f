import { randomBytes, randomUUID } from 'node:crypto'
import postgres from 'postgres'
import { inject } from 'vitest'
import { createApp } from '../../src/app.ts'
import { readDistribution } from '../../src/db/distribution.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { OpenDatabase } from '../../src/db/postgres.ts'
import { readConfig } from '../../src/env.ts'
import { logRequests, observeRequests } from '../../src/http/observe.ts'
import { openLog } from '../../src/log.ts'
import { chooseEngine } from '../../src/node/recover.ts'
import { openWorld } from '../../src/node/world.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import type { PeerFetch } from '../../src/wire/response.ts'
import type { World } from '../../src/world.ts'
import { startWorker } from '../worker/workerd.ts'
import { CITUS_URL, citusDatabase } from './citus.ts'
import { partitionedDatabase } from './partitioned.ts'

export type Engine = 'PGlite' | 'Postgres' | 'workerd'
export const ENGINES: readonly Engine[] = ['PGlite', 'Postgres']
/** Where whatever needs only HTTP and SQL runs: on Node with either database, and in workerd on Postgres. */
export const EVERYWHERE: readonly Engine[] = [...ENGINES, 'workerd']

/** A service under test, as its clients see it, and what they do not see: its database, its log and its clock. */
export interface Service {
  /** `fetch` against the service; `path` is under /api/v1 unless it begins with two slashes. */
  call(path: string, init?: RequestInit & { ip?: string }): Promise<Response>
  world: World
  databaseUrl: string
  database: OpenDatabase
  logged: string[]
  statements: string[]
  /** The parameters of each of the statements; none of workerd's. */
  parameters: (readonly unknown[])[]
  clock: { now: number }
  close(): Promise<void>
}

export interface ServiceOptions {
  env?: Record<string, string>
  databaseUrl?: string
  maxConnections?: number
  /** How a service on Node reaches the chain. */
  fetch?: PeerFetch
  /** Has a service on Node take the partitions of its database for servers: it sends the statements that it sends to Citus. */
  takesPartitionsForServers?: boolean
  /** Changes the world of a service on Node; none reaches into workerd. */
  change?: (world: World) => World
}

/** Starts the real service on a fresh database of its own and the shared devnet. Only the listening socket is missing. */
export async function startService(
  engine: Engine,
  {
    env = {},
    maxConnections,
    fetch: reach,
    takesPartitionsForServers = false,
    change = (world) => world,
    ...given
  }: ServiceOptions = {},
): Promise<Service> {
  const databaseUrl = given.databaseUrl ?? (await freshDatabase(engine))
  const statements: string[] = []
  const parameters: (readonly unknown[])[] = []
  const database = await openDatabase(databaseUrl, {
    ...(engine !== 'workerd' && {
      onStatement: (text: string, given: readonly unknown[]) => {
        statements.push(text)
        parameters.push(given)
      },
    }),
    ...(maxConnections !== undefined && { maxConnections }),
  })
  const devnetUrl = inject('devnetUrl')
  const operatorKey = env.OPERATOR_PRIVATE_KEY ?? `${randomBytes(32).toString('hex')}01`
  if (env.OPERATOR_PRIVATE_KEY === undefined) await fundOperator(devnetUrl, operatorKey)
  const variables = {
    OPERATOR_PRIVATE_KEY: operatorKey,
    DATABASE_URL: databaseUrl,
    STACKS_API_URL: devnetUrl,
    QUOTE_URL: `${devnetUrl}/quote`,
    ENCRYPTION_KEY: randomBytes(32).toString('base64'),
    IP_RATE_LIMIT_PER_MINUTE: '1000000',
    MAX_SETTLING_PER_WALLET: '1000',
    MAX_FAILED_PER_WALLET_AND_DAY: '10000',
    MAX_BURNS_PER_WALLET_AND_DAY: '10000',
    MAX_REQUESTED_BURNS_PER_DAY: '10000',
    LOG_LEVEL: 'debug',
    ...env,
  }
  const config = readConfig(variables)
  const logged: string[] = []
  const clock = { now: Date.now() }
  const now = () => clock.now
  const log = openLog(config.LOG_LEVEL, (line) => logged.push(line), now)
  const found = takesPartitionsForServers ? await readDistribution(database.db) : undefined
  const world = change(
    await openWorld({
      config,
      db: database.db,
      log,
      ownNow: now,
      elapsed: () => performance.now(),
      recover: chooseEngine().recover,
      fixedTime: now,
      ...(reach !== undefined && { fetch: reach }),
      ...(found !== undefined && { distribution: { ...found, hasManyServers: true } }),
    }),
  )
  const workerd =
    engine === 'workerd'
      ? await startWorker(inject('runFolder'), databaseUrl, variables)
      : undefined
  const access = logRequests(log, config.ACCESS_LOG)
  const app = createApp({
    worldOf: () => world,
    addressOf: (c) => c.req.header('x-test-address') ?? '127.0.0.1',
    allowedOrigins: config.ALLOWED_ORIGINS,
    allowedHeaders: config.ALLOWED_HEADERS,
    observe: observeRequests(() => performance.now(), access === undefined ? [] : [access]),
  })
  return {
    async call(path, { ip, ...init } = {}) {
      const url = path.startsWith('//') ? path.slice(1) : `/api/v1${path}`
      if (workerd !== undefined) {
        const { response, trace } = await workerd.call(url, { ...init, ip, now: now() })
        statements.push(...trace.statements)
        logged.push(...trace.logged)
        return response
      }
      const headers = new Headers(init.headers)
      if (ip !== undefined) headers.set('x-test-address', ip)
      return app.request(url, { ...init, headers })
    },
    world,
    databaseUrl,
    database,
    logged,
    statements,
    parameters,
    clock,
    async close() {
      await workerd?.stop()
      await database.close()
    },
  }
}

/** What a second process of the same service is configured with. */
export function secretsOf({ world }: Pick<Service, 'world'>): Record<string, string> {
  const { ENCRYPTION_KEY = '', OPERATOR_PRIVATE_KEYS } = world.config
  const [OPERATOR_PRIVATE_KEY = ''] = OPERATOR_PRIVATE_KEYS
  return { ENCRYPTION_KEY, OPERATOR_PRIVATE_KEY }
}

/** Databases that share one operator would sign for the same nonces: each service has an operator of its own. */
async function fundOperator(devnetUrl: string, privateKey: string): Promise<void> {
  const response = await fetch(`${devnetUrl}/faucet`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ address: addressOf(privateKey, 'devnet') }),
  })
  if (!response.ok) throw new Error(`the operator has no funds: ${await response.text()}`)
}

/**
 * An empty database: PGlite in memory, or a new one in the shared Postgres. With TEST_CITUS_URL it is a distributed one of that cluster,
 * and with TEST_PARTITIONS one whose tables have so many partitions.
 */
export async function freshDatabase(engine: Engine): Promise<string> {
  if (engine === 'PGlite') return 'pglite::memory:'
  if (CITUS_URL !== undefined) return citusDatabase(CITUS_URL)
  const partitions = process.env.TEST_PARTITIONS
  return partitions === undefined ? plainDatabase() : partitionedDatabase(Number(partitions))
}

/** A new database of the shared Postgres, without tables. */
export async function plainDatabase(): Promise<string> {
  const server = inject('postgresUrl')
  const name = `latchkey_${randomUUID().replaceAll('-', '')}`
  const client = postgres(`${server}/postgres`, { max: 1, onnotice: () => {} })
  await client.unsafe(`CREATE DATABASE ${name}`)
  await client.end()
  return `${server}/${name}`
}
