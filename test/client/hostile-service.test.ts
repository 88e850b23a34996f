import { describe, expect, it } from 'vitest'
import { type ClientOptions, privateKeySigner, walletSigner } from '../../src/client/index.ts'
import { committedUuid } from '../../src/stacks/committed.ts'
import { verifyIntent } from '../../src/stacks/intent.ts'
import { DEVNET_ROUTERS } from '../../src/stacks/router.ts'
import { publicKeyOf, signMessage } from '../../src/stacks/sign.ts'
import { DRAFT, info, NOON, PRIVATE_KEY, ROUTER, refusal, scripted, signer } from './scripted.ts'

const COMMITTED = 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.committed-router-rc1'
const THIEF = 'ST2CY5V39NHDPWSXMW9QDT3HC3GD6Q6XX4CFRK9AG'
const THEIRS = `${THIEF}.x-multihop`
const MAINNET_ROUTER = 'SP2D6RRAAZWG1N34S9QPADXN56HP4STX2H8BSQKK3.x-multihop'
const PINS = [ROUTER, `committed:${COMMITTED}`]
const BOTH = [
  { contract: ROUTER, commits: false },
  { contract: COMMITTED, commits: true },
]
const both = { ...info, routers: BOTH, operators: [THIEF] }
const order = { status: 201, body: { data: {} } }
const { uuid: _, ...draft } = {
  ...DRAFT,
  outputToken: 'ST1PQHQKV0RJXZFY1DGX8MNSNYVE3VGZJSRTPGZGM.b',
}
const committed = { ...draft, minAmountOut: '990000' }

/** A browser wallet that counts what it is asked, and signs every message. */
function countingWallet() {
  let asked = 0
  const wallet = walletSigner(
    async (_, { message }) => {
      asked += 1
      return {
        signature: signMessage({ message, privateKey: PRIVATE_KEY }),
        publicKey: publicKeyOf(PRIVATE_KEY),
      }
    },
    { address: signer.address },
  )
  return { wallet, asked: () => asked }
}

describe("A service's domain", () => {
  it.each([
    ['another service', { ...info, signedDomain: 'victim.example' }],
    [
      'another service, off a devnet',
      { ...info, network: 'testnet', signedDomain: 'victim.example' },
    ],
    ['none, off a devnet', { ...info, network: 'testnet' }],
  ])('is not signed when it is that of %s', async (_, said) => {
    const testnet = privateKeySigner(PRIVATE_KEY, said.network as 'testnet')
    const { wallet, asked } = countingWallet()
    for (const one of [testnet, wallet]) {
      const { client, sent } = scripted([], { signer: one, info: said })
      const granting = client.keys.create({ name: 'bot', permissions: ['execute'] })
      await expect(granting).rejects.toMatchObject({ code: 'WRONG_DOMAIN' })
      await expect(client.keys.list()).rejects.toMatchObject({ code: 'WRONG_DOMAIN' })
      expect(sent).toEqual([])
    }
    expect(asked()).toBe(0)
  })

  it.each<[string, Partial<ClientOptions>, string]>([
    ['the host of the base URL', { baseUrl: 'https://dex.example/api/v1' }, 'dex.example'],
    ['that host with its port', { baseUrl: 'https://dex.example:8443' }, 'dex.example:8443'],
    ['that host without its port', { baseUrl: 'https://dex.example:8443' }, 'dex.example'],
    ['the option', { domain: 'dex.example', baseUrl: 'https://10.0.0.1' }, 'dex.example'],
  ])('is signed when it is %s', async (_, options, signedDomain) => {
    const said = { ...info, network: 'testnet', signedDomain }
    const testnet = privateKeySigner(PRIVATE_KEY, 'testnet')
    const { client, sent } = scripted([{ body: {} }], { signer: testnet, info: said, ...options })
    await client.keys.delete('key_1')
    expect(JSON.parse(sent[0]?.body.message).domain).toBe(signedDomain)
  })

  it('is not the host when the option says another one', async () => {
    const said = { ...info, signedDomain: 'dex.example' }
    const { client } = scripted([], { signer, info: said, domain: 'other.example' })
    await expect(client.keys.list()).rejects.toMatchObject({ code: 'WRONG_DOMAIN' })
  })
})

