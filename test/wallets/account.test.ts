import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { INPUT_TOKEN, OUTPUT_TOKEN } from '../../src/devnet/constants.ts'
import { fetchPeer } from '../../src/node/fetch.ts'
import type { AccountState } from '../../src/wallets/account.ts'
import { openHoldings } from '../../src/wallets/holdings.ts'
import type { PeerFetch } from '../../src/wire/response.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, EVERYWHERE, type Service } from '../support/service.ts'
import { createKey, createOrder, fund, json, newWallet, type Wallet } from '../support/wallet.ts'

type Account = AccountState & Record<string, unknown>

async function openSession(service: Service, wallet: Wallet): Promise<string> {
  const body = json(wallet.sign({ action: 'create_session', ttlSeconds: 60 }))
  return (await answered<{ session: string }>(await service.call('/sessions', body), 201)).session
}

const readWith = async (service: Service, headers: Record<string, string>) =>
  answered<Account>(await service.call('/account', { headers }))
const balance = ({ balances }: AccountState, token: string) =>
  balances.find((one) => one.token === token)

describe.each(EVERYWHERE)('The account of a wallet on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  it('is the same to its key with read, its session and its signed message', async () => {
    const wallet = newWallet(service)
    await fund(service, wallet)
    const uuid = await createOrder(service, wallet, { amountIn: '70' })
    const { apiKey, keyId } = await createKey(service, wallet, {
      permissions: ['read', 'create'],
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '100' } },
    })
    const mine = wallet.order({ amountIn: '30' })
    await answered(await service.call('/orders/new', json(mine, { 'X-API-Key': apiKey })), 201)
    const session = await openSession(service, wallet)
    const ways: Record<string, string>[] = [
      { 'X-API-Key': apiKey },
      { Authorization: `Bearer ${session}` },
      wallet.signHeaders({ action: 'get_account' }),
    ]
    for (const headers of ways) {
      const account = await readWith(service, headers)
      expect(account).toMatchObject({
        walletAddress: wallet.address,
        network: 'devnet',
        chain: { isCurrent: true, maxAgeMs: 5_000 },
        nonces: { confirmed: 0, next: 0 },
        openOrders: { count: 2, hasMore: false, amountIn: { [INPUT_TOKEN]: '100' } },
        keys: [
          { keyId, amounts: { [INPUT_TOKEN]: { reserved: '30', spent: '0', perDay: '100' } } },
        ],
      })
      expect(account.openOrders.newest.map((order) => order.uuid)).toEqual([mine.uuid, uuid])
      expect(balance(account, '.stx')).toMatchObject({ state: 'known', symbol: 'STX', decimals: 6 })
      expect(BigInt(balance(account, INPUT_TOKEN)?.amount ?? '0')).toBeGreaterThan(0n)
      expect(balance(account, OUTPUT_TOKEN)).toMatchObject({ state: 'known', amount: '0' })
    }
  })

  it('is refused to a key without read, to another wallet, and without a credential', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { permissions: ['create', 'cancel'] })
    await refused(
      await service.call('/account', { headers: { 'X-API-Key': apiKey } }),
      'permissionDenied',
    )
    await refused(await service.call('/account'), 'signatureMissing')
    await refused(
      await service.call('/account', {
        headers: {
          ...wallet.signHeaders({ action: 'get_account' }),
          'X-Wallet-Address': newWallet(service).address,
        },
      }),
      'signatureInvalid',
    )
  })

  it('shows a key that is confined to its own orders neither the uuids nor the amounts of others', async () => {
    const wallet = newWallet(service)
    await createOrder(service, wallet)
    await createKey(service, wallet, { maxAmountIn: { [INPUT_TOKEN]: { perDay: '5' } } })
    const { apiKey, keyId } = await createKey(service, wallet, {
      permissions: ['read', 'create'],
      ownOrdersOnly: true,
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '2000000' } },
    })
    const own = wallet.order()
    await answered(await service.call('/orders/new', json(own, { 'X-API-Key': apiKey })), 201)
    const { openOrders, keys } = await readWith(service, { 'X-API-Key': apiKey })
    expect(openOrders.newest.map(({ uuid }) => uuid)).toEqual([own.uuid, undefined])
    expect(keys.map((key) => key.keyId)).toEqual([keyId])
  })

  it('costs 1 statement beside its credential', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet, { permissions: ['read'] })
    const session = await openSession(service, wallet)
    const cost = async (headers: Record<string, string>) => {
      const before = service.statements.length
      await readWith(service, headers)
      return service.statements.length - before
    }
    expect(await cost(wallet.signHeaders({ action: 'get_account' }))).toBe(1)
    expect(await cost({ Authorization: `Bearer ${session}` })).toBe(2)
    expect(await cost({ 'X-API-Key': apiKey })).toBe(3)
  })
})

