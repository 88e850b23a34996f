import { randomBytes } from 'node:crypto'
import { sql } from 'drizzle-orm'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { toHex } from '../../src/crypto/bytes.ts'
import { rows } from '../../src/db/database.ts'
import type { NewOrder } from '../../src/orders/order.ts'
import { orderHash } from '../../src/orders/validate.ts'
import { signMessage } from '../../src/stacks/sign.ts'
import { isDocumented } from '../http/documented.ts'
import { writeMacs } from '../support/remac.ts'
import { unknownSecret } from '../support/secrets.ts'
import { type Service, startService } from '../support/service.ts'
import { issueCredential, unknownCredential } from '../support/service-credentials.ts'
import { createKey, createOrder, fund, newWallet, type Wallet } from '../support/wallet.ts'
import { json, name, objectChange, text, textChange } from './hostile-requests.ts'

/** A share of it in `npm test`; FUZZ_RUNS=100000 is the whole. */
const RUNS = Number(process.env.FUZZ_RUNS ?? 10_000)

/** The keys that no request revokes come first. */
const LASTING_KEYS = 11

interface Draft {
  method: string
  path: string
  headers: Record<string, string>
  body?: object | string | Uint8Array<ArrayBuffer>
}

/** Draws from what a wallet, a bot or an attacker may hold. */
interface Dice {
  pick<T>(from: readonly T[]): T
}

let service: Service
let wallet: Wallet
let stranger: Wallet
let keys: { apiKey: string; keyId: string }[]
let uuids: string[]
let sessions: string[]
let credentials: string[]
const secrets = new Set<string>()

beforeAll(async () => {
  service = await startService('PGlite', {
    env: {
      RATE_LIMIT_PER_MINUTE: '1000000',
      RATE_LIMIT_PER_HOUR: '10000000',
      RATE_LIMIT_PER_DAY: '100000000',
      MAX_ACTIVE_KEYS_PER_WALLET: '50',
      LOG_LEVEL: 'warn',
    },
  })
  await arrange()
  await countChanges()
}, 120_000)
afterAll(() => service.close())

/** A wallet and a stranger with keys and orders in every state. */
async function arrange(): Promise<void> {
  wallet = newWallet(service)
  stranger = newWallet(service)
  await fund(service, wallet)
  const expiresAt = service.clock.now + 1
  keys = [
    await createKey(service, wallet),
    await createKey(service, wallet),
    await createKey(service, wallet),
    await createKey(service, wallet, { permissions: ['create'] }),
    await createKey(service, wallet, { permissions: [] }),
    await createKey(service, wallet, { expiresAt }),
    await createKey(service, stranger),
    { apiKey: unknownSecret(), keyId: 'key_never' },
  ]
  const suspended = await createKey(service, wallet)
  const listed = await createKey(service, wallet, { ipAllowlist: ['192.0.2.0/24'] })
  const slow = await createKey(service, wallet)
  keys.push(suspended, listed, slow, await createKey(service, wallet))
  for (const { apiKey } of keys) secrets.add(apiKey)
  await rows(
    service.world.db,
    sql`UPDATE api_keys SET suspended_at = now() WHERE id = ${suspended.keyId}`,
  )
  await rows(
    service.world.db,
    sql`UPDATE api_keys SET rate_limit_per_minute = 9 WHERE id = ${slow.keyId}`,
  )
  for (const { keyId } of [suspended, slow])
    await writeMacs(service.world.db, service.world.mac, sql`id = ${keyId}`)
  credentials = [(await issueCredential(service)).secret, unknownCredential()]
  for (const credential of credentials) secrets.add(credential)
  sessions = await Promise.all([wallet, wallet, stranger].map(openSession))
  for (const session of sessions) secrets.add(session)
  service.clock.now = expiresAt
  uuids = [
    await createOrder(service, wallet),
    await createOrder(service, wallet),
    await createOrder(service, stranger),
    await createOrder(service, wallet, { validTo: '2024-01-01T00:00:00Z' }),
    await createOrder(service, wallet, { validFrom: '2099-01-01T00:00:00Z' }),
    'never-was',
  ]
}

