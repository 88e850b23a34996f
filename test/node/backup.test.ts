import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, globSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { promisify } from 'node:util'
import postgres from 'postgres'
import { describe, expect, inject, it } from 'vitest'
import { blocksIn, commandsIn } from '../architecture/pages.ts'
import { startOwnPostgres } from '../support/postgres.ts'
import { createKey, createOrder, newWallet } from '../support/wallet.ts'
import { type Entry, emptyFolder, ROOT, startEntry } from './entry.ts'

const run = promisify(execFile)
const clock = { now: Date.now() }
const operations = readFileSync(join(ROOT, 'docs/operations.md'), 'utf8')

/** The commands that docs/operations.md has under a heading. */
function commandsUnder(heading: string): string[] {
  const section = operations.split(`### ${heading}\n`)[1]?.split('\n### ')[0] ?? ''
  return blocksIn(section).flatMap(commandsIn)
}

/** Runs a command as an operator types it, in the repository. */
async function type(command: string, env: Record<string, string>): Promise<void> {
  const { PATH, HOME = '/root' } = process.env
  await run('sh', ['-c', command], { cwd: ROOT, env: { PATH, HOME, ...env } })
}

const at = (url: string) => ({
  call: (path: string, init?: RequestInit) => fetch(`${url}/api/v1${path}`, init),
})

async function stop(entry: Entry): Promise<void> {
  entry.child.kill('SIGTERM')
  await entry.ended
}

/** What a client of the service has before the backup, and must find after it. */
async function trade(entry: Entry) {
  const service = at(await entry.url())
  const wallet = newWallet({ clock })
  const { apiKey } = await createKey(service, wallet)
  const uuid = await createOrder(service, wallet)
  return { apiKey, uuid }
}

async function find(entry: Entry, { apiKey, uuid }: Awaited<ReturnType<typeof trade>>) {
  const { call } = at(await entry.url())
  const [me, order] = [
    await call('/me', { headers: { 'X-API-Key': apiKey } }),
    await call(`/orders/${uuid}`),
  ]
  const { data } = (await order.json()) as { data: { status: string } }
  return [me.status, order.status, data.status]
}

it('a copy of a folder of PGlite is the database of that moment', {
  timeout: 180_000,
}, async () => {
  const env = {
    STACKS_API_URL: inject('devnetUrl'),
    ENCRYPTION_KEY: randomBytes(32).toString('base64'),
  }
  const [folder, backup] = [join(emptyFolder(), 'data'), join(emptyFolder(), 'copy')]
  const first = startEntry({ ...env, DATABASE_URL: `pglite:${folder}` })
  const kept = await trade(first)
  await stop(first)
  const commands = commandsUnder('Back up and restore PGlite')
  expect(commands).toHaveLength(1)
  for (const command of commands) await type(command, { FOLDER: folder, BACKUP: backup })
  const second = startEntry({ ...env, DATABASE_URL: `pglite:${backup}` })
  expect(await find(second, kept)).toEqual([200, 200, 'open'])
  await stop(second)
})

/** Of Debian's package `postgresql`, whose pg_dump is of the server's version. */
const [server] = globSync('/usr/lib/postgresql/*/bin/postgres')

describe.runIf(server !== undefined || process.env.CI === 'true')('a dump of Postgres', () => {
  it('is made while the service runs, and restored with its rights, triggers and proof', {
    timeout: 240_000,
  }, async () => {
    const programs = dirname(server ?? '')
    const own = await startOwnPostgres(
      {},
      { initdb: join(programs, 'initdb'), postgres: join(programs, 'postgres') },
    )
    const url = new URL(await own.freshDatabase())
    const admin = postgres(url.href, { max: 1, onnotice: () => {} })
    try {
      for (const role of ['latchkey_owner', 'latchkey'])
        await admin.unsafe(`CREATE ROLE ${role} LOGIN PASSWORD 'x'`)
      const database = async (name: string) => {
        await admin.unsafe(`CREATE DATABASE ${name} OWNER latchkey_owner`)
        const as = (role: string) => `postgres://${role}:x@${url.host}/${name}`
        return { owner: as('latchkey_owner'), service: as('latchkey') }
      }
      const [live, copy] = [await database('live'), await database('copy')]
      const devnetUrl = inject('devnetUrl')
      const env = {
        STACKS_API_URL: devnetUrl,
        QUOTE_URL: `${devnetUrl}/quote`,
        ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      }
      await type('npm run migrate', { DATABASE_URL: live.owner, SERVICE_ROLE: 'latchkey' })
      const first = startEntry({ ...env, DATABASE_URL: live.service })
      const kept = await trade(first)
      const backup = join(emptyFolder(), 'latchkey.dump')
      const commands = commandsUnder('Back up and restore Postgres')
      expect(commands).toHaveLength(4)
      for (const command of commands)
        await type(command, { ...env, OWNER_URL: live.owner, COPY_URL: copy.owner, BACKUP: backup })
      expect(existsSync(backup)).toBe(true)
      expect(await find(first, kept)).toEqual([200, 200, 'open'])
      await stop(first)

      const second = startEntry({ ...env, DATABASE_URL: copy.service })
      expect(await find(second, kept)).toEqual([200, 200, 'open'])
      await stop(second)
      const owner = postgres(copy.owner, { max: 1 })
      await expect(owner`DELETE FROM audit_events`).rejects.toThrow()
      await owner.end()
    } finally {
      await admin.end()
      await own.close()
    }
  })
})
