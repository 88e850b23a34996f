import { spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  chmodSync,
  existsSync,
  lstatSync,
  readFileSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import { type Service, startService } from '../support/server.ts'
import { latchkey, temporaryFolder } from './latchkey.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
const folder = temporaryFolder()
const at = (name: string) => join(folder, name)
let service: Service
let owner: Record<string, string>
let files = 0

beforeAll(async () => {
  service = await startService({ MAX_ACTIVE_KEYS_PER_WALLET: '1000' })
  await latchkey(`wallet new --key-file ${at('wallet')}`)
  owner = { LATCHKEY_URL: service.url, LATCHKEY_KEY_FILE: at('wallet') }
}, 240_000)
afterAll(() => service?.stop())

/** A key and a bot's file that has its secret. */
async function botFile(write = (secret: string) => `LATCHKEY_API_KEY=${secret}\n`) {
  files += 1
  const created = await latchkey(
    ['keys', 'create', '--name', `bot ${files}`, '--permissions', 'create', '--json'],
    owner,
  )
  const { keyId, apiKey } = JSON.parse(created.out)
  const file = at(`${files}.env`)
  writeFileSync(file, write(apiKey), { mode: 0o600 })
  return { keyId, apiKey, file } as { keyId: string; apiKey: string; file: string }
}

const rotate = (keyId: string, file: string, ...more: string[]) =>
  latchkey(['rotate', keyId, '--write', file, '--json', ...more], owner)
const secretIn = (file: string) => /ck_live_\w+/.exec(readFileSync(file, 'utf8'))?.[0] ?? ''
const me = (apiKey: string) =>
  createClient({ baseUrl: service.url, apiKey })
    .keys.me()
    .then(
      ({ keyId }) => keyId,
      (error) => error.code,
    )
const NO_WAIT = ['--wait-seconds', '0']

describe('latchkey rotate', () => {
  it.each([
    ['plain', (secret: string) => `LATCHKEY_API_KEY=${secret}\n`],
    ['quoted', (secret: string) => `A="x"\nLATCHKEY_API_KEY="${secret}"\nB=1`],
    ['exported', (secret: string) => `export LATCHKEY_API_KEY='${secret}' # the bot's\r\nB=1\r\n`],
    [
      'with spaces',
      (secret: string) => `  LATCHKEY_API_KEY = ${secret} # key\n#LATCHKEY_API_KEY=x\n`,
    ],
    [
      'beside others',
      (secret: string) =>
        `OLD_LATCHKEY_API_KEY=a\nLATCHKEY_API_KEY=${secret}\nLATCHKEY_API_KEY_2=b\n`,
    ],
  ])('replaces a %s value and leaves the rest of the file as it is', async (_, write) => {
    const { keyId, apiKey, file } = await botFile(write)
    expect((await rotate(keyId, file, ...NO_WAIT)).exitCode).toBe(0)
    const next = secretIn(file)
    expect(next).not.toBe(apiKey)
    expect(readFileSync(file, 'utf8')).toBe(write(next))
    expect(await Promise.all([me(apiKey), me(next)])).toEqual([keyId, keyId])
  })

  it('adds the variable where there is none, to a file that only its owner reads', async () => {
    const { keyId, file } = await botFile(() => 'A=1')
    await rotate(keyId, file, ...NO_WAIT, '--variable', 'KEY')
    expect(readFileSync(file, 'utf8')).toMatch(/^A=1\nKEY=ck_live_\w+\n$/)
    const { keyId: other } = await botFile()
    await rotate(other, at('new.env'), ...NO_WAIT)
    expect(statSync(at('new.env')).mode & 0o777).toBe(0o600)
    expect(await me(secretIn(at('new.env')))).toBe(other)
  })

  it('keeps the mode of the file, and the link that leads to it', async () => {
    const { keyId, file } = await botFile()
    chmodSync(file, 0o640)
    const link = at(`${files}.link`)
    symlinkSync(file, link)
    await rotate(keyId, link, ...NO_WAIT)
    expect(lstatSync(link).isSymbolicLink()).toBe(true)
    expect(statSync(file).mode & 0o777).toBe(0o640)
    expect(await me(secretIn(file))).toBe(keyId)
  })

  it('reloads the reader, and ends the old secret once the new one was used', async () => {
    const { keyId, apiKey, file } = await botFile()
    const use = `curl -s -H "X-API-Key: $(sed -n 's/^LATCHKEY_API_KEY=//p' ${file})" ${service.url}/api/v1/me >/dev/null`
    const { exitCode, out } = await rotate(keyId, file, '--reload', use)
    expect([exitCode, JSON.parse(out)]).toEqual([0, { keyId, rotated: true, savedTo: file }])
    expect(await Promise.all([me(apiKey), me(secretIn(file))])).toEqual(['INVALID_API_KEY', keyId])
  }, 60_000)

  it('does not lose a secret when the reload fails: the next run hands the same one over', async () => {
    const { keyId, apiKey, file } = await botFile()
    const failed = await rotate(keyId, file, '--reload', 'exit 7')
    expect([failed.exitCode, JSON.parse(failed.err).code]).toEqual([1, 'RELOAD_FAILED'])
    const next = secretIn(file)
    expect(await Promise.all([me(apiKey), me(next)])).toEqual([keyId, keyId])
    expect((await rotate(keyId, file, ...NO_WAIT)).exitCode).toBe(0)
    expect(secretIn(file)).toBe(next)
  })

  it('does nothing while the last rotation is young, and puts the end of the key off', async () => {
    const { keyId, file } = await botFile()
    const soon = new Date(Date.now() + 3_600_000).toISOString()
    await latchkey(['keys', 'update', keyId, '--expires-at', soon], owner)
    const cron = [...NO_WAIT, '--every-days', '30', '--renew-days', '90']
    const first = JSON.parse((await rotate(keyId, file, ...cron)).out)
    expect(Date.parse(first.expiresAt)).toBeGreaterThan(Date.now() + 89 * 86_400_000)
    const secret = secretIn(file)
    expect(JSON.parse((await rotate(keyId, file, ...cron)).out)).toMatchObject({ rotated: false })
    expect(secretIn(file)).toBe(secret)
  })

  it('refuses what it cannot do before anything is signed', async () => {
    const { keyId, apiKey, file } = await botFile((secret) => `K=${secret}\nK=${secret}\n`)
    for (const more of [
      ['--variable', 'K'],
      ['--variable', 'a b'],
    ]) {
      const { exitCode } = await rotate(keyId, file, ...NO_WAIT, ...more)
      expect(exitCode).toBe(2)
      expect(existsSync(`${file}.rotation`)).toBe(false)
    }
    expect((await rotate(keyId, at('no/such/folder/.env'), ...NO_WAIT)).exitCode).not.toBe(0)
    const read = createClient({ baseUrl: service.url, apiKey })
    expect((await read.keys.me()).keyId).toBe(keyId)
    const key = JSON.parse((await latchkey(['keys', 'get', keyId, '--json'], owner)).out)
    expect(key).not.toHaveProperty('previousUntil')
  })

  it('is finished by the next run after one that was killed at any moment', async () => {
    const { keyId, apiKey, file } = await botFile()
    for (let kill = 0, delay = 0; kill < 12; kill++, delay += 60) {
      const killed = spawn(
        process.execPath,
        [MAIN, 'rotate', keyId, '--write', file, ...NO_WAIT, '--grace-seconds', '600'],
        { env: { ...process.env, ...owner }, stdio: 'ignore' },
      )
      const ended = once(killed, 'exit')
      const timer = setTimeout(() => killed.kill('SIGKILL'), 300 + delay)
      await ended
      clearTimeout(timer)
      // At every moment the file has a secret that works.
      expect(await me(secretIn(file))).toBe(keyId)
    }
    const last = await rotate(keyId, file, ...NO_WAIT)
    const { code } = last.exitCode === 0 ? { code: 'OK' } : JSON.parse(last.err)
    expect(['OK', 'ROTATION_IN_GRACE']).toContain(code)
    expect(await me(secretIn(file))).toBe(keyId)
    expect([keyId, 'INVALID_API_KEY', 'API_KEY_INACTIVE']).toContain(await me(apiKey))
  }, 120_000)
})
