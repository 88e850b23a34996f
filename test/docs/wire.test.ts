import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromHex, sha256, toHex } from '../../src/crypto/bytes.ts'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { addressOf } from '../../src/stacks/sign.ts'
import { ROOT, startEntry } from '../node/entry.ts'
import { createKey, newWallet } from '../support/wallet.ts'
import { wireVectors } from './vectors.ts'

const run = promisify(execFile)
const EXAMPLES = join(ROOT, 'examples')

describe('docs/vectors.json', () => {
  const text = readFileSync(join(ROOT, 'docs/vectors.json'), 'utf8')

  it('is what the service computes', () => {
    expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(wireVectors())))
  })

  it('is what an implementation without a line of the service computes', async () => {
    const { stdout } = await run('python3', [
      join(EXAMPLES, 'wire/stacks.py'),
      'check',
      join(ROOT, 'docs/vectors.json'),
    ])
    expect(stdout).toMatch(/^3\d vectors are as they should be/)
  })

  it('has the bytes of messages, whose SHA-256 is the digest that is signed', () => {
    for (const { bytes, digest } of wireVectors().messages)
      expect(toHex(sha256(fromHex(bytes)))).toBe(digest)
  })
})

let url: string
beforeAll(async () => {
  url = await startEntry({ DATABASE_URL: 'pglite::memory:' }).url()
}, 240_000)

describe('An example, against a service as a newcomer starts it', { timeout: 240_000 }, () => {
  const environment = () => ({
    PATH: process.env.PATH,
    LATCHKEY_URL: url,
    WALLET_PRIVATE_KEY: `${randomBytes(32).toString('hex')}01`,
  })

  it.each([
    ['in Python', 'python3', 'wire/trade.py'],
    ['with curl', 'bash', 'wire/trade.sh'],
    ['in TypeScript', process.execPath, 'typescript/trade.ts'],
  ])('%s creates a key, executes an order, cancels one and revokes the key', async (_, command, file) => {
    const { stdout } = await run(command, [join(EXAMPLES, file)], { env: environment(), cwd: ROOT })
    expect(stdout).toMatch(/^key key_\w+/)
    expect(stdout).toMatch(/executes [\w-]+/)
    expect(stdout).toMatch(/\bconfirmed\b/)
    expect(stdout).toMatch(/cancels [\w-]+ cancelled/)
    expect(stdout).toMatch(/has been revoked\s*$/)
  })

  it('refused by the service ends with its code', async () => {
    const env = { ...environment(), STACKS_NETWORK: 'mainnet' }
    const failed = await run('python3', [join(EXAMPLES, 'wire/trade.py')], { env }).catch((e) => e)
    expect(failed.code).toBe(1)
    expect(failed.stderr).toContain('POST /devnet/faucet: INVALID_REQUEST')
  })
})

describe('The signing server', { timeout: 240_000 }, () => {
  const TOKEN = randomBytes(24).toString('hex')
  let server: ReturnType<typeof spawn>
  let address: string
  let service: { call(path: string, init?: RequestInit): Promise<Response>; clock: { now: number } }
  let wallet: ReturnType<typeof newWallet>
  beforeAll(async () => {
    service = {
      call: (path, init) => fetch(`${url}/api/v1${path}`, init),
      clock: { now: Date.now() },
    }
    wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { permissions: ['create'] })
    server = spawn(process.execPath, [join(EXAMPLES, 'signing-server/server.ts')], {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        PORT: '0',
        LATCHKEY_URL: url,
        LATCHKEY_API_KEY: apiKey,
        SIGNING_PRIVATE_KEY: wallet.privateKey,
        CALLERS: JSON.stringify({
          desk: { token: TOKEN, maxAmountIn: '5000000', inputTokens: [INPUT_TOKEN] },
        }),
      },
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    const [line] = await once(createInterface(server.stdout ?? process.stdin), 'line')
    address = /http:\S+/.exec(line)?.[0] ?? ''
  }, 120_000)
  afterAll(() => {
    server.kill()
  })

  const ORDER = {
    inputToken: INPUT_TOKEN,
    outputToken: OUTPUT_TOKEN,
    amountIn: '1000000',
    minAmountOut: '490000',
  }
  const place = (body: unknown, token = TOKEN) =>
    fetch(`${address}/api/create-order`, {
      method: 'POST',
      headers: { Authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
    })

  it('places an order of its wallet for a caller that it knows', async () => {
    const response = await place(ORDER)
    expect(response.status).toBe(200)
    const { order } = (await response.json()) as { order: { uuid: string } }
    expect(await (await service.call(`/orders/${order.uuid}`)).json()).toMatchObject({
      data: {
        owner: addressOf(wallet.privateKey, 'devnet'),
        recipient: wallet.address,
        minAmountOut: '490000',
      },
    })
  })

  it.each([
    ['a caller without its token', ORDER, 'x'.repeat(48), 401],
    ['more than the caller may spend', { ...ORDER, amountIn: '5000001' }, TOKEN, 403],
    ["a token that is not the caller's", { ...ORDER, inputToken: OUTPUT_TOKEN }, TOKEN, 403],
    ['an order at any price', { ...ORDER, minAmountOut: undefined }, TOKEN, 400],
    ['an amount that is none', { ...ORDER, amountIn: '-1' }, TOKEN, 400],
    ['what is not JSON', undefined, TOKEN, 400],
  ])('refuses %s, and places nothing', async (_, body, token, status) => {
    const count = async () => {
      const response = await service.call(`/orders?owner=${wallet.address}`)
      return ((await response.json()) as { data: unknown[] }).data.length
    }
    const before = await count()
    expect((await place(body, token)).status).toBe(status)
    expect(await count()).toBe(before)
  })

  it('sends its order to its wallet, whatever recipient a caller names', async () => {
    const response = await place({ ...ORDER, recipient: newWallet(service).address })
    expect(await response.json()).toMatchObject({ order: { recipient: wallet.address } })
  })
})