async function openSession(by: Wallet, number: number): Promise<string> {
  const timestamp = service.clock.now - number
  const message = by.sign({ action: 'create_session', ttlSeconds: 3_600, timestamp })
  const response = await service.call('/sessions', {
    method: 'POST',
    body: JSON.stringify(message),
  })
  return ((await response.json()) as { session: string }).session
}

describe('No request, however hostile,', () => {
  it(`makes the service fail, or changes anything without a success (${RUNS} tries)`, async () => {
    const statuses = new Map<string, number>()
    let changes = await changed()
    let tries = 0
    await fc.assert(
      fc.asyncProperty(request, async (draft) => {
        // The list of a wallet's keys grows, and would be all that is waited for.
        if (++tries % 2_000 === 0) {
          await arrange()
          changes = await changed()
        }
        const response = await send(draft)
        const outcome = String(response?.status ?? 'not sent: the platform refuses to')
        statuses.set(outcome, (statuses.get(outcome) ?? 0) + 1)
        if (response === undefined) return
        const { status } = response
        const bare = pathOf(draft)
        const body = await response.clone().text()
        expect(status, `${body}\n${service.logged.at(-1)}`).not.toBe(500)
        await isDocumented(draft.method, bare, response)
        if (bare !== '') checkHeaders(response)
        if (isGrant(draft.method, bare, status)) memoize(JSON.parse(body))
        else expect(secretIn(body)).toBeUndefined()

        const now = await changed()
        if (now !== changes) expect(mayChange(draft.method, bare, status), body).toBe(true)
        else expect(mustChange(draft.method, bare, status), body).toBe(false)
        changes = now
      }),
      { numRuns: RUNS, endOnFailure: true, verbose: 0 },
    )
    expect(secretIn(service.logged.join('\n'))).toBeUndefined()
    console.log(`fuzz: ${RUNS} requests answered`, Object.fromEntries([...statuses].sort()))
    // Noise alone would find no door: the valid requests among it must have got through.
    for (const status of ['200', '201', '400', '401', '403', '404', '405', '409', '413', '429'])
      expect(statuses.get(status) ?? 0, status).toBeGreaterThan(RUNS / 10_000)
  }, 3_600_000)
})

/** What answers a secret, for once. */
function isGrant(method: string, path: string, status: number): boolean {
  if (method !== 'POST') return false
  return status === 201 ? !path.startsWith('/orders/') : status === 200 && /rotate$/.test(path)
}

/** What may change anything at all. */
function mayChange(method: string, path: string, status: number): boolean {
  return mustChange(method, path, status) || (/execute$/.test(path) && [502, 503].includes(status))
}

/** What is a change once it has succeeded. */
function mustChange(method: string, path: string, status: number): boolean {
  if (status === 201) return true
  if (status !== 200 && status !== 202) return false
  return (
    method === 'DELETE' ||
    method === 'PATCH' ||
    (method === 'POST' && (/execute$/.test(path) || path.startsWith('/api-keys/')))
  )
}

/** Tables that a request counts in, whatever becomes of it. */
const COUNTERS = ['key_counters', 'key_usage', 'key_sightings', 'service_credentials', 'wallets']

/** Counts, in the transaction that makes it, each change but those of statistics, locks and a key's own counters. */
async function countChanges(): Promise<void> {
  const { db } = service.world
  const statements = [
    'CREATE SCHEMA fuzz',
    'CREATE TABLE fuzz.changes (count bigint NOT NULL)',
    'INSERT INTO fuzz.changes VALUES (0)',
    `CREATE FUNCTION fuzz.count() RETURNS trigger LANGUAGE plpgsql AS
      'BEGIN UPDATE fuzz.changes SET count = count + 1; RETURN NULL; END'`,
  ]
  const tables = await rows<{ name: string }>(
    db,
    sql`SELECT table_name AS name FROM information_schema.tables WHERE table_schema = 'public'`,
  )
  for (const { name } of tables) {
    if (COUNTERS.includes(name)) continue
    const columns = name === 'api_keys' ? ' OF id, key_hash, rights_mac, label, justification' : ''
    const events =
      name === 'audit_events'
        ? `INSERT ON "${name}" FOR EACH ROW WHEN (NEW.body NOT LIKE '%"event":"refused"%')`
        : `INSERT OR DELETE OR UPDATE${columns} ON "${name}" FOR EACH ROW`
    statements.push(`CREATE TRIGGER count AFTER ${events} EXECUTE FUNCTION fuzz.count()`)
  }
  for (const statement of statements) await db.execute(sql.raw(statement))
}

