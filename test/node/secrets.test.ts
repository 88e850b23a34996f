import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { describe, expect, it } from 'vitest'
import { emptyFolder, ROOT, startEntry } from './entry.ts'

const PASSWORD = 'hunter2-hunter2'

/** Everything that a program writes, and that it failed. */
async function failureOf(file: string, args: string[], env: Record<string, string>) {
  const program = promisify(execFile)(process.execPath, [join(ROOT, file), ...args], {
    cwd: emptyFolder(),
    env: { PATH: process.env.PATH, PORT: '0', ...env },
    timeout: 60_000,
  })
  return program.then(
    ({ stdout }) => expect.fail(`did not fail: ${stdout}`),
    ({ code, stdout, stderr }) => {
      expect(code, stderr).toBeGreaterThan(0)
      return `${stdout}${stderr}`
    },
  )
}

describe('a password in DATABASE_URL is not printed', () => {
  const ADDRESSES = [
    `postgres://owner:${PASSWORD}@no-host.invalid/latchkey`,
    `postgres://owner:${PASSWORD}@127.0.0.1:99999/latchkey`,
    `postgres://owner:#${PASSWORD}@127.0.0.1:1/latchkey`,
    `postgres://owner:%${PASSWORD}@127.0.0.1:1/latchkey`,
    `owner:${PASSWORD}@127.0.0.1`,
  ]
  const PROGRAMS: [string, string[]][] = [
    ['src/node.ts', []],
    ['src/node/migrate.ts', []],
    ['src/cli/admin.ts', ['audit', 'check', '--json']],
  ]

  it.each(PROGRAMS)(
    'by %s %j',
    async (file, args) => {
      for (const DATABASE_URL of ADDRESSES) {
        const env = { STACKS_API_URL: 'http://127.0.0.1:9', DATABASE_URL }
        const text = await failureOf(file, args, env)
        expect(text.length).toBeGreaterThan(10)
        expect(text).not.toContain(PASSWORD)
        expect(text).not.toMatch(/^\s+at /m)
      }
    },
    180_000,
  )
})

it('no credential in the address of the Stacks API or of the quote service is printed, logged or served', async () => {
  const key = 'apikey-0123456789abcdef'
  const entry = startEntry({
    STACKS_API_URL: `http://127.0.0.1:9/${key}?apikey=${key}`,
    QUOTE_URL: `http://127.0.0.1:9/quote?apikey=${key}`,
    STACKS_API_KEY: key,
    LOG_LEVEL: 'debug',
  })
  const url = await entry.url()
  const served = await Promise.all(
    ['/ready', '/api/v1/info', '/api/v1/openapi.json', '/api/v1/time'].map(async (path) =>
      (await fetch(url + path)).text(),
    ),
  )
  const faucet = await fetch(`${url}/api/v1/devnet/faucet`, {
    method: 'POST',
    headers: { 'Content-Type': 'application/json' },
    body: JSON.stringify({ address: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM' }),
  })
  entry.child.kill('SIGTERM')
  await entry.ended
  for (const text of [...served, await faucet.text(), entry.stderr(), ...entry.stdout])
    expect(text).not.toContain(key)
})
