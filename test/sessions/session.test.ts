import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { endpoints } from '../../src/app.ts'
import { rows } from '../../src/db/database.ts'
import { shardSql } from '../../src/db/shard.ts'
import { startService } from '../http/documented.ts'
import { answered, asksNothing, changesNothing, refused, stored } from '../support/assertions.ts'
import { unknownSecret } from '../support/secrets.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

describe.each(ENGINES)('A session on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  const open = (wallet: Wallet, ttlSeconds: unknown = 60) =>
    service.call('/sessions', json(wallet.sign({ action: 'create_session', ttlSeconds })))
  const opened = async (wallet: Wallet, ttlSeconds = 60) =>
    (await answered<{ session: string }>(await open(wallet, ttlSeconds), 201)).session
  const bearer = (session: string) => ({ headers: { Authorization: `Bearer ${session}` } })
  const list = (session: string) => service.call('/api-keys', bearer(session))
  const end = (session: string) =>
    service.call('/sessions/self', { ...bearer(session), method: 'DELETE' })

  it('is answered once, and stored as a hash', async () => {
    const wallet = newWallet(service)
    const created = await answered(await open(wallet, 3_600), 201)
    expect(created).toEqual({
      status: 'success',
      session: expect.stringMatching(/^cs_[0-9A-Za-z]{49}$/),
      walletAddress: wallet.address,
      expiresAt: new Date(service.clock.now + 3_600_000).toISOString(),
      auditHead: { sequence: 1, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
    })
    const secret = String(created.session).slice(8, -4)
    expect((await stored(service)).join('\n')).not.toContain(secret)
    expect(service.logged.join('\n')).not.toContain(secret)
    for (const ttlSeconds of [0, -1, 3_601, 1.5, '60', null])
      await refused(await open(newWallet(service), ttlSeconds), 'invalidRequest')
  })

  it("reads what is its wallet's, as often as it likes, and nothing of another", async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const uuid = await createOrder(service, wallet)
    const stranger = await createKey(service, newWallet(service))
    const session = await opened(wallet)
    await changesNothing(service, async () => {
      for (let time = 0; time < 3; time++) {
        const { apiKeys } = await answered<{ apiKeys: { keyId: string }[] }>(await list(session))
        expect(apiKeys.map((key) => key.keyId)).toEqual([keyId])
      }
      await answered(await service.call(`/api-keys/${keyId}`, bearer(session)))
      await refused(
        await service.call(`/api-keys/${stranger.keyId}`, bearer(session)),
        'keyNotFound',
      )
      await answered(await service.call('/audit', bearer(session)))
      const { data } = await answered<{ data: { uuid?: string }[] }>(
        await service.call(`/orders?owner=${wallet.address}`, bearer(session)),
      )
      expect(data.map((order) => order.uuid)).toEqual([uuid])
    })
  })

  it('changes nothing, on any route, but its own end', async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const uuid = await createOrder(service, wallet)
    const session = await opened(wallet)
    const changing = endpoints.filter(
      ({ method, path }) => method !== 'get' && path !== '/sessions/self',
    )
    expect(changing.length).toBeGreaterThan(10)
    await changesNothing(service, async () => {
      for (const { method, path } of changing) {
        const target = path.replace('{keyId}', keyId).replace('{uuid}', uuid)
        for (const header of ['Authorization', 'X-API-Key'])
          for (const body of [undefined, JSON.stringify(wallet.order())]) {
            const value = header === 'Authorization' ? `Bearer ${session}` : session
            const init = { method: method.toUpperCase(), headers: { [header]: value } }
            const response = await service.call(target, {
              ...init,
              ...(body !== undefined && { body }),
            })
            expect(response.ok, `${method} ${path}`).toBe(false)
          }
      }
    })
  })

  it('ends when it says, or before that when it is told to', async () => {
    const wallet = newWallet(service)
    const [one, other] = [await opened(wallet, 10), await opened(wallet, 20)]
    await answered(await end(other))
    expect((await refused(await list(other), 'sessionInvalid')).details).toEqual({
      reason: 'ended',
    })
    await refused(await end(other), 'sessionInvalid')
    await answered(await list(one))
    service.clock.now += 10_000
    expect((await refused(await list(one), 'sessionInvalid')).details).toEqual({
      reason: 'expired',
    })
  })

  it('is refused to a wallet that has a hundred of them, until one ends', async () => {
    const wallet = newWallet(service)
    const first = await opened(wallet, 30)
    const asked = Array.from({ length: 120 }, (_, at) => open(wallet, 60 + at))
    const statuses = (await Promise.all(asked)).map(({ status }) => status)
    expect(statuses.filter((status) => status === 201)).toHaveLength(99)
    const { details } = await refused(await open(wallet, 200), 'sessionLimitReached')
    const until = new Date(service.clock.now + 30_000).toISOString()
    expect(details).toEqual({ limit: 100, until })
    await opened(newWallet(service))

    await answered(await end(first))
    await opened(wallet, 59)
    await refused(await open(wallet, 201), 'sessionLimitReached')
    service.clock.now += 59_000
    await opened(wallet)
  })

  it('ends with everything else when its wallet revokes all', async () => {
    const wallet = newWallet(service)
    const session = await opened(wallet)
    const all = json(wallet.sign({ action: 'revoke_all_api_keys', cancelOpenOrders: false }))
    await answered(await service.call('/api-keys/revoke-all', all))
    await refused(await list(session), 'sessionInvalid')
  })

  it('that is mistyped is refused without asking the database', async () => {
    const session = await opened(newWallet(service))
    for (const text of [
      'cs_',
      'cs_x',
      session.slice(0, -1),
      `${session}0`,
      session.toUpperCase().replace('CS_', 'cs_'),
    ])
      await asksNothing(service, async () => refused(await list(text), 'sessionInvalid'))
    await refused(await list(unknownSecret('cs_')), 'sessionInvalid')
  })

  it('that was edited in the database is refused', async () => {
    const victim = newWallet(service)
    for (const change of [
      sql`wallet_address = ${victim.address}, shard = ${shardSql(victim.address)}`,
      sql`expires_at = expires_at + interval '1 day'`,
      sql`mac = sha256(mac)`,
    ]) {
      const wallet = newWallet(service)
      const session = await opened(wallet)
      await answered(await list(session))
      await rows(
        service.world.db,
        sql`UPDATE sessions SET ${change} WHERE wallet_address = ${wallet.address}`,
      )
      await refused(await list(session), 'sessionInvalid')
    }
  })
})
