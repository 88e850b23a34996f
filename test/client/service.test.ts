import { Cl, signStructuredData, type TupleCV } from '@stacks/transactions'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  createClient,
  type Key,
  privateKeySigner,
  type ServiceInfo,
  verifyAudit,
  walletSigner,
} from '../../src/client/index.ts'
import { signMessage } from '../../src/stacks/sign.ts'
import { type Service, startService } from '../support/server.ts'

let service: Service
let info: ServiceInfo
beforeAll(async () => {
  service = await startService()
  info = await createClient({ baseUrl: service.url }).info()
}, 60_000)
afterAll(() => service?.stop())

async function newWallet() {
  const privateKey = `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}01`
  const signer = privateKeySigner(privateKey, 'devnet')
  const client = createClient({ baseUrl: service.url, signer })
  await client.devnet.faucet(signer.address)
  return { privateKey, signer, client }
}

function draft() {
  const { inputToken = '', outputToken = '' } = info.devnet ?? {}
  return { inputToken, outputToken, amountIn: '1000000' }
}

describe('Against the service itself, the client', () => {
  it('grants a key to a bot that then trades without a wallet', async () => {
    const { client: owner } = await newWallet()
    const { apiKey, keyId } = await owner.keys.create({
      name: 'Café 🤖',
      permissions: ['create', 'execute', 'cancel'],
      expiresAt: new Date(Date.now() + 86_400_000),
    })
    const bot = createClient({ baseUrl: service.url, apiKey })
    const [first, second] = [await owner.orders.create(draft()), await owner.orders.create(draft())]
    const executed = await bot.orders.execute(first.uuid ?? '')
    expect(executed.txid).toMatch(/^(0x)?[0-9a-f]{64}$/)
    expect((await bot.orders.cancel(second.uuid ?? '')).status).toBe('cancelled')
    expect(bot.rateLimit).toMatchObject({ limit: 100, remaining: 98, windowSeconds: 60 })
    await expect(bot.orders.execute(second.uuid ?? '')).rejects.toMatchObject({
      code: 'ORDER_NOT_OPEN',
      status: 400,
      requestId: expect.any(String),
    })
    const key = await owner.keys.get(keyId)
    expect(key).toMatchObject({ name: 'Café 🤖', keyPreview: expect.not.stringContaining(apiKey) })
    expect(key.usageStats).toMatchObject({ executionCount: 1, cancellationCount: 1 })
    expect(await owner.keys.delete(keyId)).toEqual(await owner.keys.delete(keyId))
    expect((await owner.keys.list()).map(({ status }) => status)).toEqual(['revoked'])
    await expect(bot.orders.execute(first.uuid ?? '')).rejects.toMatchObject({
      code: 'API_KEY_INACTIVE',
    })
  })

  it('watches keys with a session, and signs nothing for it', async () => {
    const { client: owner } = await newWallet()
    const { keyId } = await owner.keys.create({ name: 'watched', permissions: [] })
    const { session } = await owner.sessions.open(60)
    const page = createClient({ baseUrl: service.url, session })
    expect((await page.keys.list()).map((key) => key.keyId)).toEqual([keyId])
    expect((await page.keys.get(keyId)).name).toBe('watched')
    expect((await page.keys.usage(keyId)).usage).toEqual([])
    expect((await page.orders.list()).orders).toBeInstanceOf(Array)
    expect(verifyAudit(await page.audit.export()).ok).toBe(true)
    await expect(page.keys.delete(keyId)).rejects.toMatchObject({ code: 'SIGNER_MISSING' })
    await expect(page.keys.me()).rejects.toMatchObject({ code: 'INVALID_API_KEY' })
    await page.sessions.end()
    await expect(page.keys.list()).rejects.toMatchObject({ code: 'INVALID_SESSION' })
    expect(() => createClient({ baseUrl: service.url, session: 'cs_ x' })).toThrow('session')
  })

  it('gives a key its whole life', async () => {
    const { client: owner } = await newWallet()
    const { inputToken = '' } = info.devnet ?? {}
    const { apiKey, keyId } = await owner.keys.create({
      name: 'limited',
      permissions: ['create', 'execute'],
      maxAmountIn: { [inputToken]: { perOrder: '1000000', perDay: '2000000' } },
      ownOrdersOnly: true,
      maxOpenOrders: 2,
    })
    const bot = createClient({ baseUrl: service.url, apiKey })
    expect(await bot.keys.me()).toMatchObject({
      keyId,
      limits: { ownOrdersOnly: true, maxOpenOrders: 2 },
    })
    expect(await owner.keys.update(keyId, { ownOrdersOnly: null, label: 'prod' })).toMatchObject({
      label: 'prod',
    })
    expect((await owner.keys.suspend(keyId)).status).toBe('suspended')
    expect((await owner.keys.resume(keyId)).status).toBe('active')
    const { apiKey: next } = await owner.keys.rotate(keyId, 60)
    await expect(owner.keys.rotate(keyId, 60)).rejects.toMatchObject({
      code: 'ROTATION_IN_GRACE',
      details: { previousUntil: expect.any(String) },
    })
    const rotated = createClient({ baseUrl: service.url, apiKey: next })
    expect((await rotated.keys.me()).keyId).toBe((await bot.keys.me()).keyId)
    const { apiKey: forced } = await owner.keys.rotate(keyId, 60, { force: true })
    expect((await createClient({ baseUrl: service.url, apiKey: forced }).keys.me()).keyId).toBe(
      keyId,
    )
    await expect(bot.keys.me()).rejects.toMatchObject({ code: 'INVALID_API_KEY' })
    expect((await owner.keys.usage(keyId)).usage[0]?.requests).toBeGreaterThan(0)
    for (const days of [367, 0, -1, 1e-9, Number.NaN, Number.POSITIVE_INFINITY])
      await expect(owner.keys.certificate(keyId, days)).rejects.toMatchObject({
        code: 'INVALID_ARGUMENT',
      })
    const certificate = await owner.keys.certificate(keyId, 0.123_456_789_1)
    expect(JSON.parse(certificate.message).notAfter).toSatisfy(Number.isSafeInteger)
    await createClient({ baseUrl: service.url }).keys.useCertificate(certificate)
    await expect(rotated.keys.me()).rejects.toMatchObject({ code: 'API_KEY_INACTIVE' })
    const other = await owner.keys.create({ name: 'other', permissions: [] })
    await createClient({ baseUrl: service.url, apiKey: other.apiKey }).keys.deleteSelf()
    expect(await owner.keys.revokeAll(true)).toEqual({ keyIds: [], cancelledOrders: 0 })

    const audit = await owner.audit.export()
    expect(verifyAudit(audit)).toEqual({
      ok: true,
      archived: 0,
      unproven: [],
      events: audit.events.length,
      keys: audit.keys.length,
      vouched: [],
      faults: [],
    })
    const cut = { ...audit, events: audit.events.slice(0, -1) }
    expect(verifyAudit(cut, { older: audit }).ok).toBe(false)
    const shown = await owner.keys.get(keyId)
    const wider = { ...shown, status: 'active', permissions: ['cancel'] } as Key
    expect(verifyAudit({ ...audit, keys: [wider] }).ok).toBe(false)
  })

  it('executes and cancels with the signature of the wallet, where there is no key', async () => {
    const { client } = await newWallet()
    const [first, second] = [
      await client.orders.create(draft()),
      await client.orders.create(draft()),
    ]
    expect((await client.orders.execute(first.uuid ?? '')).txid).toBeTruthy()
    expect((await client.orders.cancel(second.uuid ?? '')).status).toBe('cancelled')
  })

  it('commits an order to its minimum, and has its uuid burnt when it is cancelled', async () => {
    const { client } = await newWallet()
    const { client: friend, signer } = await newWallet()
    const committed = { ...draft(), minAmountOut: '1', recipient: signer.address }
    const { uuid = '', ...order } = await client.orders.create(committed)
    expect(uuid).toMatch(/^[0-9a-f]{36}$/)
    expect(order).toMatchObject({ minAmountOut: '1', recipient: signer.address })
    expect(Date.parse(order.deadline ?? '') - Date.now()).toBeLessThanOrEqual(86_401_000)
    await client.orders.execute(uuid)
    const settled = await friend.orders.waitFor(uuid, { signal: AbortSignal.timeout(30_000) })
    expect(BigInt(settled.amountOut ?? '0')).toBeGreaterThan(0n)
    const { uuid: other = '' } = await client.orders.create(committed)
    const { burn } = await client.orders.cancel(other, { onChain: true })
    expect(['requested', 'mined']).toContain(burn)
  })

  it('gets the stored order when it sends the same one again', async () => {
    const { client } = await newWallet()
    const order = { ...draft(), uuid: crypto.randomUUID() }
    expect(await client.orders.create(order)).toEqual(await client.orders.create(order))
    await expect(client.orders.create({ ...order, amountIn: '7' })).rejects.toMatchObject({
      code: 'ORDER_CONFLICT',
    })
  })

  it("names another recipient with the owner's word, and the service agrees on the hash", async () => {
    const { client } = await newWallet()
    const { signer: friend } = await newWallet()
    const validTo = new Date(Date.now() + 3_600_000).toISOString()
    const order = await client.orders.create({ ...draft(), recipient: friend.address, validTo })
    expect(order.recipient).toBe(friend.address)
  })

  it('works with a browser wallet', async () => {
    const { privateKey, signer } = await newWallet()
    // biome-ignore lint/suspicious/noExplicitAny: a wallet is given whatever the method takes
    const request = async (method: string, { message, domain }: any) => {
      if (method === 'stx_signMessage') return { signature: signMessage({ message, privateKey }) }
      const values = { message: Cl.deserialize(message), domain: Cl.deserialize<TupleCV>(domain) }
      return { signature: signStructuredData({ ...values, privateKey }) }
    }
    const wallet = walletSigner(request, { address: signer.address })
    const client = createClient({ baseUrl: service.url, signer: wallet })
    const { keyId } = await client.keys.create({ name: 'From a page', permissions: [] })
    expect((await client.keys.list()).map((key) => key.keyId)).toEqual([keyId])
    expect((await client.orders.create(draft())).status).toBe('open')
  })

  it('shows the uuids of open orders to their owner only, page by page', async () => {
    const { client, signer } = await newWallet()
    const placed: unknown[] = []
    for (const _ of [1, 2, 3]) placed.unshift((await client.orders.create(draft())).uuid)
    const seen = async (auth?: 'signature') => {
      const uuids: unknown[] = []
      const filter = { owner: signer.address, limit: 2 }
      for await (const { uuid } of client.orders.listAll(filter, auth && { auth })) uuids.push(uuid)
      return uuids
    }
    expect(await seen('signature')).toEqual(placed)
    expect(await seen()).toEqual([undefined, undefined, undefined])
  })

  it('learns the time from a service when its own clock is wrong', async () => {
    const { signer } = await newWallet()
    const late = { now: () => Date.now() - 540_000, wait: async () => {} }
    const client = createClient({ baseUrl: service.url, signer, clock: late })
    expect(await client.keys.list()).toEqual([])
    expect(Math.abs((await client.time()).getTime() - Date.now())).toBeLessThan(5_000)
  })

  it('is told what is wrong with a request', async () => {
    const { client } = await newWallet()
    await expect(client.devnet.faucet('no address')).rejects.toMatchObject({
      code: 'INVALID_REQUEST',
      details: expect.any(Object),
    })
    await expect(client.keys.get('key_123abc')).rejects.toMatchObject({ code: 'KEY_NOT_FOUND' })
  })
})
