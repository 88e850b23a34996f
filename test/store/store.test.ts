import { afterAll, afterEach, beforeAll, describe, expect, it } from 'vitest'
import {
  createClient,
  type Fetch,
  type Key,
  LatchkeyError,
  type Order,
  privateKeySigner,
  type ServiceInfo,
  type Signer,
} from '../../src/client/index.ts'
import {
  createWalletStore,
  type Loadable,
  type Store,
  type WalletStore,
} from '../../src/store/index.ts'
import { type Service, startService } from '../support/server.ts'

let service: Service
let info: ServiceInfo
beforeAll(async () => {
  service = await startService()
  info = await createClient({ baseUrl: service.url }).info()
}, 60_000)
afterAll(() => service?.stop())

const stops: (() => void)[] = []
afterEach(() => {
  for (const stop of stops.splice(0)) stop()
})

/** A store whose requests are counted on their way to the service. */
function open(options: { sessionSeconds?: number } = {}) {
  const paths: string[] = []
  const fetch: Fetch = (url, init) => {
    paths.push(`${init.method ?? 'GET'} ${new URL(url).pathname.replace('/api/v1', '')}`)
    return globalThis.fetch(url, init)
  }
  const store = createWalletStore({ baseUrl: service.url, fetch, ...options })
  stops.push(() => void store.disconnect())
  const count = (path: string) => paths.filter((one) => one === path).length
  return { store, paths, count }
}

async function newWallet() {
  const privateKey = `${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}01`
  const signer = privateKeySigner(privateKey, 'devnet')
  const client = createClient({ baseUrl: service.url, signer })
  await client.devnet.faucet(signer.address)
  return { signer, client }
}

const order = () => ({
  inputToken: info.devnet?.inputToken ?? '',
  outputToken: info.devnet?.outputToken ?? '',
  amountIn: '1000000',
})

/** Resolves with the first value that fits. */
function when<T>(store: Store<T>, fits: (value: T) => boolean): Promise<T> {
  return new Promise((resolve) => {
    const look = () => {
      if (!fits(store.get())) return
      stop()
      resolve(store.get())
    }
    const stop = store.subscribe(look)
    stops.push(stop)
    look()
  })
}

const names = (keys: Key[] | undefined) => keys?.map(({ name }) => name)
const isConnected = ({ wallet }: WalletStore) => wallet.get().status === 'connected'

/** Everything that a store was, in order. */
function history<T>(store: Store<T>): T[] {
  const seen: T[] = []
  stops.push(store.subscribe(() => seen.push(store.get())))
  return seen
}

