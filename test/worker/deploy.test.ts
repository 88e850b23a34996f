import { execFile } from 'node:child_process'
import { mkdir, readFile, writeFile } from 'node:fs/promises'
import { createServer, type Server } from 'node:http'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest'
import { freshDatabase } from '../support/service.ts'
import { OFFLINE, ROOT, wrangler } from './workerd.ts'

const run = promisify(execFile)
const ID = '0123456789abcdef0123456789abcdef'

interface Ran {
  code: number
  stdout: string
  stderr: string
}

/** Runs a script of package.json as npm does. */
async function script(file: string, given: string[], env: Record<string, string>): Promise<Ran> {
  const options = {
    cwd: ROOT,
    env: { PATH: process.env.PATH, HOME: inject('runFolder'), ...OFFLINE, ...env },
  }
  return run(process.execPath, [join(ROOT, 'src/node', file), ...given], options).then(
    ({ stdout, stderr }) => ({ code: 0, stdout, stderr }),
    ({ code, stdout, stderr }) => ({ code, stdout, stderr }),
  )
}

describe('npm run deploy', () => {
  /** What the Cloudflare API says of the Hyperdrive. */
  let caching: object
  let api: Server
  let asked: { what: string; body: string }[]
  let env: Record<string, string>
  let config: string
  beforeAll(async () => {
    asked = []
    api = createServer((request, response) => {
      const one = { what: `${request.method} ${request.url}`, body: '' }
      asked.push(one)
      request.on('data', (chunk: Buffer) => {
        one.body += chunk
      })
      const result = { id: ID, name: 'latchkey', origin: { scheme: 'postgres' }, caching }
      response.setHeader('Content-Type', 'application/json')
      response.end(JSON.stringify({ success: true, errors: [], messages: [], result }))
    })
    await new Promise<void>((resolve) => api.listen(0, '127.0.0.1', resolve))
    const { port } = api.address() as { port: number }
    env = {
      CLOUDFLARE_API_BASE_URL: `http://127.0.0.1:${port}/client/v4`,
      CLOUDFLARE_API_TOKEN: 'a-token',
      CLOUDFLARE_ACCOUNT_ID: 'an-account',
    }
    const toml = await readFile(join(ROOT, 'wrangler.toml'), 'utf8')
    const folder = join(inject('runFolder'), 'deploy')
    await mkdir(folder)
    config = join(folder, 'wrangler.toml')
    await writeFile(
      config,
      toml
        .replace(/^main = "/m, `main = "${ROOT}`)
        .replaceAll('"./node_modules', `"${ROOT}node_modules`)
        .replaceAll('"./build', `"${ROOT}build`)
        .replace(/^id = "0{32}"/m, `id = "${ID}"`),
    )
  })
  afterAll(() => api.close())

  it('rehearses offline, as the repository is', async () => {
    const { code, stdout } = await script('deploy.ts', ['--dry-run'], {})
    expect(stdout).toContain('--dry-run: exiting now.')
    expect(code).toBe(0)
  })

  it('deploys nothing without a Hyperdrive, and says how to make one', async () => {
    const { code, stderr } = await script('deploy.ts', [], {})
    expect(stderr).toContain('wrangler hyperdrive create latchkey --caching-disabled')
    expect(code).toBe(1)
  })

  it.each([
    ['on', { disabled: false }],
    ['on by default', {}],
    ['on for long', { max_age: 3_600, stale_while_revalidate: 60 }],
  ])('deploys nothing where query caching is %s', async (_, given) => {
    caching = given
    const { code, stderr } = await script('deploy.ts', ['--dry-run', '--config', config], env)
    expect(stderr).toContain(`wrangler hyperdrive update ${ID} --caching-disabled`)
    expect(asked.at(-1)?.what).toContain(`/hyperdrive/configs/${ID}`)
    expect(code).toBe(1)
  })

  it.each([
    [
      'create latchkey --caching-disabled --connection-string=postgres://latchkey:secret@db.example:5432/latchkey',
      'POST',
    ],
    [`update ${ID} --caching-disabled`, 'PATCH'],
  ])('is told apart from a Hyperdrive that caches by: wrangler hyperdrive %s', async (line, method) => {
    caching = { disabled: true }
    await wrangler(['hyperdrive', ...line.split(' ')], { ...env, CI: 'true' })
    const sent = asked.findLast(({ what }) => what.startsWith(method))
    expect(JSON.parse(sent?.body ?? '{}')).toMatchObject({ caching: { disabled: true } })
  })

  it('goes on where it is off', async () => {
    caching = { disabled: true }
    const { code, stdout } = await script('deploy.ts', ['--dry-run', '--config', config], env)
    expect(stdout).toContain(`env.HYPERDRIVE (${ID})`)
    expect(code).toBe(0)
  })
})

describe('npm run migrate', () => {
  it('brings an empty Postgres up to date, once and again', async () => {
    const databaseUrl = await freshDatabase('Postgres')
    for (const _ of ['once', 'again']) {
      const { code, stdout } = await script('migrate.ts', [], { DATABASE_URL: databaseUrl })
      expect(stdout).toMatch(/^The schema of latchkey_\w+ is up to date\.\n$/)
      expect(code).toBe(0)
    }
  })

  it.each([
    ['no database', {}],
    ['a folder', { DATABASE_URL: 'pglite:.latchkey' }],
    ['a database that is not there', { DATABASE_URL: 'postgres://nobody:secret@127.0.0.1:1/none' }],
  ])('refuses %s with a sentence, and tells no password', async (_, env) => {
    const { code, stderr } = await script('migrate.ts', [], env)
    expect(code).toBe(1)
    expect(stderr.trim().split('\n')).toHaveLength(1)
    expect(stderr).not.toContain('secret')
  })
})

describe('wrangler.toml', () => {
  it('is understood to the last word', async () => {
    const { stdout, stderr } = await wrangler(['deploy', '--dry-run'])
    expect(`${stdout}${stderr}`).not.toMatch(/unexpected|unknown|deprecated/i)
    // Smart placement moves /docs along with the API: that is meant.
    expect(`${stdout}${stderr}`.match(/warning/gi)).toHaveLength(1)
    expect(stderr).toContain('Turning on Smart Placement')
  })

  it('keeps request headers out of the logs of the platform', async () => {
    const toml = await readFile(join(ROOT, 'wrangler.toml'), 'utf8')
    expect(toml).toMatch(/\[observability\.logs\]\ninvocation_logs = false/)
  })
})
