import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import type { AuditExport } from '../../src/client/index.ts'
import { type Service, startService } from '../support/server.ts'
import { latchkey, temporaryFolder } from './latchkey.ts'

const FILES = fileURLToPath(new URL('../../src/cli/files.ts', import.meta.url))

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)
let service: Service
let owner: Record<string, string>
let keyId: string

beforeAll(async () => {
  service = await startService()
  await latchkey(`wallet new --key-file ${at('wallet')}`)
  owner = { LATCHKEY_URL: service.url, LATCHKEY_KEY_FILE: at('wallet') }
  const { out } = await latchkey(
    [
      'keys',
      'create',
      '--name',
      'café',
      '--permissions',
      'create',
      '--max-amount-in',
      '{".stx":{"perOrder":"5"}}',
      '--ip-allowlist',
      '127.0.0.1',
      '--json',
    ],
    owner,
  )
  keyId = JSON.parse(out).keyId
  await latchkey(`keys rotate ${keyId} --save ${at('rotated')}`, owner)
  await latchkey(`audit export --out ${at('audit')}`, owner)
  await latchkey(`keys certificate ${keyId} --out ${at('certificate')}`, owner)
}, 60_000)
afterAll(() => service?.stop())

const encodings: [string, (text: string) => Buffer][] = [
  ['UTF-8 with a byte order mark', (text) => Buffer.from(`\ufeff${text}`)],
  [
    'UTF-16, as Windows PowerShell writes it',
    (text) => Buffer.from(`\ufeff${text.replaceAll('\n', '\r\n')}`, 'utf16le'),
  ],
  ['UTF-16, big-endian', (text) => Buffer.from(`\ufeff${text}`, 'utf16le').swap16()],
]

describe.each(encodings)('a file in %s is read back', (_, encode) => {
  const written = (name: string) => {
    writeFileSync(at('encoded'), encode(readFileSync(at(name), 'utf8')), { mode: 0o600 })
    return at('encoded')
  }

  it('as an audit', async () => {
    const { exitCode, out } = await latchkey(`audit verify ${written('audit')}`)
    expect([exitCode, out]).toEqual([0, expect.stringMatching(/^ok +true$/m)])
  })

  it('as a secret', async () => {
    const line = `wallet address --network devnet --key-file`
    expect(await latchkey(`${line} ${written('wallet')}`)).toEqual(
      await latchkey(`${line} ${at('wallet')}`),
    )
  })
})

it('a certificate in UTF-16 revokes its key', async () => {
  const text = readFileSync(at('certificate'), 'utf8')
  writeFileSync(at('certificate.16'), Buffer.from(`\ufeff${text}`, 'utf16le'))
  const line = `keys use-certificate ${at('certificate.16')} --yes`
  expect((await latchkey(line, { LATCHKEY_URL: service.url })).out).toContain('has been revoked')
})

describe('a file that cannot be read says why', () => {
  it.each([
    [
      'UTF-16 without a mark',
      Buffer.from('{"format":"latchkey-audit 1"}', 'utf16le'),
      /UTF-16 without a byte order mark.*--out FILE/,
    ],
    ['bytes that are no text', Buffer.from([0x7b, 0xc3, 0x28, 0xff]), /not text in UTF-8/],
    ['text that is no JSON', Buffer.from('secret-words'), /is not JSON/],
  ])('%s', async (_, bytes, reason) => {
    writeFileSync(at('unreadable'), bytes)
    for (const command of ['audit verify', 'keys use-certificate']) {
      const { exitCode, err } = await latchkey(
        `${command} ${at('unreadable')} --yes`.replace(/(verify .*) --yes/, '$1'),
      )
      expect([exitCode, err]).toEqual([2, expect.stringMatching(reason)])
      expect(err).not.toContain('secret-words')
    }
  })
})

it('a secret that others can read is pointed out', async () => {
  writeFileSync(at('open'), readFileSync(at('wallet')), { mode: 0o644 })
  const line = `wallet address --network devnet --key-file ${at('open')}`
  const { exitCode, err } = await latchkey(line)
  expect([exitCode, err]).toEqual([0, `Others can read ${at('open')}: chmod 600 ${at('open')}\n`])
  expect(JSON.parse((await latchkey(`${line} --json`)).err).notes).toHaveLength(1)
})

