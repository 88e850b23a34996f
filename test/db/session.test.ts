import { randomUUID } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterEach, describe, expect, inject, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { findRoleRoute } from '../../src/db/role-route.ts'
import { reconcile } from '../../src/settlement/reconcile.ts'
import { useEverything } from '../http/everything.ts'
import { answered } from '../support/assertions.ts'
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts'
import { type Engine, freshDatabase, startService } from '../support/service.ts'
import { newWallet } from '../support/wallet.ts'

/** What an operator may have set on a role, each other than statements rely on. */
const HOSTILE: Readonly<Record<string, string>> = {
  DateStyle: 'German, DMY',
  IntervalStyle: 'sql_standard',
  TimeZone: 'Pacific/Chatham',
  bytea_output: 'escape',
  extra_float_digits: '-15',
  standard_conforming_strings: 'off',
  array_nulls: 'off',
  default_transaction_isolation: 'serializable',
  default_transaction_deferrable: 'on',
  statement_timeout: '60000',
  lock_timeout: '0',
  idle_in_transaction_session_timeout: '0',
  enable_seqscan: 'on',
  plan_cache_mode: 'force_custom_plan',
  synchronous_commit: 'off',
  row_security: 'off',
  transform_null_equals: 'on',
  quote_all_identifiers: 'on',
  enable_indexscan: 'off',
  enable_bitmapscan: 'off',
  idle_session_timeout: '1000',
  transaction_timeout: '1000',
}

const closing: (() => Promise<unknown>)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

/** A database whose owner is a role of its own, with settings of the operator's. */
async function databaseOf(settings: Readonly<Record<string, string>>): Promise<string> {
  const url = new URL(await freshDatabase('Postgres'))
  const role = `role_${randomUUID().slice(0, 8)}`
  const admin = postgres(url.href, { max: 1, onnotice: () => {} })
  await admin.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
  await admin.unsafe(`ALTER DATABASE ${url.pathname.slice(1)} OWNER TO ${role}`)
  await admin.unsafe(`ALTER SCHEMA public OWNER TO ${role}`)
  for (const [name, value] of Object.entries(settings))
    await admin.unsafe(`ALTER ROLE ${role} SET ${name} = ${value}`)
  await admin.end()
  url.username = role
  url.password = 'secret'
  return url.href
}

const quoted = (settings: Readonly<Record<string, string>>) =>
  Object.fromEntries(Object.entries(settings).map(([name, value]) => [name, `'${value}'`]))

async function pooled(databaseUrl: string, settings: Record<string, string | number> = {}) {
  const { username } = new URL(databaseUrl)
  const pooler = await startPgBouncer(inject('postgresUrl'), settings, { [username]: 'secret' })
  closing.push(() => pooler.stop())
  return pooler.through(databaseUrl)
}

const IGNORES_ALL = {
  ignore_startup_parameters: [
    ...['datestyle', 'intervalstyle', 'timezone', 'extra_float_digits', 'bytea_output'],
    ...Object.keys(HOSTILE).map((name) => name.toLowerCase()),
    ...['jit', 'search_path', 'options'],
  ].join(', '),
}

const WAYS: [string, Engine, (databaseUrl: string) => Promise<string>][] = [
  ['directly', 'Postgres', async (url) => url],
  ['in workerd', 'workerd', async (url) => url],
  ...(hasPgBouncer
    ? ([
        ['through PgBouncer with its defaults', 'Postgres', (url) => pooled(url)],
        [
          'through PgBouncer that ignores startup parameters',
          'Postgres',
          (url) => pooled(url, IGNORES_ALL),
        ],
        [
          'through PgBouncer, each session one client alone',
          'Postgres',
          (url) => pooled(url, { pool_mode: 'session', default_pool_size: 20 }),
        ],
      ] satisfies typeof WAYS)
    : []),
]

