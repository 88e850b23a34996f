import { sql as sqlOf } from 'drizzle-orm'
import postgres, { type Sql } from 'postgres'
import { expect, it, onTestFinished } from 'vitest'
import { watchKeys } from '../../src/alerts/watch.ts'
import { rows } from '../../src/db/database.ts'
import { JOBS } from '../../src/jobs.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import { useEverything } from '../http/everything.ts'
import { type Service, startService } from '../support/service.ts'
import { newWallet } from '../support/wallet.ts'
import { createWebhook, deliverAll } from '../webhooks/own.ts'

/** As much of a plan as is looked at (EXPLAIN, FORMAT JSON). */
interface Node {
  'Node Type': string
  'Relation Name'?: string
  'Index Cond'?: string
  Plans?: Node[]
}

/** What reads a whole table on purpose, and why it may. */
const WHOLE_TABLES = [
  /^SELECT 1 FROM api_keys WHERE rights_mac IS NULL LIMIT 1/, // Once, when a process starts.
]
/** Of a few rows, on one page. */
const SMALL = ['operators', 'leases', 'encryption_keys', 'archives', 'service_credentials']

/** How tables grow: what tells row number `n` from the one that it is copied from. */
const ROWS = 20_000
const GROWTH: Readonly<Record<string, string>> = {
  wallets: `'address', 'W' || n, 'shard', wallet_shard('W' || n)`,
  signed_actions: `'id', 1000 + n, 'wallet_address', 'W' || n % 1000, 'message_hash', '\\x' || md5('m' || n)`,
  api_keys: `'id', 'key_' || n, 'wallet_address', 'W' || n % 1000, 'key_hash', '\\x' || md5('a' || n) || md5('b' || n),
    'previous_key_hash', '\\x' || md5('c' || n) || md5('d' || n)`,
  audit_events: `'wallet_address', 'W' || n % 1000, 'sequence', n`,
  sessions: `'id', 'ses_' || n, 'wallet_address', 'W' || n % 1000, 'secret_hash', '\\x' || md5('s' || n)`,
  orders: `'uuid', 'order-' || n, 'sequence', 1000 + n, 'owner', 'W' || n % 1000,
    'status', CASE WHEN n % 4 = 0 THEN 'open' ELSE 'confirmed' END`,
  order_events: `'id', 1000 + n, 'order_uuid', 'order-' || n`,
  transactions: `'txid', 'tx' || n, 'order_uuid', 'order-' || n, 'nonce', n, 'status', 'mined', 'check_at', NULL`,
  notices: `'id', 'msg_' || n, 'sequence', 1000 + n, 'wallet_address', 'W' || n % 1000`,
  deliveries: `'notice_id', 'msg_' || n, 'webhook_id', 'wh_' || n % 1000`,
  key_usage: `'key_id', 'key_' || n`,
  key_sightings: `'key_id', 'key_' || n`,
  key_watches: `'key_id', 'key_' || n, 'wallet_address', 'W' || n % 1000`,
  key_findings: `'key_id', 'key_' || n, 'wallet_address', 'W' || n % 1000`,
  key_rates: `'key_id', 'key_' || n`,
  key_spending: `'key_id', key_id, 'shard', shard, 'day', 30000 + n`,
  request_nonces: `'nonce', '\\x' || md5('n' || n)`,
}

it('finds rows by an index once tables have grown', { timeout: 300_000 }, async () => {
  const service = await startService('Postgres')
  await useEverything(service)
  await reconcile(service.world)
  await service.world.usage.flush(service.world.db)
  await leaveDelivery(service)
  await watchKeys(service.world)
  const sql = postgres(service.databaseUrl, { max: 1, onnotice: () => {} })
  onTestFinished(async () => {
    await sql.end()
    await service.close()
  })
  const deletions = await forgetAll(service, sql)
  for (const row of YOUNG) await sql.unsafe(row)
  for (const [table, changed] of Object.entries(GROWTH)) await grow(sql, table, changed)
  await sql`ANALYZE`
  await sql`SET enable_seqscan = off`

  const texts = [...new Set(service.statements)]
    .map((text) => text.trim())
    .filter((text) => /^(select|insert|update|delete|with)\b/i.test(text))
    .filter((text) => !WHOLE_TABLES.some((statement) => statement.test(text)))
  expect(texts.length).toBeGreaterThan(40)
  const planOf = async (text: string) => {
    const [row] = await sql.unsafe(`EXPLAIN (GENERIC_PLAN, FORMAT JSON) ${text}`)
    return (row?.['QUERY PLAN'] as [{ Plan: Node }])[0].Plan
  }
  for (const text of texts) expect(wholeScans(await planOf(text)), text).toEqual([])
  // A clock is volatile, and an index looks up no value that may change from row to row.
  const searches = texts.filter((text) => READ_ONCE.test(text))
  expect(searches).toHaveLength(4)
  for (const text of searches) {
    const plan = await planOf(
      text.replace(READ_ONCE, '(SELECT greatest($$$1::timestamptz, clock_timestamp()))'),
    )
    expect(JSON.stringify(plan), text).toMatch(
      /"Index Cond":"[^"]*(due_at|check_at|valid_to) <= \(InitPlan/,
    )
  }
  // A limit does not excuse these: a search for rows that are over would read all others where there are none.
  expect(deletions).toHaveLength(12)
  for (const text of deletions) {
    expect(text).toMatch(/^SELECT .* LIMIT \$\d+::int$|jsonb_to_recordset/s)
    expect(wholeScans(await planOf(text), 'ignored'), text).toEqual([])
  }
})

