import { randomBytes } from 'node:crypto'
import { inspect } from 'node:util'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type Client, createClient, privateKeySigner, type Signer } from '../../src/client/index.ts'
import {
  type BreakingProxy,
  MOMENTS,
  type Moment,
  startBreakingProxy,
} from '../support/breaking-proxy.ts'
import { type Service, startService } from '../support/server.ts'

let service: Service
let proxy: BreakingProxy
beforeAll(async () => {
  service = await startService({ MAX_ACTIVE_KEYS_PER_WALLET: '1000' })
  proxy = await startBreakingProxy(service.url)
}, 240_000)
afterAll(async () => {
  await proxy?.close()
  await service?.stop()
})

/** A wallet that counts what it is asked, as a person would see it. */
function countingSigner(interactive = true): Signer & { address: string; prompts: () => number } {
  const signer = privateKeySigner(`${randomBytes(32).toString('hex')}01`, 'devnet')
  let prompts = 0
  const count = <T>(signed: T): T => {
    prompts += 1
    return signed
  }
  return {
    interactive,
    address: signer.address,
    getAddress: (network) => signer.getAddress(network),
    signMessage: (message, network) => count(signer.signMessage(message, network)),
    signIntent: (intent, network) => count(signer.signIntent(intent, network)),
    prompts: () => prompts,
  }
}

/** A client behind the proxy, whose requests of one path are broken off. */
function broken(
  path: RegExp,
  moment: Moment,
  { signer, apiKey, times = 1 }: { signer?: Signer; apiKey?: string; times?: number } = {},
): Client {
  let left = times
  return createClient({
    baseUrl: proxy.url,
    apiKey: apiKey ?? null,
    signer,
    maxRetries: 3,
    // Waits are over at once.
    clock: { now: () => Date.now(), wait: async (_, signal) => signal.throwIfAborted() },
    hooks: {
      onRequest: (request) => {
        if (!path.test(`${request.method} ${request.path}`) || left === 0) return
        left -= 1
        proxy.breakNext(moment)
      },
    },
  })
}

const direct = (signer: Signer) => createClient({ baseUrl: service.url, signer })
/** Reads without a prompt that would be counted. */
async function keysOf(signer: Signer) {
  return direct({ ...signer, interactive: false }).keys.list()
}