it('a file is never replaced', async () => {
  const before = readFileSync(at('wallet'), 'utf8')
  const { exitCode, err } = await latchkey(`wallet new --key-file ${at('wallet')}`)
  expect([exitCode, err]).toEqual([2, expect.stringContaining('it exists already')])
  expect(readFileSync(at('wallet'), 'utf8')).toBe(before)
})

it('a file that cannot be written whole is withdrawn and removed', async () => {
  const script = `import { saveNew } from '${FILES}'
    const textOf = () => 'x'.repeat(4096)
    await saveNew('${at('cut')}', async () => 'made', textOf, async (made, reason) => new Error(made + ' withdrawn: ' + reason))
      .catch((error) => console.log(error.message))`
  const out = await new Promise((resolve) =>
    execFile(
      'sh',
      ['-c', `ulimit -f 1; exec '${process.execPath}' --input-type=module -e "$0"`, script],
      (_, out) => resolve(out),
    ),
  )
  expect(out).toBe(
    `made withdrawn: ${at('cut')} cannot be written: it would be larger than a file may be\n`,
  )
  expect(existsSync(at('cut'))).toBe(false)
})

describe('a hostile audit ends in a verdict or a sentence', () => {
  const judge = async (audit: unknown, older?: unknown) => {
    writeFileSync(at('hostile'), typeof audit === 'string' ? audit : JSON.stringify(audit))
    if (older !== undefined) writeFileSync(at('older'), JSON.stringify(older))
    const andOlder = older === undefined ? '' : ` --older ${at('older')}`
    const ran = await latchkey(`audit verify ${at('hostile')}${andOlder}`)
    expect([1, 2]).toContain(ran.exitCode)
    expect(ran.out + ran.err).not.toMatch(/\n {4}at |Unexpected/)
    if (ran.exitCode === 2) expect(ran.err).toMatch(/^[^\n]+\.\n$/)
    return ran
  }
  const good = () => JSON.parse(readFileSync(at('audit'), 'utf8')) as AuditExport

  it('of 200,000 faults, of which a hundred are shown', async () => {
    const event = { sequence: 0, body: '{}', hash: '' }
    const { exitCode, out } = await judge({ ...good(), events: Array(200_000).fill(event) })
    expect(exitCode).toBe(1)
    expect(out).toMatch(/^faults +\d{6}$/m)
    expect(out.split('\n').length).toBeLessThan(120)
    expect(out).toMatch(/^and \d+ more, which --json shows$/m)
    const { out: all } = await latchkey(`audit verify ${at('hostile')} --json`)
    expect(JSON.parse(all).faults.length).toBeGreaterThan(200_000)
  })

  it('of 200,000 keys that no event made', async () => {
    const { keys, ...audit } = good()
    const { exitCode, out } = await judge({
      ...audit,
      keys: Array(200_000).fill({ ...keys[0], keyId: 'key_other' }),
    })
    expect([exitCode, out]).toEqual([1, expect.stringMatching(/^faults +20000[0-9]$/m)])
  })

  it('that says a member twice, anywhere', async () => {
    const text = JSON.stringify(good())
    for (const twice of [
      text.replace('{', '{"network":"mainnet",'),
      text.replace('"status":"active"', '"status":"revoked","\\u0073tatus":"active"'),
    ]) {
      expect(twice).not.toBe(text)
      const { exitCode, err } = await judge(twice)
      expect([exitCode, err]).toEqual([2, expect.stringContaining('a member twice')])
    }
  })

  it('with members that every object has', async () => {
    const text = JSON.stringify(good())
    for (const [from, to] of [
      ['{', '{"__proto__":{"keys":[]},"constructor":1,'],
      ['"perOrder"', '"__proto__":{"perOrder":"9"},"perOrder"'],
      ['"events":[{', '"events":[{"__proto__":null,"toString":{},'],
      ['"keys":[{', '"keys":[{"__proto__":{"status":"active"},"hasOwnProperty":0,'],
    ] as const) {
      expect(text).toContain(from)
      writeFileSync(at('hostile'), text.replace(from, to))
      const ran = await latchkey(`audit verify ${at('hostile')}`)
      expect([0, 1, 2]).toContain(ran.exitCode)
      expect(ran.err).not.toMatch(/\n {4}at /)
    }
    for (const walletAddress of ['__proto__', 'constructor']) {
      const heads = `--audit-heads ${at('some-heads')}`
      writeFileSync(at('some-heads'), JSON.stringify({ [service.url]: {} }))
      writeFileSync(at('hostile'), JSON.stringify({ ...good(), walletAddress }))
      const ran = await latchkey(`audit verify ${at('hostile')} ${heads}`, owner)
      expect([ran.exitCode, ran.out]).toEqual([1, expect.stringMatching(/^ok +false$/m)])
    }
  })

  it('that was cut off at any length', async () => {
    const text = readFileSync(at('audit'), 'utf8').trimEnd()
    for (let length = 0; length < text.length; length += Math.ceil(text.length / 40))
      expect((await judge(text.slice(0, length))).exitCode).toBe(2)
  })

  const VERIFY = fileURLToPath(new URL('../../src/cli/main.ts', import.meta.url))
  const inSmallMemory = (path: string) =>
    new Promise<{ code: unknown; err: string }>((resolve) =>
      execFile(
        process.execPath,
        ['--max-old-space-size=256', VERIFY, 'audit', 'verify', path],
        { timeout: 60_000 },
        (error, _, err) => resolve({ code: error?.code, err }),
      ),
    )

  it.each([
    ['of millions of objects', '{},'.repeat(6_000_000), /more than 5000000 values/],
    ['of arrays that never close', '['.repeat(50_000_000), /nested more than 32 deep/],
  ])('%s, in bounded memory', async (_, values, reason) => {
    writeFileSync(at('hostile'), `{"format":"latchkey-audit 2","events":[${values}`)
    expect(await inSmallMemory(at('hostile'))).toEqual({
      code: 2,
      err: expect.stringMatching(reason),
    })
  })

  it('that has no end, or is longer than what is read', async () => {
    expect(await inSmallMemory('/dev/zero')).toEqual({
      code: 2,
      err: expect.stringContaining('is longer than 268435456 bytes'),
    })
    const { exitCode, err } = await latchkey('wallet address --network devnet --key-file /dev/zero')
    expect([exitCode, err]).toEqual([2, expect.stringContaining('is longer than 65536 bytes')])
  })

  it('with arrays a hundred thousand deep', async () => {
    const deep = `${'['.repeat(100_000)}${']'.repeat(100_000)}`
    await judge(deep)
    await judge(
      `{"format":"latchkey-audit 1","network":"devnet","walletAddress":"ST1","keys":[],"events":${deep}}`,
    )
    const body = JSON.stringify(deep)
    await judge(
      `{"format":"latchkey-audit 1","network":"devnet","walletAddress":"ST1","keys":[],"events":[{"sequence":1,"hash":"","body":${body}}]}`,
    )
  })

  it('with any member of another type', async () => {
    const values = [null, 0, -1, 'x', true, [], [null], {}, { a: null }]
    let judged = 0
    for (const path of pathsOf(good())) {
      for (const value of values) {
        const audit = good()
        const parent = path
          .slice(0, -1)
          .reduce<unknown>((node, name) => (node as never)[name], audit)
        const name = path.at(-1) ?? ''
        if (JSON.stringify((parent as never)[name]) === JSON.stringify(value)) continue
        ;(parent as Record<string, unknown>)[name] = value
        writeFileSync(at('hostile'), JSON.stringify(audit))
        const ran = await latchkey(`audit verify ${at('hostile')}`)
        expect([path, value, [0, 1, 2].includes(ran.exitCode)]).toEqual([path, value, true])
        expect(ran.err).not.toContain('Unexpected')
        judged++
      }
    }
    expect(judged).toBeGreaterThan(200)
    for (const value of values) {
      await judge(value)
      await judge(good(), value)
    }
  })
})

it('a hostile certificate ends in a sentence', async () => {
  for (const value of [null, 5, [], {}, { keyId: 5 }, { keyId: 'key_1', message: null }, 'text']) {
    writeFileSync(at('forged'), JSON.stringify(value))
    const { exitCode, err } = await latchkey(`keys use-certificate ${at('forged')} --yes`)
    expect([exitCode, err]).toEqual([2, expect.stringMatching(/is no certificate.*\.\n$/)])
  }
})

/** The path of every member, the ones of arrays by their place. */
function pathsOf(value: unknown): string[][] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value).flatMap(([name, member]) => [
    [name],
    ...pathsOf(member).map((path) => [name, ...path]),
  ])
}