describe.each(ENGINES)('The account of a wallet whose chain misbehaves, on %s,', (engine) => {
  /** What the node says in place of the devnet's own word; undefined for that. */
  let say: (path: string) => Response | undefined
  let asked: string[]
  const peer: PeerFetch = async (url, init) => {
    const path = new URL(url).pathname
    asked.push(path)
    const said = say(path)
    return said ?? fetchPeer(url, init)
  }
  let service: Service
  beforeAll(async () => {
    asked = []
    say = () => undefined
    service = await startService(engine, { fetch: peer })
  })
  afterAll(() => service.close())

  const account = async (wallet: Wallet) =>
    readWith(service, wallet.signHeaders({ action: 'get_account' }))

  it('has what the service knows, and no balance where the chain is away', async () => {
    const wallet = newWallet(service)
    await createOrder(service, wallet)
    say = () => new Response('', { status: 503 })
    const { chain, nonces, balances, openOrders } = await account(wallet)
    expect(chain.isCurrent).toBe(false)
    expect(nonces).toBeUndefined()
    expect(balances.map(({ state, amount }) => [state, amount])).toEqual(
      Array.from({ length: 3 }, () => ['unknown', undefined]),
    )
    expect(openOrders.count).toBe(1)
  })

  it('shows what it read before with its age, and forgets it after a minute', async () => {
    const wallet = newWallet(service)
    say = () => undefined
    expect((await account(wallet)).chain.isCurrent).toBe(true)
    say = () => new Response('', { status: 503 })
    service.clock.now += 20_000
    const older = await account(wallet)
    expect(older.chain.isCurrent).toBe(false)
    expect(balance(older, '.stx')).toMatchObject({ state: 'known', ageMs: 20_000 })
    expect(older.nonces?.ageMs).toBe(20_000)
    service.clock.now += 40_000
    expect(balance(await account(wallet), '.stx')).toMatchObject({ state: 'unknown' })
  })

  it('invents no 0 for a contract that is none, or tells something else', async () => {
    say = (path) => {
      if (path.endsWith('/get-balance') && path.includes('key-token'))
        return new Response('', { status: 404 })
      if (path.endsWith('/get-balance'))
        return Response.json({ okay: true, result: '0x0800000000000000000000000000000001' })
      return undefined
    }
    const { balances } = await account(newWallet(service))
    expect(balances.slice(1).map(({ state, amount }) => [state, amount])).toEqual([
      [expect.stringMatching(/noToken|unknown/), undefined],
      [expect.stringMatching(/noToken|unknown/), undefined],
    ])
  })

  it('shows balances as large as a chain can have', async () => {
    say = (path) => {
      if (path.startsWith('/v2/accounts/'))
        return Response.json({ nonce: Number.MAX_SAFE_INTEGER, balance: `0x${'f'.repeat(32)}` })
      if (path.endsWith('/get-balance'))
        return Response.json({ okay: true, result: `0x0701${'f'.repeat(32)}` })
      return undefined
    }
    const shown = await account(newWallet(service))
    const most = String(2n ** 128n - 1n)
    expect(shown.balances.map(({ amount }) => amount)).toEqual([most, most, most])
  })

  it.each([
    ['no JSON', () => new Response('<html>')],
    ['another form', () => Response.json({ nonce: -1, balance: 5, okay: 'yes', result: [] })],
    ['a value of a megabyte of nothing', () => new Response('[', { status: 200 })],
    ['numbers that are none', () => Response.json({ nonce: 1e300, balance: '0xzz', okay: true })],
  ])('survives a node that says %s', async (_, answer) => {
    say = answer
    const { chain, balances } = await account(newWallet(service))
    expect(chain.isCurrent).toBe(false)
    expect(balances.every(({ amount }) => amount === undefined)).toBe(true)
  })

  it('asks the chain once for callers of a wallet at a time, and for moments after that', async () => {
    say = () => undefined
    const wallet = newWallet(service)
    asked = []
    await Promise.all(Array.from({ length: 20 }, () => account(wallet)))
    const first = asked.filter((path) => path === `/v2/accounts/${wallet.address}`).length
    expect(first).toBe(1)
    await account(wallet)
    service.clock.now += 5_000
    await account(wallet)
    expect(asked.filter((path) => path === `/v2/accounts/${wallet.address}`)).toHaveLength(2)
  })
})

describe('What wallets hold', () => {
  it('is kept of a bounded number of wallets, and a chain that does not answer holds no caller', async () => {
    let asked = 0
    const never = new Promise<never>(() => {})
    const silent = () => {
      asked += 1
      return never
    }
    const read = openHoldings({
      chain: { nonces: silent, account: silent, tokenHolding: silent, tokenFacts: silent },
      tokens: [],
      now: () => 0,
      pause: async () => {},
      sharesPending: true,
    })
    for (let at = 0; at < 200; at++) expect((await read(`wallet ${at}`)).account).toBeUndefined()
    expect(asked).toBe(50)
  })
})