async function changed(): Promise<number> {
  const [{ count } = { count: -1 }] = await rows<{ count: number }>(
    service.world.db,
    sql`SELECT count::int FROM fuzz.changes`,
  )
  return count
}

function secretIn(text: string): string | undefined {
  return [...secrets].find((secret) => text.includes(secret))
}

function memoize(granted: { apiKey: string; keyId: string } | { session: string }): void {
  if ('session' in granted) {
    secrets.add(granted.session)
    sessions[3 + Math.floor(Math.random() * 4)] = granted.session
    return
  }
  const { apiKey, keyId } = granted
  secrets.add(apiKey)
  keys[LASTING_KEYS + Math.floor(Math.random() * 4)] = { apiKey, keyId }
}

const HEADERS = [
  'X-RateLimit-Limit',
  'X-RateLimit-Remaining',
  'X-RateLimit-Reset',
  'X-RateLimit-Window',
  'RateLimit',
  'RateLimit-Policy',
  'X-Request-Id',
]

function checkHeaders({ headers, status }: Response): void {
  const missing = HEADERS.filter((name) => !headers.has(name))
  if (missing.length > 0 || headers.get('Cache-Control') !== 'no-store')
    expect.unreachable(`headers missing: ${missing}`)
  if ((status === 429 || status === 503) && !headers.has('Retry-After'))
    expect.unreachable('Retry-After is missing')
}

/** The path under /api/v1 as a URL has it, without `..`; empty when it leads out of there. */
function pathOf({ path }: Draft): string {
  const { pathname } = new URL(`http://service/api/v1${path}`)
  return pathname.startsWith('/api/v1/') ? pathname.slice('/api/v1'.length) : ''
}

/** Undefined for what the platform itself does not let through. */
async function send({ method, path, headers, body }: Draft): Promise<Response | undefined> {
  const init: RequestInit & { ip?: string } = { method }
  try {
    init.headers = new Headers(headers)
    new Request(`http://service/api/v1${path}`, init)
  } catch {
    return undefined
  }
  const bodyless = method === 'GET' || method === 'HEAD'
  if (body !== undefined && !bodyless)
    init.body = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body)
  return service.call(`//api/v1${path}`, init)
}

/** Signs members, or any text, as one of the wallets. */
function signed(by: Wallet, members: object | string) {
  const message =
    typeof members === 'string'
      ? members
      : JSON.stringify({ timestamp: service.clock.now, ...members })
  const signature = message.isWellFormed()
    ? signMessage({ message, privateKey: by.privateKey })
    : 'a'.repeat(130)
  return { message, signature, walletAddress: by.address }
}

const asHeaders = ({ message, signature, walletAddress }: ReturnType<typeof signed>) => ({
  'X-Message': message,
  'X-Signature': signature,
  'X-Wallet-Address': walletAddress,
})

/** What an owner signs about a key: how it goes, where, and members that are valid. */
const ACTS_ON_KEYS = [
  ['PATCH', '', 'update', { label: 'fuzzed', tokens: ['.stx'], maxAmountIn: null }],
  ['POST', '/rotate', 'rotate', { graceSeconds: 60 }],
  ['POST', '/suspend', 'suspend', {}],
  ['POST', '/resume', 'resume', {}],
] as const