/** The time of a search for what is due; a parameter, because a test has a clock of its own. */
const READ_ONCE = /\(SELECT \$(\d+)::timestamptz\)/

const OVER = [
  `INSERT INTO key_usage (key_id, shard, hour, outcome) SELECT id, shard, 'epoch', 'OK' FROM api_keys LIMIT 1`,
  `INSERT INTO key_sightings (key_id, shard, kind, value, first_seen_at, last_seen_at)
    SELECT id, shard, 'ip', '', 'epoch', 'epoch' FROM api_keys LIMIT 1`,
  `INSERT INTO key_findings (key_id, shard, wallet_address, rule, subject, at, details)
    SELECT id, shard, wallet_address, 'newAddress', 'subject', 'epoch', '{}' FROM api_keys LIMIT 1`,
  `INSERT INTO key_rates (key_id, shard, seconds, "window") SELECT id, shard, 60, 1 FROM api_keys LIMIT 1`,
  `INSERT INTO key_spending (key_id, shard, token, day, amount) SELECT id, shard, 'token', 1, 1 FROM api_keys LIMIT 1`,
  `INSERT INTO request_nonces (key_id, shard, nonce, fresh_until) SELECT id, shard, 'nonce', 'epoch' FROM api_keys LIMIT 1`,
  `INSERT INTO notices (wallet_address, shard, type, data, at) SELECT wallet_address, shard, 'key.leaked', '{}', 'epoch'
    FROM api_keys LIMIT 1`,
]

/** Rows that tables may be without, for them to grow from. */
const YOUNG = [
  `INSERT INTO key_spending (key_id, shard, token, day, amount) SELECT id, shard, 'token', 29999, 1 FROM api_keys LIMIT 1`,
  `INSERT INTO request_nonces (key_id, shard, nonce, fresh_until) SELECT id, shard, 'young', now() + interval '1 day' FROM api_keys LIMIT 1`,
]

/** Has every periodic deletion find a row. Returns their statements: a search and a deletion for each table. */
async function forgetAll({ world, statements }: Service, sql: Sql): Promise<string[]> {
  for (const row of OVER) await sql.unsafe(row)
  const from = statements.length
  for (const { run } of JOBS.filter(({ name }) => name.startsWith('forget_')))
    await run(world, world.now())
  return [...new Set(statements.slice(from).map((text) => text.trim()))]
}

/** Leaves a delivery that failed. */
async function leaveDelivery(service: Service): Promise<void> {
  const url = 'http://127.0.0.1:9/hook'
  await createWebhook(service, newWallet(service), { url })
  const { webhookId } = await createWebhook(service, newWallet(service), { url })
  await rows(
    service.world.db,
    sqlOf`INSERT INTO notices (wallet_address, shard, type, data, at)
      SELECT wallet_address, shard, 'key.leaked', '{}', now() FROM webhooks WHERE id = ${webhookId}`,
  )
  await deliverAll(service)
}

async function grow(sql: Sql, table: string, changed: string): Promise<void> {
  await sql.unsafe(`INSERT INTO ${table}
    SELECT (jsonb_populate_record(${table}, jsonb_build_object('shard', wallet_shard('W' || n % 1000), ${changed}))).*
    FROM ${table}, generate_series(1, ${ROWS}) AS n WHERE ctid = (SELECT min(ctid) FROM ${table})`)
}

/** Nodes that read all of a table, or all of an index. Under a limit, an index is read in its order as far as is wanted. */
function wholeScans(
  node: Node,
  limit: 'unlimited' | 'limited' | 'ignored' = 'unlimited',
): string[] {
  const { 'Node Type': type, 'Relation Name': table = '' } = node
  const isUnbound = node['Index Cond'] === undefined && limit !== 'limited'
  const isWhole = type === 'Seq Scan' || (/Index (Only )?Scan$/.test(type) && isUnbound)
  const below = limit === 'unlimited' && type === 'Limit' ? 'limited' : limit
  return [
    ...(isWhole && !SMALL.includes(table) ? [`${type} of ${table}`] : []),
    ...(node.Plans ?? []).flatMap((plan) => wholeScans(plan, below)),
  ]
}