describe.each(MOMENTS)('A connection that is reset %s', (moment) => {
  it('is no failure of a read', async () => {
    const { broken: before } = proxy
    const client = broken(/info/, moment)
    expect((await client.info()).network).toBe('devnet')
    expect(proxy.broken).toBe(before + 1)
  })

  it('costs no key and makes no second one, with one prompt', async () => {
    const signer = countingSigner()
    const client = broken(/POST \/api-keys$/, moment, { signer })
    const { broken: before } = proxy
    const { apiKey, keyId } = await client.keys.create({ name: 'bot', permissions: [] })
    expect([proxy.broken - before, signer.prompts()]).toEqual([1, 1])
    expect((await keysOf(signer)).map((key) => key.keyId)).toEqual([keyId])
    const bot = createClient({ baseUrl: service.url, apiKey })
    expect((await bot.keys.me()).keyId).toBe(keyId)
  })

  it('costs no secret of a rotation, and rotates once, with one prompt', async () => {
    const signer = countingSigner()
    const owner = direct({ ...signer, interactive: false })
    const { apiKey: before, keyId } = await owner.keys.create({ name: 'bot', permissions: [] })
    const prompts = signer.prompts()
    const client = broken(/POST .*rotate$/, moment, { signer })
    const { apiKey, previousUntil } = await client.keys.rotate(keyId, 600)
    expect(signer.prompts() - prompts).toBe(1)
    for (const secret of [before, apiKey]) {
      const bot = createClient({ baseUrl: service.url, apiKey: secret })
      expect((await bot.keys.me()).keyId).toBe(keyId)
    }
    expect((await owner.keys.get(keyId)).previousUntil).toBe(previousUntil)
  })

  it('leaves a rotation whose every answer was lost to be recovered, without a prompt', async () => {
    const signer = countingSigner()
    const owner = direct({ ...signer, interactive: false })
    const { keyId } = await owner.keys.create({ name: 'bot', permissions: [] })
    const client = broken(/POST .*rotate$/, moment, { signer, times: 4 })
    const error = await client.keys.rotate(keyId, 600).catch((failure) => failure)
    const prompts = signer.prompts()
    await expect(client.keys.discard(error)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
    const { apiKey, keyId: found } = await client.keys.recover(error)
    expect([found, signer.prompts()]).toEqual([keyId, prompts])
    const bot = createClient({ baseUrl: service.url, apiKey })
    expect((await bot.keys.me()).keyId).toBe(keyId)
  })

  it('makes one order of orders.create', async () => {
    const signer = countingSigner()
    const client = broken(/POST \/orders\/new/, moment, { signer })
    const { inputToken = '', outputToken = '' } = (await client.info()).devnet ?? {}
    const draft = { inputToken, outputToken, amountIn: '1000', minAmountOut: '1' }
    const order = await client.orders.create(draft)
    expect(signer.prompts()).toBe(1)
    const { orders } = await client.orders.list({ owner: signer.address })
    expect(orders.map(({ createdAt }) => createdAt)).toEqual([order.createdAt])
  })

  it('makes one transaction of orders.execute, and shows it', async () => {
    const { apiKey, uuid } = await funded()
    const bot = broken(/execute/, moment, { apiKey })
    const { txid, order } = await bot.orders.execute(uuid)
    expect(order.txid).toBe(txid)
    const changes = await all(createClient({ baseUrl: service.url }).orders.events(uuid))
    expect(changes.filter(({ status }) => status === 'executing')).toHaveLength(1)
    expect(new Set(changes.flatMap(({ txid }) => txid ?? []))).toEqual(new Set([txid]))
  })

  it('cancels an order once, and resolves with it', async () => {
    const { apiKey, uuid } = await funded()
    const bot = broken(/cancel/, moment, { apiKey })
    expect((await bot.orders.cancel(uuid)).status).toBe('cancelled')
  })

  it('revokes, suspends, resumes and changes a key once, with one prompt each', async () => {
    const signer = countingSigner(false)
    const { keyId } = await direct(signer).keys.create({ name: 'bot', permissions: [] })
    const eachOnce = (method: RegExp) => broken(method, moment, { signer })
    expect((await eachOnce(/PATCH/).keys.update(keyId, { label: 'x' })).label).toBe('x')
    expect((await eachOnce(/suspend/).keys.suspend(keyId)).status).toBe('suspended')
    expect((await eachOnce(/resume/).keys.resume(keyId)).status).toBe('active')
    expect((await eachOnce(/DELETE/).keys.delete(keyId)).message).toContain('revoked')
    const events = await all(direct(signer).audit.events())
    const acts = events.map(({ body }) => JSON.parse(body).event)
    expect(acts).toEqual([
      'create_api_key',
      'update_api_key',
      'suspend_api_key',
      'resume_api_key',
      'delete_api_key',
    ])
  })

  it('ends the key that revokes itself', async () => {
    const signer = countingSigner(false)
    const { apiKey } = await direct(signer).keys.create({ name: 'bot', permissions: [] })
    const bot = broken(/self/, moment, { apiKey })
    expect((await bot.keys.deleteSelf()).message).toContain('revoked')
    expect((await keysOf(signer)).map(({ status }) => status)).toEqual(['revoked'])
  })

  it('never asks a person twice for a change, and says what became of it', async () => {
    const signer = countingSigner()
    const { keyId } = await direct(signer).keys.create({ name: 'bot', permissions: [] })
    const before = signer.prompts()
    const suspended = await broken(/suspend/, moment, { signer })
      .keys.suspend(keyId)
      .then(({ status }) => status)
      .catch(({ code }) => code)
    expect(suspended).toBe(moment === 'before the request' ? 'suspended' : 'MESSAGE_REPLAYED')
    expect(signer.prompts() - before).toBe(1)
    expect((await keysOf(signer)).map(({ status }) => status)).toEqual(['suspended'])
  })
})

describe.each(MOMENTS)('A key whose every answer is lost %s', (moment) => {
  async function lose(options: { onSecret?: (apiKey: string) => void } = {}) {
    const signer = countingSigner()
    // The 5th request and later ones get through.
    const client = broken(/POST \/api-keys$/, moment, { signer, times: 4 })
    const error = await client.keys
      .create({ name: 'bot', permissions: ['execute'] }, options)
      .catch((error) => error)
    expect(error).toMatchObject({ code: 'UNREACHABLE' })
    return { signer, client, error }
  }

  it('is recovered by one call, without a prompt', async () => {
    const { signer, client, error } = await lose()
    const { apiKey, keyId } = await client.keys.recover(error)
    expect((await keysOf(signer)).map((key) => key.keyId)).toEqual([keyId])
    const bot = createClient({ baseUrl: service.url, apiKey })
    expect(await bot.keys.me()).toMatchObject({ keyId, permissions: ['execute'] })
  })

  it('is revoked by one call, without a prompt, for good', async () => {
    const { signer, client, error } = await lose()
    await client.keys.discard(error)
    await client.keys.discard(error)
    expect((await keysOf(signer)).map(({ status }) => status)).toEqual(['revoked'])
    await expect(client.keys.recover(error)).rejects.toMatchObject({ code: 'API_KEY_INACTIVE' })
  })

  it('was told to the caller before the wallet was asked', async () => {
    const told: string[] = []
    const { client, error } = await lose({ onSecret: (apiKey) => void told.push(apiKey) })
    expect(told).toEqual([(await client.keys.recover(error)).apiKey])
  })

  it('leaves no trace of its secret in the error', async () => {
    const { client, error } = await lose()
    const { apiKey } = await client.keys.recover(error)
    const shown = `${inspect(error, { depth: 9, showHidden: true })} ${error.stack} ${JSON.stringify(error)}`
    expect(shown).not.toContain(apiKey)
  })
})

it('A key that was refused is none that can be recovered', async () => {
  const signer = countingSigner()
  const client = direct(signer)
  await client.keys.create({ name: 'bot', permissions: [] })
  const error = await client.keys.create({ name: 'bot', permissions: [] }).catch((error) => error)
  expect(error).toMatchObject({ code: 'DUPLICATE_KEY_NAME' })
  await expect(client.keys.recover(error)).rejects.toMatchObject({ code: 'INVALID_ARGUMENT' })
})

async function all<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = []
  for await (const item of items) collected.push(item)
  return collected
}

async function funded() {
  const signer = countingSigner(false)
  const owner = direct(signer)
  await owner.devnet.faucet(signer.address)
  const { inputToken = '', outputToken = '' } = (await owner.info()).devnet ?? {}
  const { apiKey } = await owner.keys.create({ name: 'bot', permissions: ['execute', 'cancel'] })
  const { uuid = '' } = await owner.orders.create({
    ...{ inputToken, outputToken },
    ...{ amountIn: '1000000', minAmountOut: '490000' },
  })
  return { apiKey, uuid }
}