/** The valid requests that hostile ones are made from. */
const recipes: ((dice: Dice) => { draft: Draft; members?: object })[] = [
  () => ({
    draft: { method: 'POST', path: '/api-keys', headers: {} },
    members: { action: 'create_api_key', keyName: toHex(randomBytes(4)), permissions: ['cancel'] },
  }),
  () => ({
    draft: { method: 'GET', path: '/api-keys', headers: {} },
    members: { action: 'list_api_keys' },
  }),
  ({ pick }) => {
    const { keyId } = pick(keys)
    return {
      draft: { method: 'GET', path: `/api-keys/${keyId}`, headers: {} },
      members: { action: 'get_api_key', keyId },
    }
  },
  ({ pick }) => {
    const { keyId } = pick(keys.slice(LASTING_KEYS))
    return {
      draft: { method: 'DELETE', path: `/api-keys/${keyId}`, headers: {} },
      members: { action: 'delete_api_key', keyId },
    }
  },
  ({ pick }) => {
    const { keyId } = pick(keys.slice(LASTING_KEYS))
    const [method, suffix, verb, members] = pick(ACTS_ON_KEYS)
    return {
      draft: { method, path: `/api-keys/${keyId}${suffix}`, headers: {} },
      members: { action: `${verb}_api_key`, keyId, ...members },
    }
  },
  ({ pick }) => {
    const { keyId } = pick(keys.slice(LASTING_KEYS))
    const notAfter = service.clock.now + 86_400_000
    return {
      draft: { method: 'POST', path: `/api-keys/${keyId}/revoke`, headers: {} },
      members: { action: 'revoke_api_key', keyId, notAfter },
    }
  },
  ({ pick }) => ({
    draft: {
      method: 'POST',
      path: '/api-keys/revoke-all',
      headers: {},
      body: signed(newWallet(service), {
        action: 'revoke_all_api_keys',
        cancelOpenOrders: pick([true, false]),
      }),
    },
  }),
  ({ pick }) => ({
    draft: {
      method: 'DELETE',
      path: '/api-keys/self',
      headers: { 'X-API-Key': pick(keys.slice(LASTING_KEYS)).apiKey },
    },
  }),
  () => ({
    draft: { method: 'POST', path: '/sessions', headers: {} },
    members: { action: 'create_session', ttlSeconds: 60 },
  }),
  ({ pick }) => ({
    draft: {
      method: 'DELETE',
      path: '/sessions/self',
      headers: { Authorization: `Bearer ${pick(sessions.slice(2))}` },
    },
  }),
  ({ pick }) => ({
    draft: {
      method: 'GET',
      path: pick([
        '/api-keys',
        `/api-keys/${pick(keys).keyId}`,
        `/api-keys/${pick(keys).keyId}/usage?by=hour&days=90`,
        '/audit?after=1&limit=5',
        `/orders?owner=${wallet.address}`,
      ]),
      headers: { Authorization: `Bearer ${pick(sessions)}` },
    },
  }),
  () => ({
    draft: { method: 'GET', path: '/audit?limit=1', headers: {} },
    members: { action: 'list_audit' },
  }),
  ({ pick }) => ({
    draft: { method: 'GET', path: '/me', headers: { 'X-API-Key': pick(keys).apiKey } },
  }),
  ({ pick }) => ({
    draft: {
      method: 'POST',
      path: '/orders/new',
      headers: { 'X-API-Key': pick(keys).apiKey },
      body: newOrder(),
    },
  }),
  ({ pick }) => ({
    draft: {
      method: 'POST',
      path: '/keys/verify',
      headers: { 'X-Service-Credential': pick(credentials) },
      body: {
        apiKey: pick(keys).apiKey,
        scope: pick(['create', 'read', 'rfq']),
        cost: pick([1, 2, 9, 1_000]),
        ip: pick(['192.0.2.1', '2001:db8::1']),
      },
    },
  }),
  ({ pick }) => ({
    draft: {
      method: pick(['GET', 'POST']),
      path: pick(['/auth/forward?scope=create', '/auth/forward?scope=execute&cost=3']),
      headers: { 'X-Service-Credential': pick(credentials), 'X-API-Key': pick(keys).apiKey },
    },
  }),
  () => ({ draft: { method: 'POST', path: '/orders/new', headers: {}, body: newOrder() } }),
  () => {
    const order = wallet.order({ recipient: stranger.address })
    const { message, signature } = signed(wallet, {
      action: 'create_order',
      orderHash: orderHash(order),
    })
    return {
      draft: {
        method: 'POST',
        path: '/orders/new',
        headers: {},
        body: { ...order, message, messageSignature: signature },
      },
    }
  },
  ({ pick }) => ({
    draft: {
      method: 'POST',
      path: `/orders/${pick(uuids)}/execute`,
      headers: { 'X-API-Key': pick(keys).apiKey },
    },
  }),
  ({ pick }) => ({
    draft: {
      method: 'PATCH',
      path: `/orders/${pick(uuids)}/cancel`,
      headers: { Authorization: `Bearer ${pick(keys).apiKey}` },
    },
  }),
  ({ pick }) => {
    const uuid = pick(uuids)
    return {
      draft: { method: 'POST', path: `/orders/${uuid}/execute`, headers: {} },
      members: { action: 'execute_order', uuid },
    }
  },
  ({ pick }) => {
    const uuid = pick(uuids)
    return {
      draft: { method: 'PATCH', path: `/orders/${uuid}/cancel`, headers: {} },
      members: { action: 'cancel_order', uuid },
    }
  },
  ({ pick }) => ({ draft: { method: 'GET', path: `/orders/${pick(uuids)}`, headers: {} } }),
  ({ pick }) => ({
    draft: {
      method: 'GET',
      path: `/orders?owner=${wallet.address}&status=open&limit=5&cursor=9`,
      headers: { 'X-API-Key': pick(keys).apiKey },
    },
  }),
  () => ({
    draft: { method: 'GET', path: '/orders?limit=2', headers: {} },
    members: { action: 'list_orders' },
  }),
  ({ pick }) => ({
    draft: {
      method: 'GET',
      path: pick(['/info', '/time', '/health', '/scopes', '/orders']),
      headers: {},
    },
  }),
  () => ({
    draft: {
      method: 'POST',
      path: '/devnet/faucet',
      headers: {},
      // Never a valid one: the chain is not what is tried here.
      body: { address: `${wallet.address}0` },
    },
  }),
]

