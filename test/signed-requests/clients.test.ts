import { execFile } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { promisify } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createClient,
  generateSigningKey,
  LatchkeyError,
  privateKeySigner,
  readSigningKey,
  requestSigner,
  secretRequestSigner,
  signRequest,
} from '../../src/client/index.ts'
import { latchkey, temporaryFolder } from '../cli/latchkey.ts'
import { type Service, startService } from '../support/server.ts'

const folder = temporaryFolder()
const at = (name: string) => join(folder, name)
let service: Service
let owner: ReturnType<typeof createClient>
let wallet: Record<string, string>

beforeAll(async () => {
  service = await startService({ MAX_ACTIVE_KEYS_PER_WALLET: '1000' })
  const signer = privateKeySigner(`${randomBytes(32).toString('hex')}01`, 'devnet')
  owner = createClient({ baseUrl: service.url, signer })
  await latchkey(`wallet new --key-file ${at('wallet')}`)
  wallet = { LATCHKEY_URL: service.url, LATCHKEY_KEY_FILE: at('wallet') }
}, 240_000)
afterAll(() => service?.stop())

describe('The SDK, over sockets,', () => {
  it('trades with a key that has no secret', async () => {
    const { publicKey, privateKey } = await generateSigningKey()
    const me = privateKeySigner(`${randomBytes(32).toString('hex')}01`, 'devnet')
    const trader = createClient({ baseUrl: service.url, signer: me })
    await trader.devnet.faucet(me.address)
    const permissions = ['create', 'execute', 'cancel'] as const
    const made = await trader.keys.create({ name: 'signs', permissions, publicKey })
    expect(made).not.toHaveProperty('apiKey')
    expect(made).toMatchObject({ publicKey })
    const { inputToken = '', outputToken = '' } = (await trader.info()).devnet ?? {}
    const order = { inputToken, outputToken, amountIn: '1000000' }
    const { uuid = '' } = await trader.orders.create(order)
    const bot = createClient({
      baseUrl: service.url,
      requestSigner: requestSigner({ keyId: made.keyId, privateKey }),
    })
    expect((await bot.keys.me()).keyId).toBe(made.keyId)
    expect((await bot.orders.execute(uuid)).txid).toMatch(/^(0x)?[0-9a-f]{64}$/)
    const second = await trader.orders.create(order)
    expect((await bot.orders.cancel(second.uuid ?? '')).status).toBe('cancelled')
    expect(bot.rateLimit?.remaining).toBeGreaterThan(0)
    expect((await bot.orders.list({ owner: me.address })).orders.length).toBe(2)
    const next = await generateSigningKey()
    await trader.keys.update(made.keyId, { publicKey: next.publicKey })
    await expect(bot.keys.me()).rejects.toMatchObject({ status: 401 })
    const after = createClient({
      baseUrl: service.url,
      requestSigner: requestSigner({ keyId: made.keyId, privateKey: next.privateKey }),
    })
    await expect(after.keys.me()).resolves.toMatchObject({ keyId: made.keyId })
    expect((await after.keys.deleteSelf()).message).toContain('revoked')
  })

  it('signs with a secret that it never sends', async () => {
    const grant = { name: 'only signs', permissions: [], requireSignature: true }
    const { apiKey, keyId } = await owner.keys.create(grant)
    const sent: string[] = []
    const bot = createClient({
      baseUrl: service.url,
      requestSigner: secretRequestSigner({ keyId, apiKey }),
      fetch: (url, init) => {
        sent.push(JSON.stringify([url, init.headers, init.body]))
        return fetch(url, init)
      },
    })
    await expect(bot.keys.me()).resolves.toMatchObject({ limits: { requireSignature: true } })
    expect(sent.join()).not.toContain(apiKey)
    const bare = createClient({ baseUrl: service.url, apiKey })
    await expect(bare.keys.me()).rejects.toMatchObject({ code: 'SIGNATURE_REQUIRED' })
  })

  it('signs each attempt anew, so that a repetition is no replay', async () => {
    const { publicKey, privateKey } = await generateSigningKey()
    const { keyId } = await owner.keys.create({ name: 'repeats', permissions: [], publicKey })
    const inputs: string[] = []
    let isFirst = true
    const bot = createClient({
      baseUrl: service.url,
      requestSigner: requestSigner({ keyId, privateKey }),
      async fetch(url, init) {
        inputs.push(new Headers(init.headers).get('signature-input') ?? '')
        const response = await fetch(url, init)
        if (!isFirst) return response
        isFirst = false
        await response.body?.cancel()
        throw new TypeError('the connection broke')
      },
    })
    await expect(bot.keys.me()).resolves.toMatchObject({ keyId })
    expect(new Set(inputs).size).toBe(2)
  })

  it("signs again by the service's clock where its own is wrong", async () => {
    const { publicKey, privateKey } = await generateSigningKey()
    const { keyId } = await owner.keys.create({ name: 'late', permissions: [], publicKey })
    const bot = createClient({
      baseUrl: service.url,
      requestSigner: requestSigner({ keyId, privateKey }),
      clock: {
        now: () => Date.now() - 400_000,
        wait: (ms) => new Promise((resolve) => setTimeout(resolve, ms)),
      },
    })
    await expect(bot.keys.me()).resolves.toMatchObject({ keyId })
  })

  it('refuses what is no signing key, and repeats nothing of it', async () => {
    const text = 'ck_live_secret'
    for (const work of [
      () => readSigningKey(text),
      () => requestSigner({ keyId: 'key_1', privateKey: text }).sign(new Uint8Array()),
      async () => requestSigner({ keyId: text, privateKey: text }),
      async () => secretRequestSigner({ keyId: text, apiKey: text }),
      async () =>
        createClient({
          baseUrl: service.url,
          apiKey: text,
          requestSigner: secretRequestSigner({ keyId: 'key_1', apiKey: text }),
        }),
    ]) {
      const error = await work().catch((caught: unknown) => caught)
      expect(error).toBeInstanceOf(LatchkeyError)
      expect(error).toMatchObject({ code: 'INVALID_ARGUMENT' })
      expect(JSON.stringify(error)).not.toContain(text)
    }
  })

  it('signs what other means send', async () => {
    const { publicKey, privateKey } = await generateSigningKey()
    const { keyId } = await owner.keys.create({ name: 'by fetch', permissions: [], publicKey })
    const url = `${service.url}/api/v1/orders?limit=1&status=open`
    const signer = requestSigner({ keyId, privateKey })
    const headers = await signRequest(signer, { method: 'get', url })
    expect((await fetch(url, { headers })).status).toBe(200)
    expect((await fetch(url, { headers })).status).toBe(409)
  })
})

