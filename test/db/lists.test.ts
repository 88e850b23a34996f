import { drizzle } from 'drizzle-orm/postgres-js'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import * as schema from '../../src/db/schema.ts'
import { isNameTaken } from '../../src/keys/create.ts'
import { lookUpKeys } from '../../src/keys/find.ts'
import { ORDER_STATUSES } from '../../src/orders/order.ts'
import { answered } from '../support/assertions.ts'
import { freshDatabase, type Service, startService } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

/** As much of an executed plan as is looked at (EXPLAIN ANALYZE, FORMAT JSON). */
interface Node {
  'Node Type': string
  'Actual Rows': number
  'Actual Loops': number
  'Rows Removed by Filter'?: number
  'Rows Removed by Index Recheck'?: number
  Plans?: Node[]
}

const ROWS = 100_000
/** Rows that a page of a hundred may read: its own, one more, and the same again where they come from two places. */
const PAGE = 600
/** What the search for signed messages without events looks at for a page, and their events. */
const SCAN = 12_000

/** What one wallet has after years, or after a day of abuse: what tells row number `n` from the one that it is copied from. */
const GROWTH: readonly [table: string, changed: string][] = [
  ['signed_actions', `'id', 1000 + n, 'message_hash', '\\x' || md5('m' || n)`],
  [
    'api_keys',
    `'id', 'key_' || n, 'name', 'old ' || n, 'grant_id', 1000 + n, 'key_preview', 'ck_live_' || n,
      'key_hash', '\\x' || md5('a' || n) || md5('b' || n), 'created_at', now() - n * interval '1 second',
      'revoked_at', CASE WHEN n % 2 = 0 THEN now() END, 'expires_at', CASE WHEN n % 2 = 1 THEN now() - interval '1 hour' END`,
  ],
  ['audit_events', `'sequence', 1000 + n, 'action_id', 1000 + n`],
  [
    'sessions',
    `'id', 'ses_' || n, 'secret_hash', '\\x' || md5('s' || n), 'expires_at', now() - interval '1 hour'`,
  ],
  [
    'orders',
    `'uuid', 'order-' || n, 'sequence', 1000 + n,
      'status', (ARRAY['open', 'confirmed', 'cancelled', 'expired'])[1 + n % 4]`,
  ],
]

describe('A page, of a hundred thousand rows of one wallet,', () => {
  let service: Service
  let client: postgres.Sql
  let wallet: Wallet
  let logged: { query: string; params: unknown[] }[] = []

  beforeAll(async () => {
    const databaseUrl = await freshDatabase('Postgres')
    client = postgres(databaseUrl, { max: 4, onnotice: () => {} })
    const logger = {
      logQuery: (query: string, params: unknown[]) => void logged.push({ query, params }),
    }
    service = await startService('Postgres', {
      databaseUrl,
      change: (world) => ({ ...world, db: drizzle({ client, schema, logger }) }),
    })
    wallet = newWallet(service)
    await createKey(service, wallet)
    await createOrder(service, wallet)
    const open = json(wallet.sign({ action: 'create_session', ttlSeconds: 60 }))
    await answered(await service.call('/sessions', open), 201)
    for (const [table, changed] of GROWTH)
      await client.unsafe(`INSERT INTO ${table} SELECT made.*
        FROM (SELECT to_jsonb(${table}) AS row FROM ${table} LIMIT 1) AS one, generate_series(1, ${ROWS}) AS n,
          jsonb_populate_record(NULL::${table}, row || jsonb_build_object(${changed})) AS made`)
    await client.unsafe('VACUUM ANALYZE')
  }, 180_000)
  afterAll(async () => {
    await client?.end()
    await service?.close()
  })

  /** The rows that the queries of a call read, each with the parameters that it had. */
  async function rowsRead(call: () => Promise<unknown>): Promise<number> {
    logged = []
    await call()
    const queries = logged.filter(({ query }) => /^\s*(select|with)\b/i.test(query))
    expect(queries.length).toBeGreaterThan(0)
    let read = 0
    for (const { query, params } of queries) {
      const text = `EXPLAIN (ANALYZE, FORMAT JSON) ${query}`
      const [row] = await client.unsafe(text, params as never[])
      read += scanned((row?.['QUERY PLAN'] as [{ Plan: Node }])[0].Plan)
    }
    return read
  }
  const get = async (path: string, action?: string) => {
    const headers = action === undefined ? {} : wallet.signHeaders({ action })
    return answered(await service.call(path, { headers }))
  }

  it.each([
    ['/api-keys', 'list_api_keys'],
    ['/api-keys?live=true', 'list_api_keys'],
    ['/api-keys?live=false', 'list_api_keys'],
    ['/api-keys?cursor=key_50000', 'list_api_keys'],
    ['/api-keys?live=true&cursor=key_50000', 'list_api_keys'],
    ['/audit', 'list_audit'],
    ['/audit?after=50000', 'list_audit'],
    ['/orders', undefined],
    ['/orders?cursor=50000', undefined],
    ...ORDER_STATUSES.flatMap((status) => [
      [`/orders?status=${status}&limit=100`, undefined],
      [`/orders?status=${status}&limit=100&owner=OWNER`, undefined],
      [`/orders?status=${status}&limit=100&cursor=50000&owner=OWNER`, undefined],
    ]),
  ] as [string, string | undefined][])('reads its own rows: %s', async (path, action) => {
    const asked = path.replace('OWNER', wallet.address)
    expect(await rowsRead(() => get(asked, action))).toBeLessThan(PAGE)
  })

  it('looks for messages without events in bounded steps', async () => {
    expect(await rowsRead(() => get('/audit?after=200000', 'list_audit'))).toBeLessThan(SCAN)
    const later = '/audit?after=200000&unrecordedAfter=50000'
    expect(await rowsRead(() => get(later, 'list_audit'))).toBeLessThan(SCAN)
  })

  it('of an operator reads its own rows', async () => {
    const { db } = service.world
    for (const filter of [
      {},
      { after: 'key_50000' },
      { walletAddress: wallet.address },
      { walletAddress: wallet.address, after: 'key_50000' },
      { preview: 'ck_live_777' },
      { keyId: 'key_777' },
    ])
      expect(await rowsRead(() => lookUpKeys({ db }, filter)), JSON.stringify(filter)).toBeLessThan(
        2_100,
      )
  })

  it('is not needed to know which names are taken, nor whether one key or session more is due', async () => {
    const { db } = service.world
    const { now } = service.clock
    expect(await rowsRead(() => isNameTaken(db, wallet.address, 'bot', now))).toBeLessThan(20)
    expect(await rowsRead(() => refuseKey())).toBeLessThan(PAGE + 10_000)
  })

  const refuseKey = async () => {
    const grant = { action: 'create_api_key', keyName: 'late', permissions: [] }
    const response = await service.call('/api-keys', json(wallet.sign(grant)))
    expect((await response.json()) as object).toMatchObject({
      code: 'KEY_HISTORY_FULL',
      details: { limit: 10_000 },
    })
  }
})

/** The rows that the scans of a plan returned or skipped. */
function scanned(node: Node): number {
  const { 'Node Type': type, 'Actual Rows': found, 'Actual Loops': loops } = node
  const skipped =
    (node['Rows Removed by Filter'] ?? 0) + (node['Rows Removed by Index Recheck'] ?? 0)
  const own =
    /Scan$/.test(type) && !/^(CTE|Subquery|Function) Scan$/.test(type)
      ? loops * (found + skipped)
      : 0
  return own + (node.Plans ?? []).reduce((sum, plan) => sum + scanned(plan), 0)
}