/** A new order each time; some of them are there to be executed and cancelled later. */
function newOrder(): NewOrder {
  const order = wallet.order({
    validTo: '2099-01-01T00:00:00Z',
    ...(Math.random() < 0.5 && {
      targetPrice: '1.5',
      direction: 'lt',
      conditionToken: '*',
    }),
  })
  uuids[6 + Math.floor(Math.random() * 4)] = order.uuid
  secrets.add(order.signature.slice(0, 64))
  if (secrets.size > 400) secrets.delete([...secrets][0] ?? '')
  return order
}

const method = fc.constantFrom('GET', 'POST', 'PATCH', 'DELETE', 'PUT', 'HEAD2', 'POST', 'GET')
const headerName = fc.constantFrom(
  'X-API-Key',
  'Authorization',
  'X-Message',
  'X-Signature',
  'X-Wallet-Address',
  'X-Public-Key',
  'Content-Type',
  'Content-Length',
  'X-Forwarded-For',
  'X-Request-Id',
  'Origin',
  'Accept',
  'x-test-address',
)
const headerValue = fc.oneof(
  text,
  fc.constantFrom(
    'Bearer ',
    'Bearer  x',
    'Basic eA==',
    '10',
    '-1',
    '1e9',
    '::1',
    'fe80::1%eth0',
    '192.0.2.7',
    '1.2.3.4.5',
    '::ffff:1.2.3.4',
    '1::2::3',
  ),
)
const bytes = fc.uint8Array({ maxLength: 200 }) as fc.Arbitrary<Uint8Array<ArrayBuffer>>

/** What a path may hold once it is decoded, and what a database reads differently. */
const pathPiece = fc.oneof(
  fc.constantFrom('\u0000', 'a\u0000', '"', "'", '{', '}', '{}', ',', 'a,b', '\\', 'NULL', 'null'),
  fc.constantFrom('%', '%00', '%ZZ', '%ED%A0%80', '%2F', '..', '.', '', 'new', 'a'.repeat(36)),
  text,
)