describe('The store of a page', () => {
  it('requests nothing before it is used, and nothing for a wallet that it does not have', async () => {
    const { store, paths } = open()
    stops.push(store.keys.subscribe(() => {}))
    expect(store.wallet.get().status).toBe('disconnected')
    expect(store.keys.get()).toEqual({ value: undefined, error: undefined, isLoading: false })
    await expect(store.change((owner) => owner.keys.list())).rejects.toMatchObject({
      code: 'SIGNER_MISSING',
    })
    expect(paths).toEqual([])
  })

  it('shows the keys of the wallet, and those that others create, by one stream for all its followers', async () => {
    const { store, count } = open()
    const { signer, client } = await newWallet()
    await client.keys.create({ name: 'before', permissions: [] })
    for (let follower = 0; follower < 5; follower++) stops.push(store.keys.subscribe(() => {}))
    await store.connect(signer)
    await when(store.keys, ({ value }) => value?.length === 1)
    await client.keys.create({ name: 'by another tab', permissions: [] })
    const { value } = await when(store.keys, ({ value }) => value?.length === 2)
    expect(names(value)).toEqual(['by another tab', 'before'])
    expect(count('GET /events')).toBe(1)
  })

  it('loads anew after its own change, whether it was made or refused', async () => {
    const { store, count } = open()
    const { signer } = await newWallet()
    await store.connect(signer)
    stops.push(store.keys.subscribe(() => {}))
    await when(store.keys, ({ value }) => value !== undefined)
    const key = { name: 'mine', permissions: ['execute'] as const }
    const { keyId } = await store.change((owner) => owner.keys.create(key))
    await when(store.keys, ({ value }) => value?.[0]?.status === 'active')
    const before = count('GET /api-keys')
    await expect(store.change((owner) => owner.keys.create(key))).rejects.toMatchObject({
      code: 'DUPLICATE_KEY_NAME',
    })
    expect(count('GET /api-keys')).toBeGreaterThan(before)
    await store.change((owner) => owner.keys.delete(keyId))
    await when(store.keys, ({ value }) => value?.[0]?.status === 'revoked')
  })

  it('keeps the identity of what did not change', async () => {
    const { store } = open()
    const { signer, client } = await newWallet()
    await client.keys.create({ name: 'one', permissions: [] })
    await store.connect(signer)
    const { value } = await when(store.keys, ({ value }) => value !== undefined)
    const seen = history(store.keys)
    await client.orders.create(order()) // The stream reports it: the keys are loaded, and are the same.
    await when(
      store.load((reader) => reader.orders.list(), { isLive: true }),
      ({ value }) => (value?.orders.length ?? 0) > 0,
    )
    expect(store.keys.get().value).toBe(value)
    expect(seen.filter((one) => one.value !== value)).toEqual([])
  })

  it('never shows the keys of one wallet beside the address of another', async () => {
    const { store } = open()
    const [one, other] = [await newWallet(), await newWallet()]
    await one.client.keys.create({ name: 'of one', permissions: [] })
    await other.client.keys.create({ name: 'of the other', permissions: [] })
    const wrong: unknown[] = []
    const look = () => {
      const { address } = store.wallet.get()
      const shown = names(store.keys.get().value)?.[0]
      const expected = address === one.signer.address ? 'of one' : 'of the other'
      if (shown !== undefined && shown !== expected) wrong.push([address, shown])
    }
    const stopKeys = store.keys.subscribe(look)
    stops.push(store.wallet.subscribe(look))
    await store.connect(one.signer)
    await when(store.keys, ({ value }) => value !== undefined)
    await store.connect(other.signer)
    await when(store.keys, ({ value }) => names(value)?.[0] === 'of the other')
    stopKeys()
    await store.connect(one.signer) // What nothing follows is forgotten, too.
    expect(store.keys.get().value).toBeUndefined()
    await when(store.keys, ({ value }) => names(value)?.[0] === 'of one')
    stops.push(store.keys.subscribe(look))
    await store.connect(other.signer)
    await when(store.keys, ({ value }) => names(value)?.[0] === 'of the other')
    await store.disconnect()
    expect(store.keys.get().value).toBeUndefined()
    expect(wrong).toEqual([])
  })

  it('stays as it was when the wallet does not sign, and says why', async () => {
    const { store } = open()
    const { signer } = await newWallet()
    const refusing: Signer = {
      ...signer,
      interactive: true,
      signMessage: () => Promise.reject(new LatchkeyError('SIGNING_FAILED', 'No')),
    }
    const seen = history(store.wallet)
    await expect(store.connect(refusing)).rejects.toMatchObject({ code: 'SIGNING_FAILED' })
    expect(seen.map(({ status }) => status)).toEqual(['connecting', 'disconnected'])
    expect(store.wallet.get().error).toMatchObject({ code: 'SIGNING_FAILED' })
    await store.connect(signer)
    expect(store.wallet.get()).toMatchObject({ status: 'connected', error: undefined })
    await expect(store.connect(refusing)).rejects.toThrow()
    expect(store.wallet.get()).toMatchObject({ status: 'connected', address: signer.address })
  })

  it('is not connected by a signature that comes after a disconnect, and ends the session of it', async () => {
    const { store, count } = open()
    const { signer } = await newWallet()
    let sign = () => {}
    const late: Signer = {
      ...signer,
      signMessage: async (message, network) => {
        await new Promise<void>((resolve) => {
          sign = resolve
          resolveAsked()
        })
        return signer.signMessage(message, network)
      },
    }
    let resolveAsked = () => {}
    const isAsked = new Promise<void>((resolve) => {
      resolveAsked = resolve
    })
    const connecting = store.connect(late)
    await isAsked
    await store.disconnect()
    sign()
    await expect(connecting).rejects.toMatchObject({ name: 'AbortError' })
    expect(store.wallet.get().status).toBe('disconnected')
    expect(count('DELETE /sessions/self')).toBe(1)
  })

  it('keeps what it shows when the session ends, says so, and goes on with another', async () => {
    const { store } = open()
    const { signer, client } = await newWallet()
    await client.keys.create({ name: 'kept', permissions: [] })
    await store.connect(signer)
    await when(store.keys, ({ value }) => value !== undefined)
    stops.push(store.keys.subscribe(() => {}))
    await store.change((owner) => owner.keys.revokeAll(false)) // Ends all sessions of the wallet.
    await when(store.wallet, ({ status }) => status === 'ended')
    expect(names(store.keys.get().value)).toEqual(['kept'])
    await store.connect(signer)
    await when(store.keys, ({ value }) => value?.[0]?.status === 'revoked')
    expect(isConnected(store)).toBe(true)
  })

  it('says that a session is over at its end, without a request', async () => {
    const { store } = open({ sessionSeconds: 1 })
    const { signer } = await newWallet()
    await store.connect(signer)
    await when(store.wallet, ({ status }) => status === 'ended')
  })

  it('follows an order to its end: by the stream of its wallet', async () => {
    const { store, count, paths } = open()
    const { signer, client } = await newWallet()
    const { uuid = '' } = await client.orders.create(order())
    await store.connect(signer)
    await follows(store.order(uuid), () => client.orders.execute(uuid))
    expect(count('GET /events')).toBe(1)
    expect(paths.filter((path) => path.endsWith(`${uuid}/events`))).toEqual([])
  })

  it.each([
    'without a wallet',
    'of another wallet',
  ])('follows an order to its end: by a stream of its own, %s', async (whose) => {
    const { store, paths } = open()
    const { client } = await newWallet()
    if (whose === 'of another wallet') await store.connect((await newWallet()).signer)
    const { uuid = '' } = await client.orders.create(order())
    await follows(store.order(uuid), () => client.orders.execute(uuid))
    expect(paths).toContain(`GET /orders/${uuid}/events`)
  })

  async function follows(followed: Loadable<Order>, execute: () => Promise<unknown>) {
    const seen = history(followed)
    await when(followed, ({ value }) => value?.status === 'open')
    await execute()
    await when(followed, ({ value }) => value?.status === 'confirmed')
    const statuses = new Set(seen.map(({ value }) => value?.status))
    expect([...statuses].filter((one) => one === 'open' || one === 'confirmed')).toEqual([
      'open',
      'confirmed',
    ])
  }

  it('requests nothing more once nothing is followed', async () => {
    const { store, paths } = open()
    const { signer, client } = await newWallet()
    await store.connect(signer)
    const stop = store.keys.subscribe(() => {})
    await when(store.keys, ({ value }) => value !== undefined)
    stop()
    for (const end of stops.splice(1)) end() // But not the store itself.
    const before = paths.length
    await client.keys.create({ name: 'unseen', permissions: [] })
    await when(
      createFollower(await client.sessions.open(60)),
      ({ value }) => names(value)?.[0] === 'unseen',
    )
    expect(paths.length).toBe(before)
  })

  /** Another page, which has seen what the first could have seen. */
  function createFollower({ session }: { session: string }): Loadable<Key[]> {
    const reader = createClient({ baseUrl: service.url, session })
    const other = createWalletStore({ baseUrl: service.url })
    return other.load(() => reader.keys.list())
  }
})