describe("A service's network", () => {
  it.each([
    'mainnet',
    'testnet',
  ])('is not signed for when it claims %s and another is pinned', async (network) => {
    const { wallet, asked } = countingWallet()
    const said = { ...info, network, signedDomain: 'dex.example' }
    const { client, sent } = scripted([], { signer: wallet, info: said, network: 'devnet' })
    await expect(client.keys.list()).rejects.toMatchObject({ code: 'WRONG_NETWORK' })
    await expect(client.orders.create(draft)).rejects.toMatchObject({ code: 'WRONG_NETWORK' })
    expect([sent, asked()]).toEqual([[], 0])
  })
})

describe("A service's router", () => {
  const off = (routers: object[], options: Partial<ClientOptions> & { info?: object } = {}) =>
    scripted([order], { signer, info: { ...info, routers }, routers: PINS, ...options })
  const isRefused = async ({ client, sent }: ReturnType<typeof scripted>, members = {}) => {
    const creating = client.orders.create({ ...draft, ...members })
    await expect(creating).rejects.toMatchObject({ code: 'WRONG_ROUTER', message: /routers/ })
    expect(sent).toEqual([])
  }

  it('is not signed for without a pin, off this machine', async () => {
    const mainnet = privateKeySigner(PRIVATE_KEY, 'mainnet')
    const said = { ...info, network: 'mainnet', routerContract: MAINNET_ROUTER }
    await isRefused(scripted([], { signer: mainnet, info: said, routers: undefined }))
    const known = { ...info, routerContract: DEVNET_ROUTERS[0].contract, routers: DEVNET_ROUTERS }
    for (const said of [info, known])
      await isRefused(scripted([], { signer, info: said, routers: undefined }))
  })

  it('is not signed for when it is another one than the pinned', async () => {
    await isRefused(off([{ contract: THEIRS, commits: false }]))
    await isRefused(off([{ contract: THEIRS, commits: true }]), { minAmountOut: '1' })
    await isRefused(off(BOTH), { routerContract: THEIRS })
  })

  it('is not taken for a committed one on its word: a thief could execute the order through it', async () => {
    await isRefused(off([{ contract: ROUTER, commits: true }]), { minAmountOut: '1' })
    await isRefused(off([{ contract: COMMITTED, commits: false }]))
  })

  it('is the pinned one of several', async () => {
    const said = [{ contract: THEIRS, commits: false }, ...BOTH]
    const { client, sent } = off(said, { info: { ...info, routerContract: THEIRS, routers: said } })
    await client.orders.create(draft)
    const { body } = sent[0] ?? {}
    expect(body.routerContract).toBe(ROUTER)
    expect(verifyIntent({ ...body, router: ROUTER, network: 'devnet' })).toMatchObject({ ok: true })
  })

  it('is that of a devnet on this machine, without a pin', async () => {
    const devnet = DEVNET_ROUTERS[0].contract
    const said = { ...info, routerContract: devnet }
    const local = { signer, info: said, routers: undefined, baseUrl: 'http://127.0.0.1:8787' }
    const { client, sent } = scripted([order], local)
    await client.orders.create(draft)
    expect(verifyIntent({ ...sent[0]?.body, router: devnet, network: 'devnet' })).toMatchObject({
      ok: true,
    })
    await isRefused(scripted([], { ...local, info }))
  })

  it('must be a contract id', () => {
    expect(() => scripted([], { routers: ['committed:'] })).toThrow(/contract id/)
  })
})

