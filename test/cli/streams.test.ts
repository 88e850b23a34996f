import { execFile } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createServer, request } from 'node:http'
import type { AddressInfo } from 'node:net'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Service, startService } from '../support/server.ts'
import { latchkey, temporaryFolder } from './latchkey.ts'

const MAIN = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
/** Of util-linux: runs a command on a terminal of its own. */
const hasScript = existsSync('/usr/bin/script')

const folder = temporaryFolder()
let service: Service
let owner: Record<string, string>

beforeAll(async () => {
  service = await startService()
  const path = join(folder, 'wallet.key')
  await latchkey(`wallet new --key-file ${path}`)
  owner = { LATCHKEY_URL: service.url, LATCHKEY_KEY_FILE: path }
}, 60_000)
afterAll(() => service?.stop())

/** Runs a line of sh in which `latchkey` is the command line as a process of its own. */
async function sh(line: string, env: Record<string, string> = owner) {
  const script = `latchkey() { '${process.execPath}' '${MAIN}' "$@"; }\n${line}`
  return new Promise<{ code: number | null; out: string; err: string }>((resolve) => {
    const child = execFile(
      'sh',
      ['-c', script],
      { env: { PATH: process.env.PATH, ...env }, cwd: folder },
      (_, out, err) => resolve({ code: child.exitCode, out, err }),
    )
  })
}

async function keyNamed(name: string, env = owner) {
  const { out } = await latchkey('keys list --json', env)
  return JSON.parse(out).find((key: { name: string }) => key.name === name)
}

describe('standard output', () => {
  it('gets the result, from a process of its own', async () => {
    const { code, out, err } = await sh('latchkey info --json')
    expect([code, err]).toEqual([0, ''])
    expect(JSON.parse(out)).toMatchObject({ network: 'devnet' })
  })

  it.each([
    'keys list',
    'keys --help',
    'audit export',
    'demo',
  ])('may be closed by its reader: %s ends quietly, as done', async (line) => {
    const { err } = await sh(`{ latchkey ${line}; echo "code $?" >&2; } | true`)
    expect(err).toBe('code 0\n')
  })

  it('that takes nothing ends the command with a sentence and 1', async () => {
    const { code, err } = await sh('latchkey info > /dev/full')
    expect([code, err]).toEqual([
      1,
      'The result cannot be written to standard output: no space is left on the device.\n',
    ])
    const asJson = await sh('latchkey info --json > /dev/full')
    expect([asJson.code, JSON.parse(asJson.err).code]).toEqual([1, 'OUTPUT_FAILED'])
    expect((await sh('latchkey info > /dev/full 2> /dev/full')).code).toBe(1)
  })

  it('that takes only a part is no success', async () => {
    const { err } = await sh('(ulimit -f 1; latchkey help > part; echo "code $?" >&2)')
    expect(err).toMatch(/^The result cannot be written .*larger than a file may be\.\ncode 1\n$/)
    expect(readFileSync(join(folder, 'part')).length).toBeGreaterThan(0)
  })
})

describe('the secret of a new key that cannot be handed over', () => {
  const lost = [
    ['to a full disk', 'latchkey keys create --name full --permissions create > /dev/full', 'full'],
    [
      'to a reader that left',
      '{ latchkey keys create --name gone --permissions create; echo "code $?" >&2; } | true',
      'gone',
    ],
    [
      'to a file that cannot grow',
      '(ulimit -f 0; latchkey keys create --name big --permissions create --json > f; echo "code $?" >&2)',
      'big',
    ],
  ] as const

  it.each(lost)('%s revokes the key at once', async (_, line, name) => {
    const { code, err } = await sh(line)
    const { keyId, status } = await keyNamed(name)
    expect(status).toBe('revoked')
    expect(err).toContain(keyId)
    expect(err).toContain('revoked')
    expect(err).not.toMatch(/\n {4}at |ck_live_\w{20}/)
    if (!err.endsWith('code 1\n')) expect(code).toBe(1)
  })

  it('is not made where its file cannot be written', async () => {
    const line =
      '(ulimit -f 0; latchkey keys create --name none --permissions create --save none.key)'
    const { code, err } = await sh(line)
    expect([code, err]).toEqual([
      1,
      'none.key cannot be written: it would be larger than a file may be.\n',
    ])
    expect(existsSync(join(folder, 'none.key'))).toBe(false)
    expect(await keyNamed('none')).toBeUndefined()
  })

  it.each([
    ['the null device', 'latchkey keys create --name null --permissions create > /dev/null'],
    ['a closed stream', 'latchkey keys create --name null --permissions create >&-'],
  ])('is not made for %s', async (_, line) => {
    const { code, err } = await sh(line)
    expect(code).toBe(2)
    expect(err).toContain('--save')
    expect(await keyNamed('null')).toBeUndefined()
  })

  it('and whose key cannot be revoked either is named with the command that deletes it', async () => {
    const proxy = await startProxy(service.url, 'DELETE')
    const line = 'latchkey keys create --name kept --permissions create > /dev/full'
    const { code, err } = await sh(line, { ...owner, LATCHKEY_URL: proxy.url })
    await proxy.stop()
    const { keyId, status } = await keyNamed('kept')
    expect([code, status]).toEqual([1, 'active'])
    const [, command = ''] = /Delete it with: latchkey (.*)\.\n$/.exec(err) ?? []
    expect(command).toContain(keyId)
    expect((await latchkey(command, owner)).exitCode).toBe(0)
    expect((await keyNamed('kept')).status).toBe('revoked')
  })
})