describe('The command line', () => {
  const create = (...more: string[]) =>
    latchkey(
      ['keys', 'create', '--name', more.at(-1) ?? '', '--permissions', '', ...more, '--json'],
      wallet,
    )

  it('makes a key pair, grants its public key and signs with the private one', async () => {
    const file = at('bot.pem')
    const made = await create('--signing-key', file)
    expect(made.exitCode, made.err).toBe(0)
    const granted = JSON.parse(made.out)
    expect(granted).toMatchObject({ savedTo: file })
    expect(granted).not.toHaveProperty('apiKey')
    const text = readFileSync(file, 'utf8')
    expect(text).toContain(`Latchkey-Key-Id: ${granted.keyId}\n-----BEGIN PRIVATE KEY-----`)
    expect(made.out).not.toContain(text.split('\n')[2])
    expect(statSync(file).mode & 0o077).toBe(0)
    const env = { LATCHKEY_URL: service.url }
    const me = await latchkey(['me', '--signing-key-file', file, '--json'], env)
    expect(JSON.parse(me.out)).toMatchObject({ keyId: granted.keyId })
    const listed = await latchkey(['orders', 'list', '--json'], {
      ...env,
      LATCHKEY_SIGNING_KEY_FILE: file,
    })
    expect(listed.exitCode, listed.err).toBe(0)
    const again = await create('--signing-key', file)
    expect(again.exitCode).not.toBe(0)
    expect(readFileSync(file, 'utf8')).toBe(text)
  })

  it('grants a public key of openssl, whose private key signs once its file names the key', async () => {
    const file = at('openssl.pem')
    await promisify(execFile)('openssl', ['genpkey', '-algorithm', 'ed25519', '-out', file])
    const pem = readFileSync(file, 'utf8')
    const { publicKey } = await readSigningKey(pem)
    const made = await create('--public-key', publicKey.key)
    expect(made.exitCode, made.err).toBe(0)
    const { keyId } = JSON.parse(made.out)
    const env = { LATCHKEY_URL: service.url, LATCHKEY_SIGNING_KEY_FILE: file }
    expect((await latchkey(['me', '--json'], env)).err).toContain('is no signing key')
    writeFileSync(file, `Latchkey-Key-Id: ${keyId}\n${pem}`, { mode: 0o600 })
    expect(JSON.parse((await latchkey(['me', '--json'], env)).out)).toMatchObject({ keyId })
  })

  it('signs with an API key in place of sending it', async () => {
    const made = await create('--require-signature')
    expect(made.exitCode, made.err).toBe(0)
    const { keyId, apiKey } = JSON.parse(made.out)
    const env = { LATCHKEY_URL: service.url, LATCHKEY_API_KEY: apiKey }
    expect((await latchkey(['me', '--json'], env)).err).toContain('SIGNATURE_REQUIRED')
    const signed = await latchkey(['me', '--sign-as', keyId, '--json'], env)
    expect(JSON.parse(signed.out)).toMatchObject({ keyId })
  })
})