describe('A committed order', () => {
  const placing = (said: object = both) => scripted([order], { signer, info: said, routers: PINS })

  it('binds what it must give, to nothing that the service names', async () => {
    const { client, sent } = placing()
    await client.orders.create(committed)
    const { body } = sent[0] ?? {}
    expect(body).toMatchObject({ ...committed, routerContract: COMMITTED, owner: signer.address })
    expect(body.executor).toBeUndefined()
    expect(body.salt).toMatch(/^[0-9a-f]{32}$/)
    expect(body.deadline).toBe(new Date(NOON + 86_400_000).toISOString())
    const terms = {
      by: null,
      min: '990000',
      salt: body.salt,
      to: signer.address,
      token: draft.outputToken,
      until: NOON / 1000 + 86_400,
    }
    expect(body.uuid).toBe(committedUuid(terms, 'devnet'))
    expect(verifyIntent({ ...body, router: COMMITTED, network: 'devnet' })).toMatchObject({
      ok: true,
    })
  })

  it('has another salt each time, and the same uuid with the same salt and deadline', async () => {
    const { client, sent } = scripted([order, order, order], { signer, info: both, routers: PINS })
    await client.orders.create(committed)
    await client.orders.create(committed)
    const { salt, deadline } = sent[0]?.body ?? {}
    await client.orders.create({ ...committed, salt, deadline })
    expect(sent[1]?.body.uuid).not.toBe(sent[0]?.body.uuid)
    expect(sent[2]?.body).toEqual(sent[0]?.body)
  })

  it("ends by the client's clock, whatever the service's is", async () => {
    const { client, sent } = scripted([order], {
      signer,
      info: both,
      routers: PINS,
      serviceAheadMs: 10 * 365 * 86_400_000,
    })
    await client.time()
    await client.orders.create(committed)
    expect(sent[0]?.body.deadline).toBe(new Date(NOON + 86_400_000).toISOString())
  })

  it('ends with its validTo, in whole seconds', async () => {
    const { client, sent } = placing()
    await client.orders.create({ ...committed, validTo: '2026-12-24T18:00:00.500Z' })
    expect(sent[0]?.body.deadline).toBe('2026-12-24T18:00:01.000Z')
  })

  it('names another recipient without a message: the intent binds it', async () => {
    const { client, sent } = placing()
    await client.orders.create({ ...committed, recipient: THIEF, executor: THIEF })
    expect(sent[0]?.body).toMatchObject({ recipient: THIEF, executor: THIEF })
    expect(sent[0]?.body.message).toBeUndefined()
  })

  it.each([
    ['uuid', { uuid: 'mine' }],
    ['minAmountOut', { minAmountOut: '0' }],
    ['executor', { executor: 'SP2D6RRAAZWG1N34S9QPADXN56HP4STX2H8BSQKK3' }],
    ['recipient', { recipient: 'me' }],
    ['outputToken', { outputToken: '.stx' }],
    ['salt', { salt: 'pepper' }],
    ['deadline', { deadline: '2026-12-24T18:00:00.5Z' }],
    ['deadline', { deadline: 'tomorrow' }],
    ['validTo', { validTo: '2026-12-24T18:00:01Z', deadline: '2026-12-24T18:00:00Z' }],
  ])('is not signed with a %s that no chain would take', async (member, change) => {
    const { client, sent } = placing()
    const creating = client.orders.create({ ...committed, ...change })
    await expect(creating).rejects.toMatchObject({ code: 'INVALID_ARGUMENT', details: { member } })
    expect(sent).toEqual([])
  })

  it('is not made where no router commits, and another one not where every router does', async () => {
    const legacy = placing({ ...info, routers: BOTH.slice(0, 1) })
    await expect(legacy.client.orders.create(committed)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: /No router here enforces minAmountOut/,
    })
    const strict = placing({ ...info, routerContract: COMMITTED, routers: BOTH.slice(1) })
    await expect(strict.client.orders.create(draft)).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      message: /minAmountOut, the least that the recipient is to gain, is needed/,
    })
    expect([...legacy.sent, ...strict.sent]).toEqual([])
  })

  it.each([
    'salt',
    'deadline',
    'executor',
  ])('is not one without a minimum: %s alone', async (name) => {
    const { client, sent } = placing()
    await expect(client.orders.create({ ...draft, [name]: 'x' })).rejects.toMatchObject({
      code: 'INVALID_ARGUMENT',
      details: { member: name },
    })
    expect(sent).toEqual([])
  })

  it('is left out where there is no minimum: the order is as it always was', async () => {
    const { client, sent } = placing()
    await client.orders.create(DRAFT)
    expect(Object.keys(sent[0]?.body).sort()).toEqual(
      ['amountIn', 'inputToken', 'outputToken', 'owner', 'signature', 'uuid'].sort(),
    )
  })
})

