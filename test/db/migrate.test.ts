import { execFile } from 'node:child_process'
import { randomUUID } from 'node:crypto'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { describe, expect, inject, it, onTestFinished } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { migrateUnderLock, openDatabase } from '../../src/db/open.ts'
import { hasPgBouncer, startPgBouncer } from '../support/pgbouncer.ts'
import { freshDatabase } from '../support/service.ts'

const MIGRATE = join(import.meta.dirname, '../../src/node/migrate.ts')
const MIGRATION_LOCK = 7_201_404_511

const run = promisify(execFile)
const migrateByScript = (databaseUrl: string) =>
  run(process.execPath, [MIGRATE], {
    env: { PATH: process.env.PATH, DATABASE_URL: databaseUrl },
  }).then(
    ({ stdout, stderr }) => ({ said: stdout + stderr, code: 0 }),
    ({ stdout, stderr, code }) => ({ said: stdout + stderr, code }),
  )

function connect(databaseUrl: string): postgres.Sql {
  const client = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  onTestFinished(() => client.end())
  return client
}

describe('a migration', () => {
  it('leaves no lock behind, so that the next one does not wait', async () => {
    const databaseUrl = await freshDatabase('Postgres')
    const { close } = await openDatabase(databaseUrl)
    onTestFinished(close)
    const locks = await connect(databaseUrl)`SELECT FROM pg_locks WHERE locktype = 'advisory'
      AND database = (SELECT oid FROM pg_database WHERE datname = current_database())`
    expect(locks).toHaveLength(0)
    expect(await migrateByScript(databaseUrl)).toMatchObject({ code: 0 })
  })

  it.runIf(hasPgBouncer)(
    'through a pooler leaves no lock with the session of the pooler',
    async () => {
      const databaseUrl = await freshDatabase('Postgres')
      const pooler = await startPgBouncer(inject('postgresUrl'))
      const { close } = await openDatabase(pooler.through(databaseUrl))
      onTestFinished(() => close().then(() => pooler.stop()))
      expect(await migrateByScript(databaseUrl)).toMatchObject({ code: 0 })
    },
  )

  it('that waits says for which session, and ends with a sentence', async () => {
    const databaseUrl = await freshDatabase('Postgres')
    const other = connect(databaseUrl)
    const [holder] =
      await other`SELECT pg_advisory_lock(${MIGRATION_LOCK}), pg_backend_pid() AS pid`
    const waits: string[] = []
    const migration = migrateUnderLock(databaseUrl, {
      onWait: (session) => waits.push(session),
      lockWaitMs: 300,
    })
    await expect(migration).rejects.toThrow(
      /^the lock of migrations is held by the session with process id \d+ .*, which did not release it in 0 s; end that session/,
    )
    expect(waits).toEqual([expect.stringContaining(`process id ${holder?.pid}`)])
  })

  it('that waits goes on once the other session has ended', async () => {
    const databaseUrl = await freshDatabase('Postgres')
    const other = postgres(databaseUrl, { max: 1, onnotice: () => {} })
    await other`SELECT pg_advisory_lock(${MIGRATION_LOCK})`
    await migrateUnderLock(databaseUrl, { onWait: () => void other.end() })
  })

  it('that fails leaves the database as it was', async () => {
    const databaseUrl = await freshDatabase('Postgres')
    await connect(databaseUrl)`CREATE TABLE transactions (id int)`
    await expect(openDatabase(databaseUrl)).rejects.toThrow(
      'relation "transactions" already exists',
    )
    expect(
      await connect(
        databaseUrl,
      )`SELECT tablename FROM pg_tables WHERE schemaname IN ('public', 'drizzle')`,
    ).toEqual([{ tablename: 'transactions' }])
  })
})

describe('a database that cannot be opened is explained by what the server said:', () => {
  async function roleOf(settings: string[] = []): Promise<string> {
    const url = new URL(await freshDatabase('Postgres'))
    const role = `role_${randomUUID().slice(0, 8)}`
    const admin = connect(url.href)
    await admin.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
    for (const setting of settings) await admin.unsafe(`ALTER ROLE ${role} SET ${setting}`)
    Object.assign(url, { username: role, password: 'secret' })
    return url.href
  }
  it.each([
    [
      'read-only',
      () => roleOf(['default_transaction_read_only = on']),
      /cannot execute .+ in a read-only transaction \(SQLSTATE 25006\)/,
    ],
    ['no schema', () => roleOf(['search_path = nowhere']), /no schema of the search_path nowhere/],
    [
      'a role without CREATE',
      () => roleOf(),
      /permission denied for .+ \(SQLSTATE 42501\)\. Migrate it with the role that owns it/,
    ],
    [
      'no such database',
      async () => `${inject('postgresUrl')}/nowhere`,
      /database "nowhere" does not exist \(SQLSTATE 3D000\)/,
    ],
  ])('%s', async (_, urlOf, reason) => {
    const databaseUrl = await urlOf()
    await expect(openDatabase(databaseUrl)).rejects.toThrow(reason)
    const { said, code } = await migrateByScript(databaseUrl)
    expect(code).toBe(1)
    expect(said).toMatch(/SQLSTATE|no schema/)
    expect(said).not.toMatch(/CREATE SCHEMA IF|Failed query|hunter2|secret/)
  })
})

describe('a role that may only use the tables', () => {
  it('starts the service on a migrated database, whose owner it is not', async () => {
    const url = new URL(await freshDatabase('Postgres'))
    await migrateUnderLock(url.href)
    const admin = connect(url.href)
    const role = `role_${randomUUID().slice(0, 8)}`
    await admin.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'secret'`)
    await admin.unsafe(`REVOKE CREATE ON SCHEMA public FROM PUBLIC`)
    await admin.unsafe(`GRANT USAGE ON SCHEMA public, drizzle TO ${role}`)
    for (const schema of ['public', 'drizzle']) {
      await admin.unsafe(
        `GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${role}`,
      )
      await admin.unsafe(`GRANT USAGE ON ALL SEQUENCES IN SCHEMA ${schema} TO ${role}`)
    }
    Object.assign(url, { username: role, password: 'secret' })
    const { db, close } = await openDatabase(url.href)
    onTestFinished(close)
    await rows(db, sql`SELECT FROM orders`)
  })
})

describe('one connection string', () => {
  it('with several hosts is read alike by the service and by npm run migrate', async () => {
    const url = new URL(await freshDatabase('Postgres'))
    const login = `${url.username}${url.password && `:${url.password}`}`
    // The first host does not respond.
    const databaseUrl = `postgres://${login}@127.0.0.1:1,${url.hostname}:${url.port}${url.pathname}`
    expect(await migrateByScript(databaseUrl)).toEqual({
      code: 0,
      said: `The schema of ${url.pathname.slice(1)} is up to date.\n`,
    })
    const { db, close } = await openDatabase(databaseUrl)
    onTestFinished(close)
    await rows(db, sql`SELECT FROM orders`)
  })

  it.each([
    'channel_binding=prefer',
    'pgbouncer=true',
    'schema=public',
    'sslmode=prefer&application_name=x&connect_timeout=5',
    'target_session_attrs=read-write&keepalives=1',
  ])('with %s opens the database: nothing of it is sent on that the server does not know', async (query) => {
    const { db, close } = await openDatabase(`${await freshDatabase('Postgres')}?${query}`)
    onTestFinished(close)
    await rows(db, sql`SELECT FROM orders`)
  })
})
