import { createServer, type Server } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { cleanText, jsonText } from '../../src/cli/output.ts'
import { latchkey, PRIVATE_KEY } from './latchkey.ts'

/** Erases the screen, sets the title, a C1 CSI, overrides the direction of text, adds a line, hides, tags. */
const HOSTILE =
  '\u001b[2J\u001b]0;t\u0007\u009b31m\u202e\r\nok: true\u2028\u200b\ufeff\u00ad\u{e0041}\u007f\ud800'
const WORD = `a${HOSTILE}b`
/** All that text for people may hold beside printable characters. */
const UNPRINTABLE = /[^\n\P{C}]|[\u2028\u2029]/u

const members = Object.fromEntries(
  ['uuid', 'owner', 'status', 'amountIn', 'inputToken', 'outputToken', 'createdAt', 'txid'].map(
    (name) => [name, WORD],
  ),
)
const key = {
  ...members,
  id: WORD,
  keyId: WORD,
  name: WORD,
  keyPreview: WORD,
  permissions: [WORD],
  usageStats: { totalRequests: WORD, failedRequests: WORD },
  [WORD]: WORD,
}
const responses: Record<string, unknown> = {
  '/api/v1/info': { network: 'devnet', version: WORD, scopes: [WORD], [WORD]: { [WORD]: WORD } },
  '/api/v1/time': { time: Date.now() },
  '/api/v1/api-keys': { status: 'success', apiKeys: [key], apiKey: WORD, ...key },
  '/api/v1/api-keys/key_1': { apiKey: key, message: WORD },
  '/api/v1/api-keys/key_1/usage': {
    usage: [{ start: WORD, requests: 1, outcomes: { [WORD]: 1 } }],
    ips: [{ value: WORD, requests: 1, lastSeenAt: WORD }],
    userAgents: [],
    averageExecutionMs: WORD,
  },
  '/api/v1/orders': { data: [members], nextCursor: WORD },
  '/api/v1/orders/good': { data: { ...members, [WORD]: WORD } },
  '/api/v1/me': { ...key, windows: [{ name: WORD, remaining: WORD }], limits: { [WORD]: WORD } },
}

let server: Server
let env: Record<string, string>
beforeAll(async () => {
  server = createServer((request, response) => {
    const { pathname } = new URL(request.url ?? '', 'http://localhost')
    const found = responses[pathname]
    const refusal = { error: WORD, code: WORD, details: { [WORD]: WORD }, timestamp: WORD }
    response.writeHead(found === undefined ? 400 : 200, { 'content-type': 'application/json' })
    response.end(JSON.stringify(found ?? refusal))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const { port } = server.address() as AddressInfo
  env = {
    LATCHKEY_URL: `http://127.0.0.1:${port}`,
    LATCHKEY_PRIVATE_KEY: PRIVATE_KEY,
    LATCHKEY_API_KEY: 'ck_live_x',
  }
})
afterAll(() => server.close())

describe('text of a service steers no terminal, and makes no line of its own', () => {
  it.each([
    'info',
    'me',
    'keys list',
    'keys get key_1',
    'keys suspend bad',
    'keys create --name a --permissions create',
    'keys usage key_1',
    'keys delete key_1 --yes',
    'orders list',
    'orders get good',
    'orders get bad',
    'orders wait good --timeout 1',
    'orders wait bad',
    'demo',
    'faucet ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM',
  ])('%s', async (line) => {
    const { out, err } = await latchkey(line, env)
    expect(out + err).not.toMatch(UNPRINTABLE)
    expect(out + err).not.toMatch(/^ok: true/m)
    expect(out + err).not.toMatch(/\n {4}at /)
    const asJson = await latchkey(`${line} --json`, env)
    expect(asJson.out + asJson.err).toMatch(/^[\n\x20-\x7e]+$/)
    for (const text of [asJson.out, asJson.err]) if (text !== '') JSON.parse(text)
  })

  it('nor does it in a question', async () => {
    const { err } = await latchkey('keys delete key_1', env, { answer: 'n' })
    expect(err).toContain('This revokes the API key')
    expect(err).not.toMatch(UNPRINTABLE)
  })

  it('nor do arguments that are repeated', async () => {
    for (const args of [[WORD], ['keys', `--${WORD}`], ['audit', 'verify', WORD]]) {
      const { exitCode, err } = await latchkey(args)
      expect(exitCode).toBe(2)
      expect(err).not.toMatch(UNPRINTABLE)
      expect(err.trimEnd()).not.toContain('\n')
    }
  })
})

it('a response of another shape ends in a sentence', async () => {
  const before = { ...responses }
  for (const shape of [{}, [], { apiKeys: null, data: null, devnet: null }]) {
    for (const path of Object.keys(responses)) responses[path] = shape
    for (const line of ['info', 'me', 'keys list', 'orders list', 'orders get good', 'demo']) {
      const { exitCode, err } = await latchkey(line, env)
      expect([0, 1, 2, 3]).toContain(exitCode)
      expect(err).not.toMatch(/\n {4}at /)
    }
  }
  Object.assign(responses, before)
})

it('JSON keeps every character, in ASCII', () => {
  const value = { [WORD]: [WORD, 'é🚀', '\\u0041'] }
  expect(jsonText(value)).toMatch(/^[\n\x20-\x7e]+$/)
  expect(JSON.parse(jsonText(value))).toEqual(value)
})

it('every control and format character is replaced', () => {
  for (let code = 0; code <= 0x10ffff; code++) {
    const character = String.fromCodePoint(code)
    if (/[\p{Cc}\p{Cf}\p{Cs}\p{Zl}\p{Zp}]/u.test(character))
      expect(cleanText(character)).toBe('\ufffd')
  }
  expect(cleanText('naïve 名前 🚀')).toBe('naïve 名前 🚀')
})
