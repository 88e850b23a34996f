import {
  chmodSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statSync,
  writeFileSync,
} from 'node:fs'
import { rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { sql } from 'drizzle-orm'
import { describe, expect, it, onTestFinished } from 'vitest'
import journal from '../../drizzle/meta/_journal.json' with { type: 'json' }
import { rows } from '../../src/db/database.ts'
import { openDatabase } from '../../src/db/open.ts'
import { freshDatabase } from '../support/service.ts'
import { catalogOf } from './catalog.ts'

/** Opens a database until the test ends. */
async function open(url: string) {
  const database = await openDatabase(url)
  onTestFinished(() => database.close())
  return database
}

describe('opening a database', () => {
  it('migrates it once, when five processes start at once', async () => {
    const url = await freshDatabase('Postgres')
    const [database] = await Promise.all([open(url), open(url), open(url), open(url), open(url)])
    const applied = await rows<{ count: number }>(
      database.db,
      sql`SELECT count(*)::float8 AS count FROM drizzle.__drizzle_migrations`,
    )
    expect(applied).toEqual([{ count: journal.entries.length }])
    const locks = await rows(
      database.db,
      sql`SELECT 1 FROM pg_locks WHERE locktype = 'advisory'
          AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`,
    )
    expect(locks).toEqual([])
  })

  it('changes nothing when it is up to date', async () => {
    const url = await freshDatabase('Postgres')
    const before = await catalogOf((await open(url)).db)
    expect(await catalogOf((await open(url)).db)).toEqual(before)
  })

  it('makes the same tables of PGlite and of Postgres', async () => {
    const pglite = await open(await freshDatabase('PGlite'))
    const postgres = await open(await freshDatabase('Postgres'))
    const catalog = await catalogOf(postgres.db)
    expect(catalog.length).toBeGreaterThan(50)
    expect(await catalogOf(pglite.db)).toEqual(catalog)
  })

  it('that fails leaves the folder free', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'latchkey-open-'))
    onTestFinished(() => rm(folder, { recursive: true, force: true }))
    writeFileSync(join(folder, 'postgres'), 'a file where the folder should be')
    await expect(openDatabase(`pglite:${folder}`)).rejects.toThrow()
    rmSync(join(folder, 'postgres'))
    const { close } = await openDatabase(`pglite:${folder}`)
    await close()
  })

  it.runIf(process.platform !== 'win32')(
    'leaves no file of PGlite to other users, in a folder that they may enter too',
    async () => {
      const folder = mkdtempSync(join(tmpdir(), 'latchkey-open-'))
      onTestFinished(() => rm(folder, { recursive: true, force: true }))
      mkdirSync(join(folder, 'postgres'))
      for (const open of [folder, join(folder, 'postgres')]) chmodSync(open, 0o755)
      const { close } = await openDatabase(`pglite:${folder}`)
      await close()
      expect(statSync(join(folder, 'postgres')).mode & 0o777).toBe(0o700)
      const outside = readdirSync(folder).filter((name) => name !== 'postgres')
      expect(outside.toSorted()).toEqual(['lock', 'lock.pid'])
    },
  )

  it('says in a sentence which one it cannot reach', async () => {
    await expect(openDatabase('postgres://someone:hunter2@127.0.0.1:1/none')).rejects.toThrow(
      /^The database of DATABASE_URL cannot be opened: connect ECONNREFUSED 127.0.0.1:1$/,
    )
  })
})