describe("A service's time", () => {
  const key = { name: 'bot', permissions: [] }
  const created = { status: 201, body: {} }

  it.each([
    ['a year ahead', 365 * 86_400_000],
    ['601 s ahead', 601_000],
    ['601 s behind', -601_000],
    ['a year behind', -365 * 86_400_000],
  ])('is not signed when a refusal says that it is %s', async (_, skewMs) => {
    const tooOld = refusal(401, 'EXPIRED_TIMESTAMP', { details: { serverTime: NOON + skewMs } })
    const { client, sent } = scripted([tooOld, created], { signer })
    await expect(client.keys.create(key)).rejects.toMatchObject({ code: 'CLOCK_SKEW' })
    expect(sent.map(({ body }) => JSON.parse(body.message).timestamp)).toEqual([NOON])
  })

  it.each([
    601_000, -601_000,
  ])('is not signed when /time is off by %i ms, by no kind of signer', async (serviceAheadMs) => {
    const { wallet, asked } = countingWallet()
    const interactive = scripted([], { signer: wallet, serviceAheadMs })
    await expect(interactive.client.keys.list()).rejects.toMatchObject({ code: 'CLOCK_SKEW' })
    const { client } = scripted([], { signer, serviceAheadMs })
    await expect(client.keys.certificate('key_1')).rejects.toMatchObject({
      code: 'CLOCK_SKEW',
      details: { skewSeconds: serviceAheadMs / 1000 },
      message: /10/,
    })
    expect(asked()).toBe(0)
  })

  it.each([600_000, -600_000])('is signed when it is off by %i ms', async (skewMs) => {
    const tooOld = refusal(401, 'EXPIRED_TIMESTAMP', { details: { serverTime: NOON + skewMs } })
    const { client, sent } = scripted([tooOld, created], { signer })
    await client.keys.create(key)
    expect(JSON.parse(sent[1]?.body.message).timestamp).toBe(NOON + skewMs)
  })

  it('is not taken from the header Date', async () => {
    const headers = { Date: 'Thu, 01 Jan 2037 00:00:00 GMT' }
    const { client, sent } = scripted([{ ...created, headers }, created], { signer })
    await client.keys.create(key)
    await client.keys.create(key)
    expect(sent.map(({ body }) => JSON.parse(body.message).timestamp)).toEqual([NOON, NOON])
  })

  it('is good again once the service is', async () => {
    const tooOld = refusal(401, 'EXPIRED_TIMESTAMP', { details: { serverTime: NOON + 9e11 } })
    const { client } = scripted([tooOld, created], { signer })
    await expect(client.keys.create(key)).rejects.toMatchObject({ code: 'CLOCK_SKEW' })
    await client.time()
    await client.keys.create(key)
  })
})

describe('A cancel', () => {
  const cancelled = { body: { data: {} } }

  it('asks for the chain where that is asked for, by key and by signature', async () => {
    const apiKey = `ck_live_${'k'.repeat(49)}`
    const { client, sent } = scripted([cancelled, cancelled, cancelled], { signer, apiKey })
    await client.orders.cancel('uuid-1', { onChain: true })
    await client.orders.cancel('uuid-1', { onChain: true, auth: 'signature' })
    await client.orders.cancel('uuid-1', { onChain: false })
    expect(sent[0]?.body).toEqual({ onChain: true })
    expect(JSON.parse(sent[1]?.body.message)).toMatchObject({
      action: 'cancel_order',
      uuid: 'uuid-1',
      onChain: true,
    })
    expect(sent[1]?.body.onChain).toBeUndefined()
    expect(sent[2]?.body).toBeUndefined()
  })
})
