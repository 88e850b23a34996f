import { sql } from 'drizzle-orm'
import { PgDialect } from 'drizzle-orm/pg-core'
import fc from 'fast-check'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Database, rows } from '../../src/db/database.ts'
import {
  DISTRIBUTED_TABLES,
  type Distribution,
  REFERENCE_TABLES,
} from '../../src/db/distribution.ts'
import { openDatabase } from '../../src/db/open.ts'
import type { OpenDatabase } from '../../src/db/postgres.ts'
import { SHARDS, walletShard } from '../../src/db/shard.ts'
import { clockOf } from '../../src/db/time.ts'
import { ENGINES, freshDatabase } from '../support/service.ts'

const SAMPLES = 2_000
const BACKSLASHES = fc.string({ unit: fc.constantFrom('\\', 'x', '0', '1', "'", 'é') })

describe.each(ENGINES)('the shard of a wallet on %s', (engine) => {
  let database: OpenDatabase
  let db: Database
  beforeAll(async () => {
    database = await openDatabase(await freshDatabase(engine))
    db = database.db
  })
  afterAll(() => database.close())

  it('is the same in SQL, for any text', async () => {
    const text = fc.oneof(fc.string({ unit: 'grapheme' }), BACKSLASHES)
    const texts = fc
      .sample(text, SAMPLES)
      .filter((one) => !one.includes('\0') && one.isWellFormed())
    const found = await rows<{ shard: number }>(
      db,
      sql`SELECT wallet_shard(wallet) AS shard FROM jsonb_array_elements_text(${JSON.stringify(texts)}::text::jsonb)
        WITH ORDINALITY AS one (wallet, at) ORDER BY at`,
    )
    expect(found.map(({ shard }) => shard)).toEqual(texts.map(walletShard))
  })

  it('cannot be another one in a row of the wallet', async () => {
    const wrong = (walletShard('ST1') + 1) % SHARDS
    await expect(
      rows(db, sql`INSERT INTO wallets (address, shard) VALUES ('ST1', ${wrong}::int)`),
    ).rejects.toMatchObject({ cause: { code: '23514' } })
  })

  it('is filled in for a release that knows none', async () => {
    await rows(
      db,
      sql`INSERT INTO wallets (address) VALUES ('ST1')
        ON CONFLICT (address) DO UPDATE SET address = excluded.address`,
    )
    expect(await rows(db, sql`SELECT address, shard FROM wallets`)).toEqual([
      { address: 'ST1', shard: walletShard('ST1') },
    ])
  })

  it('is in every table that grows, and the other tables are the same everywhere', async () => {
    const found = await rows<{ name: string; sharded: boolean }>(
      db,
      sql`SELECT relname AS name, EXISTS (SELECT FROM pg_attribute WHERE attrelid = pg_class.oid AND attname = 'shard') AS sharded
        FROM pg_class WHERE relkind = 'r' AND relnamespace = current_schema()::regnamespace ORDER BY relname`,
    )
    const named = (sharded: boolean) =>
      found.filter((one) => one.sharded === sharded).map(({ name }) => name)
    expect(named(true)).toEqual([...DISTRIBUTED_TABLES].sort())
    expect(named(false)).toEqual([...REFERENCE_TABLES, 'latchkey_releases'].sort())
  })
})

it('leaves the time of decisions to the server, and is a parameter where several servers keep rows', () => {
  const textOf = (distribution?: Distribution) =>
    new PgDialect().sqlToQuery(clockOf(distribution, () => 0)()).sql
  const groupOf = () => 0
  expect(textOf()).toBe('clock_timestamp()')
  expect(textOf({ groupOf, hasManyServers: false })).toBe('clock_timestamp()')
  expect(textOf({ groupOf, hasManyServers: true })).toBe('$1::timestamptz')
})

it('spreads wallets evenly', () => {
  const wallets = Array.from({ length: 20_000 }, (_, n) => `ST${n}`)
  const eighths = Map.groupBy(wallets, (wallet) => Math.floor(walletShard(wallet) / (SHARDS / 8)))
  expect(eighths.size).toBe(8)
  for (const { length } of eighths.values()) expect(Math.abs(length - 2_500)).toBeLessThan(250)
})
