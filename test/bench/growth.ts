import { createHash } from 'node:crypto'
import { appendFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import postgres from 'postgres'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { type PresentedKey, prepareGate } from '../../src/gate/admit.ts'
import type { KeyHash } from '../../src/keys/secret.ts'
import { initialise, newFolder, openServer } from '../support/postgres.ts'

/*
 * How large the tables become: `node test/bench/growth.ts 1000000 growth.jsonl` fills a Postgres of its own with so many keys, adds a
 * month in which 1 % of them are used, and appends what it measures to the file. 10 million keys need 45 GB and an hour.
 */

const KEYS = Number(process.argv[2] ?? 100_000)
const OUT = process.argv[3] ?? 'growth.jsonl'
/** Which tables of the keys are filled, all by default. */
const ONLY = process.argv[5]?.split(',')
const ACTIVE = Math.round(KEYS / 100)
/** Fewer where there is no time for a month: what a day adds does not depend on the days before. */
const DAYS = Number(process.argv[4] ?? 30)
const CHUNK = Math.min(KEYS, 250_000)
/** Requests of the month that are run as the gate runs them; the others only add to counters. */
const REQUESTS = Math.min(1_000_000, ACTIVE * 10 * DAYS)
const BATCH = 32
const IN_FLIGHT = 3

/** Of the server that is measured: it loses everything when the machine stops, and is deleted afterwards. */
const FLAGS = {
  shared_buffers: '2GB',
  fsync: 'off',
  full_page_writes: 'off',
  wal_level: 'minimal',
  max_wal_senders: '0',
  max_wal_size: '3GB',
  checkpoint_timeout: '1h',
  maintenance_work_mem: '512MB',
}

const WALLET = (n: string) =>
  `'ST' || upper(left(md5('w' || (${n}) / 2) || md5('v' || (${n}) / 2), 39))`
/** As \`wallet_shard\`, of an address that has no backslash. */
const SHARD = `(get_byte(sha256(w::bytea), 0) * 256 + get_byte(sha256(w::bytea), 1))`
const SIGNATURE = (n: string) => `repeat(md5('s' || ${n}), 4) || '01'`
const MESSAGE = (action: string, n: string) =>
  `'{"action":"${action}","keyName":"Bot ' || ${n} || '","permissions":["create","execute","cancel"],"domain":"dex.example","timestamp":' || 1795000000000 + ${n} || '}'`
const START = `timestamptz '2026-01-01'`

/** What one key brings along: its wallet, the message that grants it, its row, its counters and its event. */
const OF_KEY: readonly (readonly [string, string])[] = [
  [
    'wallets',
    `INSERT INTO wallets (address, shard) SELECT DISTINCT w, shard FROM made ON CONFLICT DO NOTHING`,
  ],
  [
    'signed_actions',
    `INSERT INTO signed_actions (id, wallet_address, shard, action, message, message_hash, signature, public_key, accepted_at)
      SELECT n, w, shard, 'create_api_key', ${MESSAGE('create_api_key', 'n')}, sha256(('m' || n)::bytea), ${SIGNATURE('n')}, '02' || repeat(md5('p' || n), 2), ${START}
      FROM made`,
  ],
  [
    'api_keys',
    `INSERT INTO api_keys (id, key_hash, key_preview, wallet_address, shard, name, permissions, rights_mac, grant_id, created_at)
      SELECT key_id, sha256(('k' || n)::bytea), 'ck_live_' || substr(key_id, 5, 4) || '...0000', w, shard,
        'Bot ' || n, '{create,execute,cancel}', sha256(('r' || n)::bytea), n, ${START} FROM made`,
  ],
  ['key_counters', `INSERT INTO key_counters (key_id, shard) SELECT key_id, shard FROM made`],
  [
    'audit_events',
    `INSERT INTO audit_events (wallet_address, shard, sequence, key_id, action_id, body, hash)
      SELECT w, shard, 1 + n % 2, key_id, n, '{"actor":"owner","at":1795000000000,"details":{"keyHash":"' || md5('k' || n) || md5('h' || n) || '"},"event":"create_api_key","keyId":"' || key_id
        || '","messageHash":"' || md5('m' || n) || md5('n' || n) || '","v":1,"walletAddress":"' || w || '"}', sha256(('e' || n)::bytea)
      FROM made`,
  ],
]

const ACTIVE_KEYS = `used AS active`
const MAKE_ACTIVE = `CREATE TEMP TABLE used AS SELECT *, ${SHARD} AS shard, 'key_' || left(md5('k' || n), 24) AS key_id
  FROM (SELECT n * 100 AS n, ${WALLET('n * 100')} AS w FROM generate_series(0, ${ACTIVE - 1}) AS n OFFSET 0) AS numbered`

/** A day of the active keys: an order each, statistics of eight hours, and a refusal now and then. */
function ofDay(day: number): (readonly [string, string])[] {
  const at = `${START} + interval '${day} days'`
  const uuid = `'o' || ${day} || left(md5('o' || n), 32)`
  return [
    [
      'orders',
      `INSERT INTO orders (uuid, owner, shard, input_token, output_token, amount_in, recipient, valid_to, router_contract, min_amount_out, commit_salt,
          commit_until, signature_box, terms_mac, state_mac, status, created_by, created_at, executed_at, txid, confirmed_at, amount_out, block_height)
        SELECT ${uuid}, w, shard, w || '.token-a-v1', w || '.token-b-v1', 1000000 + n, w, ${at} + interval '1 day', w || '.committed-router', 990000,
          decode(md5('t' || n), 'hex'), 1795000000, decode(repeat(md5('b' || n), 6), 'hex'), sha256(('t' || n)::bytea), sha256(('u' || n)::bytea),
          CASE WHEN n / 100 % 10 < 7 THEN 'confirmed' WHEN n / 100 % 10 < 9 THEN 'cancelled' ELSE 'expired' END, key_id, ${at}, ${at},
          md5('x' || ${day} || n) || md5('y' || n), ${at}, 995000, 100000 + ${day} FROM ${ACTIVE_KEYS}`,
    ],
    [
      'order_events',
      `INSERT INTO order_events (order_uuid, shard, status, at, details)
        SELECT ${uuid}, shard, status, ${at}, CASE WHEN status IN ('executing', 'broadcasted', 'confirmed') THEN jsonb_build_object('txid', md5('x' || n) || md5('y' || n)) END
        FROM ${ACTIVE_KEYS}, unnest(CASE WHEN n / 100 % 10 < 7 THEN '{open,executing,broadcasted,confirmed}' WHEN n / 100 % 10 < 9 THEN '{open,cancelled}' ELSE '{open,expired}' END::text[]) AS status`,
    ],
    [
      'transactions',
      `INSERT INTO transactions (txid, order_uuid, shard, operator, nonce, fee_in_micro_stx, raw_box, requested_by, status, created_at, answered_at, mined_at, block_height, outcome, check_at)
        SELECT md5('x' || ${day} || n) || md5('y' || n), ${uuid}, shard, 'operator', ${day} * ${ACTIVE} + n / 100, 3000, decode(repeat(md5('z' || n), 34), 'hex'), key_id, 'mined', ${at}, ${at}, ${at},
          100000, 'success', NULL FROM ${ACTIVE_KEYS} WHERE n / 100 % 10 < 7`,
    ],
    [
      'key_usage',
      `INSERT INTO key_usage (key_id, shard, hour, outcome, requests, executions, execution_ms)
        SELECT key_id, shard, ${at} + make_interval(hours => hour), outcome, 12, 1, 40
        FROM ${ACTIVE_KEYS}, generate_series(8, 15) AS hour, unnest(CASE WHEN (n / 100 + hour) % 8 = 0 THEN '{OK,RATE_LIMIT_EXCEEDED}' ELSE '{OK}' END::text[]) AS outcome`,
    ],
    [
      'audit_events',
      `INSERT INTO audit_events (wallet_address, shard, sequence, key_id, body, hash)
        SELECT w, shard, 3 + ${day}, key_id, '{"actor":"service","at":1795000000000,"details":{"code":"IP_NOT_ALLOWED","ip":"192.0.2.1"},"event":"refused","keyId":"' || key_id
          || '","messageHash":null,"v":1,"walletAddress":"' || w || '"}', sha256(('f' || ${day} || n)::bytea)
        FROM ${ACTIVE_KEYS} WHERE (n / 100 + ${day}) % 10 = 0`,
    ],
    [
      'signed_actions',
      `INSERT INTO signed_actions (wallet_address, shard, action, message, message_hash, signature, public_key, accepted_at)
        SELECT w, shard, 'cancel_order', ${MESSAGE('cancel_order', 'n')}, sha256(('c' || ${day} || ' ' || n)::bytea), ${SIGNATURE('n')}, '02' || repeat(md5('p' || n), 2), ${at}
        FROM ${ACTIVE_KEYS} WHERE (n / 100 + ${day}) % 10 = 0`,
    ],
  ]
}

const SIGHTINGS = `INSERT INTO key_sightings (key_id, shard, kind, value, requests, first_seen_at, last_seen_at)
  SELECT key_id, shard, kind, kind || ' ' || at, 100, ${START}, ${START} FROM ${ACTIVE_KEYS}, (VALUES ('ip', 1), ('ip', 2), ('userAgent', 1)) AS seen (kind, at)`

const TABLES =
  'wallets signed_actions api_keys key_counters audit_events orders order_events transactions key_usage key_sightings'.split(
    ' ',
  )

function note(what: string, more: object): void {
  const line = JSON.stringify({ keys: KEYS, what, ...more })
  process.stdout.write(`${line.slice(0, 400)}\n`)
  appendFileSync(OUT, `${line}\n`)
}

async function timed<T>(what: string, work: () => Promise<T>): Promise<T> {
  const start = performance.now()
  const result = await work()
  note(what, { seconds: Math.round((performance.now() - start) / 100) / 10 })
  return result
}

async function main(): Promise<void> {
  const folder = newFolder()
  const server = await openServer(await initialise(join(folder, 'data')), folder, FLAGS)
  await server.start()
  try {
    await measure(`${server.url}/postgres`)
  } finally {
    await server.stop('immediate')
    rmSync(folder, { recursive: true, force: true })
  }
}

async function measure(url: string): Promise<void> {
  await (await openDatabase(url)).close()
  const sql = postgres(url, { max: 1, onnotice: () => {}, prepare: false })
  await sql.unsafe(
    `CREATE EXTENSION pgstattuple; INSERT INTO operators (address, next_nonce) VALUES ('operator', 0)`,
  )
  await sql.unsafe(`ALTER SYSTEM SET autovacuum = off`)
  await sql.unsafe(`SELECT pg_reload_conf()`)
  await sql.unsafe(`SET session_replication_role = replica`)
  // The rows have the right shards: computing them again for each row would take half of the time.
  for (const table of ['wallets', 'signed_actions', 'api_keys', 'audit_events', 'orders'])
    await sql.unsafe(`ALTER TABLE ${table} DROP CONSTRAINT ${table}_shard`)
  await timed('keys', async () => {
    for (let from = 0; from < KEYS; from += CHUNK) {
      await sql.unsafe(`CREATE TEMP TABLE made AS SELECT *, ${SHARD} AS shard, 'key_' || left(md5('k' || n), 24) AS key_id
        FROM (SELECT n, ${WALLET('n')} AS w FROM generate_series(${from}, ${from + CHUNK - 1}) AS n OFFSET 0) AS numbered`)
      for (const [table, text] of OF_KEY) if (ONLY?.includes(table) ?? true) await sql.unsafe(text)
      await sql.unsafe('DROP TABLE made')
      process.stdout.write(`${from + CHUNK} `)
    }
  })
  await sql.unsafe(`SELECT setval(pg_get_serial_sequence('signed_actions', 'id'), ${KEYS})`)
  await vacuum(sql, 'first vacuum')
  await sizes(sql, 'sizes of keys')
  await timed('month', async () => {
    await sql.unsafe(MAKE_ACTIVE)
    for (let day = 0; day < DAYS; day++) for (const [, text] of ofDay(day)) await sql.unsafe(text)
    await sql.unsafe(SIGHTINGS)
  })
  await vacuum(sql, 'vacuum after the month')
  await sizes(sql, 'sizes with a month')
  await sql.unsafe(`ALTER SYSTEM RESET autovacuum`)
  await sql.unsafe(`SELECT pg_reload_conf()`)
  await count(url, sql)
  await explain(url, sql)
  await sql.end()
}

async function vacuum(sql: postgres.Sql, what: string): Promise<void> {
  const seconds: Record<string, number> = {}
  for (const table of TABLES) {
    const start = performance.now()
    await sql.unsafe(`VACUUM (ANALYZE) ${table}`)
    seconds[table] = Math.round((performance.now() - start) / 100) / 10
  }
  note(what, { seconds })
}

async function sizes(sql: postgres.Sql, what: string): Promise<void> {
  const found =
    await sql.unsafe(`SELECT relname AS table, reltuples::float8 AS rows, pg_table_size(oid)::float8 / 1e6 AS table_mb, pg_indexes_size(oid)::float8 / 1e6 AS index_mb,
      (SELECT json_object_agg(indexrelid::regclass, round(pg_relation_size(indexrelid) / 1e6)) FROM pg_index WHERE indrelid = pg_class.oid) AS indexes
    FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind = 'r' AND reltuples > 0 ORDER BY pg_total_relation_size(oid) DESC`)
  for (const row of found) note(what, row)
  const [all] = await sql.unsafe(
    `SELECT pg_database_size(current_database())::float8 / 1e6 AS database_mb`,
  )
  note(what, all as object)
}

function presented(n: number): PresentedKey {
  const hash = createHash('sha256')
    .update(`k${n * 100}`)
    .digest('hex') as KeyHash
  return { hash, shard: -1, ip: undefined, requests: 1, uuids: [], known: undefined }
}

/** The month's requests as the gate counts them, in batches of distinct keys. */
async function count(url: string, sql: postgres.Sql): Promise<void> {
  const { db, close } = await openDatabase(url, { maxConnections: IN_FLIGHT })
  const gate = prepareGate(db, { perMinute: 1e6, perHour: 1e6, perDay: 1e6 })
  const bloat = async (what: string) => {
    const [found] =
      await sql.unsafe(`SELECT n_tup_upd::float8 AS updates, n_tup_hot_upd::float8 AS hot, n_dead_tup::float8 AS dead, autovacuum_count::int AS autovacuums,
        pg_table_size('key_counters')::float8 / 1e6 AS table_mb, pg_indexes_size('key_counters')::float8 / 1e6 AS index_mb,
        (SELECT to_jsonb(t) FROM pgstattuple_approx('key_counters') AS t) AS tuples FROM pg_stat_user_tables WHERE relname = 'key_counters'`)
    note(what, found as object)
  }
  await bloat('counters before')
  let next = 0
  let admitted = 0
  const work = async () => {
    while (next < REQUESTS) {
      const from = next
      next += BATCH
      const keys = Array.from({ length: BATCH }, (_, at) =>
        presented(((from + at) * 7919) % ACTIVE),
      )
      const distinct = [...new Map(keys.map((key) => [key.hash, key])).values()].sort((a, b) =>
        a.hash < b.hash ? -1 : 1,
      )
      const found = await gate.admit(distinct, undefined)
      admitted += found.filter(({ quota }) => quota !== undefined).length
    }
  }
  await timed('requests', () => Promise.all(Array.from({ length: IN_FLIGHT }, work)))
  note('requests', { admitted, distinctKeys: ACTIVE })
  await sql.unsafe('SELECT pg_stat_force_next_flush()')
  await close()
  await bloat('counters after')
  await timed('vacuum of key_counters', () => sql.unsafe('VACUUM (ANALYZE) key_counters'))
  await bloat('counters after vacuum')
}

/** The plan of the statement that admits, as the service sends it. */
async function explain(url: string, sql: postgres.Sql): Promise<void> {
  const texts: { text: string; parameters: readonly unknown[] }[] = []
  const { db, close } = await openDatabase(url, {
    onStatement: (text, parameters) => texts.push({ text, parameters }),
  })
  const gate = prepareGate(db, { perMinute: 1e6, perHour: 1e6, perDay: 1e6 })
  const batch = Array.from({ length: BATCH }, (_, at) => presented((at * 997 + 13) % ACTIVE)).sort(
    (a, b) => (a.hash < b.hash ? -1 : 1),
  )
  await rows(db, (await import('drizzle-orm')).sql`SELECT 1`)
  for (const keys of [batch.slice(0, 1), batch]) {
    await gate.admit(keys, undefined)
    const { text, parameters } = texts.at(-1) as (typeof texts)[number]
    const client = postgres(url, { max: 1, onnotice: () => {}, prepare: true })
    await client.unsafe(
      'SET join_collapse_limit = 1; SET enable_hashjoin = off; SET enable_mergejoin = off; SET plan_cache_mode = force_generic_plan',
    )
    for (const run of ['cold', 'warm']) {
      const found = await client.unsafe(`EXPLAIN (ANALYZE, BUFFERS) ${text}`, parameters as never[])
      note(`gate of ${keys.length}, ${run}`, { plan: found.map((row) => row['QUERY PLAN']) })
    }
    await client.end()
  }
  await close()
  const used = await sql.unsafe(
    `SELECT relname AS table, indexrelname AS index, idx_scan::float8 AS scans FROM pg_stat_user_indexes WHERE relname = ANY ('{api_keys,key_counters}') ORDER BY 1, 2`,
  )
  for (const row of used) note('index scans', row)
}

await main()