describe.each(WAYS)('Postgres reached %s', (_, engine, way) => {
  it('serves every request whatever the operator has set on its role', {
    timeout: 120_000,
  }, async () => {
    const databaseUrl = await way(await databaseOf(quoted(HOSTILE)))
    const service = await startService(engine, { databaseUrl })
    closing.push(() => service.close())
    await useEverything(service, { hasStreams: engine !== 'workerd' })
    await reconcile(service.world)
    const wallet = newWallet(service)
    const order = wallet.order({ validTo: '2099-02-01T03:04:05.678Z' })
    await answered(
      await service.call('/orders/new', {
        method: 'POST',
        headers: { 'Content-Type': 'application/json' },
        body: JSON.stringify(order),
      }),
      201,
    )
    expect(await answered(await service.call(`/orders/${order.uuid}`))).toMatchObject({
      data: {
        validTo: '2099-02-01T03:04:05.678Z',
        createdAt: new Date(service.clock.now).toISOString(),
      },
    })
  })

  if (engine === 'workerd') return
  it('gives every statement the settings that it relies on, in transactions and outside', async () => {
    const { db, close } = await openDatabase(await way(await databaseOf(quoted(HOSTILE))))
    closing.push(close)
    const names = Object.keys(HOSTILE).filter((name) => !name.startsWith('default_'))
    const settings = sql.raw(names.map((name) => `current_setting('${name}') AS "${name}"`).join())
    const statement = sql`SELECT ${settings}, current_setting('transaction_isolation') AS isolation`
    const found = [
      ...(await rows<Record<string, string>>(db, statement)),
      ...(await db.transaction((tx) => rows<Record<string, string>>(tx, statement))),
    ]
    for (const one of found)
      expect(one).toEqual({
        DateStyle: 'ISO, MDY',
        IntervalStyle: 'postgres',
        TimeZone: 'UTC',
        bytea_output: 'hex',
        extra_float_digits: '1',
        standard_conforming_strings: 'on',
        array_nulls: 'on',
        statement_timeout: '3s',
        lock_timeout: '2s',
        idle_in_transaction_session_timeout: '5s',
        enable_seqscan: 'off',
        plan_cache_mode: 'force_generic_plan',
        synchronous_commit: 'on',
        row_security: 'on',
        transform_null_equals: 'off',
        quote_all_identifiers: 'off',
        enable_indexscan: 'on',
        enable_bitmapscan: 'on',
        idle_session_timeout: '0',
        transaction_timeout: '0',
        isolation: 'read committed',
      })
  })

  it.each([
    ['schema=dex'],
    ['options=-csearch_path%3Ddex'],
  ])('keeps its tables in another schema than public, by %s', async (query) => {
    const url = new URL(await databaseOf({}))
    url.search = query
    const { db, close } = await openDatabase(await way(url.href))
    closing.push(close)
    const tables = () =>
      rows(
        db,
        sql`SELECT count(*)::int AS tables, array_agg(DISTINCT table_schema::text)::text AS schemas
          FROM information_schema.tables WHERE table_schema NOT IN ('pg_catalog', 'information_schema')`,
      )
    expect(await tables()).toEqual([{ tables: expect.any(Number), schemas: '{dex}' }])
    await rows(db, sql`SELECT FROM orders`)
    const again = await openDatabase(await way(url.href))
    closing.push(again.close)
    await rows(again.db, sql`SELECT FROM orders`)
  })

  it("keeps its tables in the first schema of the role's search_path", async () => {
    const databaseUrl = await databaseOf({ search_path: 'mine, public' })
    const owner = postgres(databaseUrl, { max: 1 })
    await owner`CREATE SCHEMA mine`
    await owner.end()
    const { db, close } = await openDatabase(await way(databaseUrl))
    closing.push(close)
    expect(
      await rows(db, sql`SELECT schemaname FROM pg_tables WHERE tablename = 'orders'`),
    ).toEqual([{ schemaname: 'mine' }])
  })
})

it('the role that docs/workers.md sets up needs no settings in each transaction', async () => {
  const page = readFileSync(new URL('../../docs/workers.md', import.meta.url), 'utf8')
  const settings = [...page.matchAll(/ALTER ROLE latchkey SET (\w+) = (.+);/g)].map(
    ([, name = '', value = '']) => [name, value],
  )
  expect(settings.length).toBeGreaterThan(5)
  expect(await findRoleRoute(await databaseOf(Object.fromEntries(settings)))).toMatchObject({
    carrier: 'role',
  })
  expect(await findRoleRoute(await databaseOf({}))).toMatchObject({ carrier: 'transaction' })
})

it('a role whose sessions run no triggers is refused with a sentence', async () => {
  const databaseUrl = await databaseOf({ session_replication_role: 'replica' })
  await expect(openDatabase(databaseUrl)).rejects.toThrow(
    'session_replication_role is not origin for this role',
  )
})

it('a search_path of no schema is refused with a sentence', async () => {
  const databaseUrl = await databaseOf({ search_path: 'nowhere' })
  await expect(openDatabase(databaseUrl)).rejects.toThrow(
    'no schema of the search_path nowhere exists or may be used: name one with schema= in DATABASE_URL',
  )
})
