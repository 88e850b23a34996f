import { execFile, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { fromHex, sha256, toHex } from '../../src/crypto/bytes.ts'
import {
  COMMITTED_ROUTER,
  INPUT_TOKEN,
  INTENT_VERIFIER,
  OUTPUT_TOKEN,
  ROUTER,
} from '../../src/devnet/constants.ts'
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
/** A deployment with the settings of testnet, whose chain is the local one: addresses and intents of both are the same. */
let testnet: { url: string; chain: string }
beforeAll(async () => {
  url = await startEntry({ DATABASE_URL: 'pglite::memory:' }).url()
  const info = (await (await fetch(`${url}/api/v1/info`)).json()) as {
    devnet: { stacksApiUrl: string }
  }
  const chain = info.devnet.stacksApiUrl
  const operator = newPrivateKey()
  await fund(chain, operator)
  testnet = {
    chain,
    url: await startEntry({
      DATABASE_URL: 'pglite::memory:',
      STACKS_NETWORK: 'testnet',
      STACKS_API_URL: chain,
      QUOTE_URL: `${chain}/quote`,
      ROUTER_CONTRACT: `${ROUTER},committed:${COMMITTED_ROUTER}`,
      INTENT_VERIFIER_CONTRACT: INTENT_VERIFIER,
      ENCRYPTION_KEY: randomBytes(32).toString('base64'),
      SIGNED_DOMAIN: 'dex.example',
      OPERATOR_PRIVATE_KEY: operator,
    }).url(),
  }
}, 240_000)

const newPrivateKey = () => `${randomBytes(32).toString('hex')}01`

async function fund(chain: string, privateKey: string): Promise<void> {
  const body = JSON.stringify({ address: addressOf(privateKey, 'devnet') })
  const headers = { 'Content-Type': 'application/json' }
  const response = await fetch(`${chain}/faucet`, { method: 'POST', headers, body })
  expect(response.status).toBe(200)
}

describe('An example', { timeout: 240_000 }, () => {
  const environment = (): Record<string, string | undefined> => ({
    PATH: process.env.PATH,
    LATCHKEY_URL: url,
    WALLET_PRIVATE_KEY: newPrivateKey(),
  })
  const offDevnet = async (routers: string) => {
    const env: Record<string, string | undefined> = {
      ...environment(),
      LATCHKEY_URL: testnet.url,
      LATCHKEY_NETWORK: 'testnet',
      LATCHKEY_DOMAIN: 'dex.example',
      LATCHKEY_ROUTERS: routers,
      INPUT_TOKEN,
      OUTPUT_TOKEN,
      AMOUNT_IN: '2000000',
      MIN_AMOUNT_OUT: '1',
    }
    await fund(testnet.chain, String(env.WALLET_PRIVATE_KEY))
    return env
  }
  const EACH = [
    ['in Python', 'python3', 'wire/trade.py'],
    ['with curl', 'bash', 'wire/trade.sh'],
    ['in TypeScript', process.execPath, 'typescript/trade.ts'],
  ] as const

  async function trades(command: string, file: string, env: NodeJS.ProcessEnv): Promise<void> {
    const { stdout } = await run(command, [join(EXAMPLES, file)], { env, cwd: ROOT })
    expect(stdout).toMatch(/^key key_\w+/)
    expect(stdout).toMatch(/executes [\w-]+/)
    expect(stdout).toMatch(/\bconfirmed\b/)
    expect(stdout).toMatch(/cancels [\w-]+ cancelled/)
    expect(stdout).toMatch(/has been revoked\s*$/)
  }

  it.each(EACH)('%s trades on a service as a newcomer starts it', async (_, command, file) =>
    trades(command, file, environment()))

  it.each([
    ['in Python, by HMAC', 'python3', 'wire/signed.py'],
    ['with curl and openssl, by Ed25519', 'bash', 'wire/signed.sh'],
  ])('signs its requests %s', async (_, command, file) => {
    const { stdout } = await run(command, [join(EXAMPLES, file)], { env: environment(), cwd: ROOT })
    expect(stdout).toMatch(/^key key_\w+/)
    expect(stdout).toMatch(/^is (python|openssl) /m)
    expect(stdout).toMatch(/refuses the order: INVALID_REQUEST$/m)
    expect(stdout).toMatch(/has been revoked\s*$/)
  })

  it.each([
    ...EACH.map((one) => [...one, `committed:${COMMITTED_ROUTER}`] as const),
    ...EACH.slice(0, 2).map((one) => [...one, ROUTER] as const),
  ])('%s trades off devnet with what the environment names', async (_, command, file, routers) =>
    trades(command, file, await offDevnet(routers)))

  it.each(
    EACH.flatMap((one) =>
      ['WALLET_PRIVATE_KEY', 'LATCHKEY_ROUTERS', 'INPUT_TOKEN', 'MIN_AMOUNT_OUT'].map(
        (name) => [...one, name] as const,
      ),
    ),
  )('%s names what it needs: %#', async (_, command, file, name) => {
    const env = { ...(await offDevnet(`committed:${COMMITTED_ROUTER}`)), [name]: undefined }
    const failed = await run(command, [join(EXAMPLES, file)], { env, cwd: ROOT }).catch((e) => e)
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(new RegExp(`^\\S*.*${name}:? is not set: the first lines of `))
    expect(failed.stderr).not.toMatch(/Traceback|\n {4}at /)
  })

  it('refused by the service ends with its code', async () => {
    const env = { ...environment(), AMOUNT_IN: '0' }
    const failed = await run('python3', [join(EXAMPLES, 'wire/trade.py')], { env }).catch((e) => e)
    expect(failed.code).toBe(1)
    expect(failed.stderr).toContain('POST /orders/new: INVALID_REQUEST')
  })

  it.each(EACH)('%s signs for no other network than the named one', async (_, command, file) => {
    const env = { ...environment(), LATCHKEY_URL: testnet.url }
    const failed = await run(command, [join(EXAMPLES, file)], { env, cwd: ROOT }).catch((e) => e)
    expect(failed.code).toBe(1)
    expect(failed.stderr).toMatch(/is on testnet, and LATCHKEY_NETWORK is devnet/)
  })
})

describe.each(['devnet', 'testnet'])('The signing server on %s', {
  timeout: 240_000,
}, (network) => {
  const TOKEN = randomBytes(24).toString('hex')
  let server: ReturnType<typeof spawn>
  let address: string
  let service: { call(path: string, init?: RequestInit): Promise<Response>; clock: { now: number } }
  let wallet: ReturnType<typeof newWallet>
  beforeAll(async () => {
    const serviceUrl = network === 'devnet' ? url : testnet.url
    service = {
      call: (path, init) => fetch(`${serviceUrl}/api/v1${path}`, init),
      clock: { now: Date.now() },
    }
    wallet = newWallet(service)
    const domain = network === 'devnet' ? {} : { domain: 'dex.example' }
    const { apiKey } = await createKey(service, wallet, { permissions: ['create'], ...domain })
    server = spawn(process.execPath, [join(EXAMPLES, 'signing-server/server.ts')], {
      cwd: ROOT,
      env: {
        PATH: process.env.PATH,
        PORT: '0',
        LATCHKEY_URL: serviceUrl,
        ...(network !== 'devnet' && {
          LATCHKEY_NETWORK: network,
          LATCHKEY_DOMAIN: 'dex.example',
          LATCHKEY_ROUTERS: `${ROUTER},committed:${COMMITTED_ROUTER}`,
        }),
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
