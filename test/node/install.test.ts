import { execFile } from 'node:child_process'
import { cpSync, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { beforeAll, describe, expect, it } from 'vitest'
import { emptyFolder, npmStart, ROOT } from './entry.ts'

const run = promisify(execFile)

describe('a start on a Node that is too old', () => {
  /** The guard, as `npm start` runs it, on a Node that says it is of this version. */
  function startOn(version: string) {
    const disguise = join(emptyFolder(), 'disguise.cjs')
    const versions = JSON.stringify({ ...process.versions, node: version })
    writeFileSync(disguise, `Object.defineProperty(process, 'versions', { value: ${versions} })`)
    const guard = join(ROOT, 'src/node/runtime.cjs')
    return run(process.execPath, ['-r', disguise, '-r', guard, '-e', 'console.log("started")'])
  }

  it.each([
    '16.20.2',
    '18.20.8',
    '20.20.2',
    '22.17.1',
  ])('ends in a sentence: %s', async (version) => {
    const ended = await startOn(version).catch((error) => error)
    expect(ended).toMatchObject({ code: 1, stdout: '' })
    expect(ended.stderr).toContain(`needs Node 22.18 or newer, and this is Node ${version}`)
    expect(ended.stderr).toContain('--omit=optional')
    expect(ended.stderr).not.toMatch(/^\s+at /m)
  })

  it.each(['22.18.0', '24.0.0', '100.1.0'])('is none: %s', async (version) => {
    expect(await startOn(version)).toMatchObject({ stdout: 'started\n' })
  })

  it('reads the guard whatever the syntax of that Node is', () => {
    const text = readFileSync(join(ROOT, 'src/node/runtime.cjs'), 'utf8')
    expect(text).not.toMatch(/\bimport\b.*from|\?\.|\?\?|=>|\basync\b/)
  })
})

describe('an install without scripts and without the packages of the tests', () => {
  const folder = emptyFolder()
  const start = (env: Record<string, string>) =>
    npmStart({ DATABASE_URL: `pglite:${join(folder, 'data')}`, ...env }, folder)
  beforeAll(async () => {
    for (const file of ['src', 'drizzle', 'wrangler.toml', 'package.json', 'package-lock.json'])
      cpSync(join(ROOT, file), join(folder, file), { recursive: true })
    const options = ['--omit=dev', '--ignore-scripts', '--prefer-offline', '--no-audit']
    await run('npm', ['ci', ...options], { cwd: folder })
  }, 180_000)

  it('has the Node of the lock, and starts on it', async () => {
    expect(existsSync(join(folder, 'node_modules/vitest'))).toBe(false)
    const { stdout } = await run(join(folder, 'node_modules/.bin/node'), ['--version'])
    expect(stdout.trim()).toBe(process.version)
    const entry = start({ STACKS_API_URL: 'http://127.0.0.1:9' })
    expect((await fetch(`${await entry.url()}/health`)).status).toBe(200)
  })

  it('says in a sentence what a local chain and Cloudflare need beyond it', async () => {
    const entry = start({ DATABASE_URL: 'pglite::memory:' })
    expect((await entry.ended).code).toBe(1)
    expect(entry.stderr()).toContain('without --omit=dev; or set STACKS_API_URL')
    const deploy = run('npm', ['run', 'deploy'], { cwd: folder })
    const { stderr } = await deploy.then(
      () => expect.fail('deployed'),
      (error) => error,
    )
    expect(stderr).toMatch(/wrangler/)
    for (const text of [entry.stderr(), stderr]) expect(text).not.toMatch(/^\s+at /m)
  })
})
