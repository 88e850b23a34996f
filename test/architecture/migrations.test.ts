import { readFileSync } from 'node:fs'
import { fileURLToPath } from 'node:url'
import { PGlite } from '@electric-sql/pglite'
import { generateDrizzleJson, generateMigration } from 'drizzle-kit/api'
import { sql } from 'drizzle-orm'
import { drizzle } from 'drizzle-orm/pglite'
import { migrate } from 'drizzle-orm/pglite/migrator'
import { describe, expect, it } from 'vitest'
import type { Database } from '../../src/db/database.ts'
import * as schema from '../../src/db/schema.ts'
import { catalogOf } from '../db/catalog.ts'

const FOLDER = fileURLToPath(new URL('../../drizzle', import.meta.url))
const read = (path: string) => readFileSync(`${FOLDER}/${path}`, 'utf8')

type Snapshot = ReturnType<typeof generateDrizzleJson>

const { entries } = JSON.parse(read('meta/_journal.json')) as {
  entries: { idx: number; tag: string; when: number }[]
}

/** Two words of drizzle-kit's own say nothing: 0001_lumpy_wolverine. Ours say what they add. */
const MEANINGFUL = /^\d{4}_[a-z]+(_[a-z0-9]+){2,}$/
/**
 * A constraint or an index may go, for a wider one to come; NOT NULL is one. A column that was generated keeps its rows when its expression goes. A
 * trigger on TRUNCATE takes nothing.
 */
const TAKES_AWAY =
  /\b(DROP\s+(?!(CONSTRAINT|NOT NULL|EXPRESSION|INDEX)\b)|TRUNCATE(?!\s+ON\b)|DELETE\s+FROM|RENAME|SET\s+DATA\s+TYPE)\b/i

describe('the migrations', () => {
  it('end where src/db/schema.ts stands', async () => {
    const last = entries.at(-1)
    const snapshot = JSON.parse(
      read(`meta/${String(last?.idx).padStart(4, '0')}_snapshot.json`),
    ) as Snapshot
    const missing = await generateMigration(snapshot, generateDrizzleJson(schema, snapshot.id))
    expect(missing).toEqual([])
  })

  it('make of an empty database exactly what src/db/schema.ts says', async () => {
    const client = await PGlite.create('memory://')
    const pglite = drizzle({ client })
    const db = pglite as unknown as Database
    await migrate(pglite, { migrationsFolder: FOLDER })
    const migrated = await catalogOf(db)

    await client.exec('DROP SCHEMA public CASCADE; CREATE SCHEMA public')
    // What checks call, and the schema cannot declare.
    const [functionOfChecks = ''] = read('0011_a_shard_in_everything.sql').split('--> ')
    await client.exec(functionOfChecks)
    const whole = await generateMigration(generateDrizzleJson({}), generateDrizzleJson(schema))
    for (const statement of whole) await db.execute(sql.raw(statement))
    expect(migrated).toEqual(await catalogOf(db))
    expect(migrated.length).toBeGreaterThan(50)
    await client.close()
  })

  it('come in the order of their numbers and their times', () => {
    expect(entries.map(({ idx }) => idx)).toEqual(entries.map((_, at) => at))
    const times = entries.map(({ when }) => when)
    expect(times).toEqual(times.toSorted((a, b) => a - b))
  })

  it.each(entries.map(({ tag }) => tag))('are named for what they do: %s', (tag) => {
    expect(tag).toMatch(MEANINGFUL)
  })

  it.each(entries.map(({ tag }) => tag))('only add: %s', (tag) => {
    const sql = read(`${tag}.sql`).replaceAll(/^--.*$/gm, '')
    expect(sql).not.toMatch(TAKES_AWAY)
  })
})