type Change = (draft: Draft) => Draft
const change: fc.Arbitrary<Change> = fc.oneof(
  {
    weight: 6,
    arbitrary: objectChange.map(
      (change): Change =>
        (draft) =>
          typeof draft.body === 'object' && !(draft.body instanceof Uint8Array)
            ? { ...draft, body: change(draft.body) }
            : draft,
    ),
  },
  {
    weight: 3,
    arbitrary: textChange.map(
      (change): Change =>
        ({ body, ...draft }) => ({
          ...draft,
          body: change(typeof body === 'string' ? body : JSON.stringify(body ?? '')),
        }),
    ),
  },
  {
    weight: 1,
    arbitrary: bytes.map(
      (body): Change =>
        (draft) => ({ ...draft, body }),
    ),
  },
  {
    weight: 1,
    arbitrary: fc.tuple(fc.nat(20_000), fc.constantFrom('[', '{"a":', ' ', '"', '9')).map(
      ([times, piece]): Change =>
        (draft) => ({ ...draft, body: piece.repeat(times) }),
    ),
  },
  {
    weight: 1,
    arbitrary: json.map(
      (body): Change =>
        (draft) => ({ ...draft, body: JSON.stringify(body) ?? '' }),
    ),
  },
  {
    weight: 1,
    arbitrary: method.map(
      (method): Change =>
        (draft) => ({ ...draft, method }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(headerName, headerValue).map(
      ([name, value]): Change =>
        (draft) => ({ ...draft, headers: { ...draft.headers, [name]: value } }),
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(), textChange).map(
      ([at, change]): Change =>
        (draft) => {
          const names = Object.keys(draft.headers)
          const name = names[at % Math.max(1, names.length)]
          if (name === undefined) return draft
          return {
            ...draft,
            headers: { ...draft.headers, [name]: change(draft.headers[name] ?? '') },
          }
        },
    ),
  },
  {
    weight: 1,
    arbitrary: fc.nat().map(
      (at): Change =>
        (draft) => {
          const headers = Object.entries(draft.headers)
          headers.splice(at % Math.max(1, headers.length), 1)
          return { ...draft, headers: Object.fromEntries(headers) }
        },
    ),
  },
  {
    weight: 3,
    arbitrary: fc.tuple(fc.nat(), pathPiece, fc.boolean()).map(
      ([at, text, encode]): Change =>
        (draft) => {
          const [path = '', query] = draft.path.split('?')
          const steps = path.split('/')
          const piece = text
            .replaceAll(/[?#\\/]/g, '')
            .slice(0, 300)
            .toWellFormed()
          steps[1 + (at % (steps.length - 1))] = encode ? encodeURIComponent(piece) : piece
          return { ...draft, path: steps.join('/') + (query === undefined ? '' : `?${query}`) }
        },
    ),
  },
  {
    weight: 2,
    arbitrary: fc
      .tuple(
        fc.oneof(
          fc.constantFrom('owner', 'status', 'limit', 'cursor', 'after', 'by', 'days'),
          name,
        ),
        text,
      )
      .map(
        ([name, value]): Change =>
          (draft) => {
            const parameter = new URLSearchParams({ [name.toWellFormed()]: value.toWellFormed() })
            return {
              ...draft,
              path: `${draft.path}${draft.path.includes('?') ? '&' : '?'}${parameter}`,
            }
          },
      ),
  },
)

/** A valid request with up to four changes: some before it is signed, some after. */
const request: fc.Arbitrary<Draft> = fc
  .record({
    recipe: fc.nat(recipes.length - 1),
    draws: fc.array(fc.nat(), { minLength: 3, maxLength: 3 }),
    strangers: fc.nat(9).map((one) => one === 0),
    unsigned: fc.array(objectChange, { maxLength: 1 }),
    unwritten: fc.array(textChange, { maxLength: 1 }),
    touch: fc.nat(5),
    changes: fc.array(change, { maxLength: 3 }),
  })
  .map(({ recipe, draws, strangers, unsigned, unwritten, touch, changes }) => {
    let draw = 0
    const pick: Dice['pick'] = (from) => {
      const filled = from.filter((one) => one !== undefined)
      return filled[(draws[draw++ % 3] ?? 0) % filled.length] as never
    }
    const { draft, members } = (recipes[recipe] as (typeof recipes)[number])({ pick })
    let made = draft
    if (members !== undefined) {
      const wish = touch > 3 ? unsigned.reduce((so, change) => change(so), members) : members
      const plain = signed(strangers ? stranger : wallet, wish)
      const proof =
        touch === 3 && unwritten[0] !== undefined
          ? signed(wallet, unwritten[0](plain.message))
          : plain
      made =
        draft.method === 'GET' ? { ...draft, headers: asHeaders(proof) } : { ...draft, body: proof }
    }
    return touch === 0 ? made : changes.reduce((so, change) => change(so), made)
  })
