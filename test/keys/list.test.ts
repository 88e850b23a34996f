import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { createClient, privateKeySigner } from '../../src/client/index.ts'
import type { Key } from '../../src/keys/key.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

interface Page {
  apiKeys: Key[]
  nextCursor?: string
}

describe.each(ENGINES)('The keys of a wallet on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    const env = { MAX_ACTIVE_KEYS_PER_WALLET: '200', MAX_KEYS_PER_WALLET: '200' }
    service = await startService(engine, { env })
  })
  afterAll(() => service.close())

  const ask = (wallet: Wallet, query = '') =>
    service.call(`/api-keys${query}`, { headers: wallet.signHeaders({ action: 'list_api_keys' }) })
  const list = async (wallet: Wallet, query = '') => answered<Page>(await ask(wallet, query))
  const make = async (wallet: Wallet, count: number) => {
    const made: string[] = []
    for (let key = 0; key < count; key++) made.unshift((await createKey(service, wallet)).keyId)
    return made
  }
  const remove = (wallet: Wallet, keyId: string) =>
    service.call(`/api-keys/${keyId}`, {
      ...json(wallet.sign({ action: 'delete_api_key', keyId })),
      method: 'DELETE',
    })
  const idsOf = ({ apiKeys }: Page) => apiKeys.map(({ keyId }) => keyId)

  it('come in pages without a gap or a repetition, while keys are made and end', async () => {
    const wallet = newWallet(service)
    const made = await make(wallet, 7)
    const found: string[] = []
    let cursor: string | undefined
    do {
      const page = await list(wallet, `?limit=3${cursor === undefined ? '' : `&cursor=${cursor}`}`)
      found.push(...idsOf(page))
      cursor = page.nextCursor
      if (cursor !== undefined) await remove(wallet, cursor)
      await createKey(service, wallet)
    } while (cursor !== undefined)
    expect(found).toEqual(made)
  })

  it('are a hundred a page at most', async () => {
    const wallet = newWallet(service)
    const made = await make(wallet, 101)
    const page = await list(wallet)
    expect([page.apiKeys.length, page.nextCursor]).toEqual([100, made[99]])
    expect(await list(wallet, `?cursor=${made[99]}`)).toEqual({
      status: 'success',
      apiKeys: [expect.objectContaining({ keyId: made[100] })],
    })
    for (const query of ['?limit=0', '?limit=101', '?live=1', '?cursor=', '?cursor=1', '?more=1'])
      await refused(await ask(wallet, query), 'invalidRequest')
  })

  it('are live or ended ones, as is asked', async () => {
    const wallet = newWallet(service)
    const [third = '', second = '', first = ''] = await make(wallet, 3)
    const expiresAt = service.clock.now + 1_000
    const { keyId: fourth } = await createKey(service, wallet, { expiresAt })
    await answered(await remove(wallet, second))
    const suspend = wallet.sign({ action: 'suspend_api_key', keyId: first })
    await answered(await service.call(`/api-keys/${first}/suspend`, json(suspend)))
    expect(idsOf(await list(wallet, '?live=true'))).toEqual([fourth, third, first])
    expect(idsOf(await list(wallet, '?live=false'))).toEqual([second])
    service.clock.now = expiresAt
    expect(idsOf(await list(wallet, '?live=true&limit=1'))).toEqual([third])
    expect(idsOf(await list(wallet, '?live=false'))).toEqual([fourth, second])
  })

  it('have no page behind a key that is not among them', async () => {
    const [strangers = ''] = await make(newWallet(service), 1)
    for (const cursor of [strangers, 'key_none']) {
      const { details } = await refused(
        await ask(newWallet(service), `?cursor=${cursor}`),
        'invalidRequest',
      )
      expect(details?.issues).toEqual([{ path: 'cursor', message: expect.any(String) }])
    }
  })

  it('are all listed by the SDK, page after page', async () => {
    const wallet = newWallet(service)
    const made = await make(wallet, 5)
    const paths: string[] = []
    const client = createClient({
      baseUrl: 'http://localhost',
      signer: privateKeySigner(wallet.privateKey, 'devnet'),
      fetch: (url, init) => {
        const { pathname, search } = new URL(String(url))
        if (pathname.endsWith('/api-keys')) paths.push(search)
        return service.call(`/${pathname}${search}`, init as RequestInit)
      },
    })
    service.clock.now = Date.now()
    expect((await client.keys.list({ limit: 2 })).map(({ keyId }) => keyId)).toEqual(made)
    expect(paths).toEqual(['?limit=2', `?limit=2&cursor=${made[1]}`, `?limit=2&cursor=${made[3]}`])
    const first: string[] = []
    for await (const { keyId } of client.keys.listAll({ live: true, limit: 2 })) {
      first.push(keyId)
      if (first.length === 2) break
    }
    expect([first, paths.length]).toEqual([made.slice(0, 2), 4])
  })

  it('are no more than a wallet may ever make, whatever has ended', async () => {
    const small = await startService(engine, {
      env: { MAX_ACTIVE_KEYS_PER_WALLET: '2', MAX_KEYS_PER_WALLET: '4' },
    })
    try {
      const wallet = newWallet(small)
      const grant = (keyName: string) =>
        small.call(
          '/api-keys',
          json(wallet.sign({ action: 'create_api_key', keyName, permissions: [] })),
        )
      for (let made = 0; made < 4; made++) {
        const { keyId } = await answered<{ keyId: string }>(await grant(`bot ${made}`), 201)
        const action = { action: 'delete_api_key', keyId }
        if (made < 3)
          await answered(
            await small.call(`/api-keys/${keyId}`, {
              ...json(wallet.sign(action)),
              method: 'DELETE',
            }),
          )
      }
      const refusals = await Promise.all(Array.from({ length: 20 }, (_, at) => grant(`late ${at}`)))
      for (const response of refusals)
        expect((await refused(response, 'keyHistoryFull')).details).toEqual({ limit: 4 })
      await createKey(small, newWallet(small))
    } finally {
      await small.close()
    }
  })
})