describe('a secret of another kind that cannot be handed over', () => {
  it('revokes the key that it was rotated for', async () => {
    await latchkey('keys create --name turned --permissions create', owner)
    const { keyId } = await keyNamed('turned')
    const { code, err } = await sh(`latchkey keys rotate ${keyId} > /dev/full`)
    expect([code, (await keyNamed('turned')).status]).toEqual([1, 'revoked'])
    expect(err).toContain(keyId)
  })

  it('ends the session', async () => {
    const { code, err } = await sh('latchkey sessions open > /dev/full')
    expect([code, err]).toEqual([
      1,
      'The session was not handed over (no space is left on the device). It was ended at once.\n',
    ])
  })
})

describe.skipIf(!hasScript)('on a terminal', () => {
  const onTerminal = (line: string, env: Record<string, string> = {}) =>
    sh(`printf '%s' "$ANSWER" | script -qec '${line}' /dev/null`, {
      ...owner,
      TERM: 'xterm',
      ...env,
    })
  const main = `"${process.execPath}" "${MAIN}"`
  const ESC = '\u001b'

  it('each stream has colours of its own', async () => {
    const { out } = await onTerminal(`${main} orders get none 2> err.log`)
    expect(out).toBe('')
    expect(readFileSync(join(folder, 'err.log'), 'utf8')).not.toContain(ESC)
    expect((await onTerminal(`${main} orders get none > out.log`)).out).toContain(`${ESC}[31m`)
  })

  it.each([
    [{ NO_COLOR: '1' }, false],
    [{ TERM: 'dumb' }, false],
    [{ FORCE_COLOR: '0' }, false],
    [{ NO_COLOR: '' }, true],
    [{ NO_COLOR: '1', FORCE_COLOR: '1' }, true],
  ])('with %o there are colours: %s', async (env, has) => {
    const { out } = await onTerminal(`${main} orders get none`, env as Record<string, string>)
    expect(out).toContain('ORDER_NOT_FOUND')
    expect(out.includes(ESC)).toBe(has)
  })

  it('what cannot be undone waits for the answer', async () => {
    await latchkey('keys create --name prompted --permissions create', owner)
    const { keyId } = await keyNamed('prompted')
    const no = await onTerminal(`${main} keys delete ${keyId}`, { ANSWER: 'n\n' })
    expect(no.out).toMatch(/the API key 'prompted' .*\r\nGo on\? \[y\/N\] .*nothing was done/s)
    expect(no.code).toBe(2)
    const end = await onTerminal(`${main} keys delete ${keyId}`)
    expect(end.code).toBe(2)
    expect((await keyNamed('prompted')).status).toBe('active')
    const yes = await onTerminal(`${main} keys delete ${keyId}`, { ANSWER: 'y\n' })
    expect(yes.code).toBe(0)
    expect((await keyNamed('prompted')).status).toBe('revoked')
  })
})

it('FORCE_COLOR colours a pipe too, without erasing lines', async () => {
  const { out } = await sh('latchkey demo', { ...owner, FORCE_COLOR: '1' })
  expect(out).toContain('\u001b[32m✓')
  expect(out).not.toContain('\u001b[K')
}, 90_000)

/** Passes requests on to a service, and cuts off those of one method. */
async function startProxy(target: string, cutOff: string) {
  const server = createServer((incoming, outgoing) => {
    const { method = '', url, headers } = incoming
    if (method === cutOff) return void incoming.socket.destroy()
    const passed = request(target + url, { method, headers }, (response) => {
      outgoing.writeHead(response.statusCode ?? 502, response.headers)
      response.pipe(outgoing)
    })
    incoming.pipe(passed)
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    stop: () => new Promise((resolve) => server.close(resolve)),
  }
}
