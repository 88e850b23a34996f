import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { watchKeys } from '../../src/alerts/watch.ts'
import { rows } from '../../src/db/database.ts'
import type { HeartbeatTaken, Key } from '../../src/keys/key.ts'
import type { Secret } from '../../src/keys/secret.ts'
import type { Heartbeat } from '../../src/keys/terms.ts'
import { SILENCE_MARGIN_MS } from '../../src/keys/watches.ts'
import { createOrder as createWith } from '../../src/orders/create.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

const SECOND = 1_000

describe.each(ENGINES)('The heartbeat of a key on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
    service.clock.now = Date.UTC(2031, 4, 6, 12)
  })
  afterAll(() => service.close())

  const grant = (wallet: Wallet, heartbeat?: Heartbeat, members: object = {}) =>
    createKey(service, wallet, { permissions: ['create', 'cancel'], heartbeat, ...members })
  const beat = async (apiKey: string) =>
    answered<HeartbeatTaken & Record<string, unknown>>(
      await service.call('/heartbeat', { method: 'POST', headers: { 'X-API-Key': apiKey } }),
    )
  const place = async (wallet: Wallet, apiKey: string) => {
    const order = wallet.order()
    await answered(await service.call('/orders/new', json(order, { 'X-API-Key': apiKey })), 201)
    return order.uuid
  }
  const admit = async (apiKey: string) => {
    const hash = service.world.hashSecret(apiKey as Secret)
    const decision = await service.world.gate({ hash, ip: '127.0.0.1', scope: 'create' })
    if (!decision.ok) throw new Error(decision.reason)
    return decision.value
  }
  const statusOf = async (...uuids: string[]) => {
    const found = await rows<{ uuid: string; status: string }>(
      service.world.db,
      sql`SELECT uuid, status FROM orders`,
    )
    return uuids.map((uuid) => found.find((one) => one.uuid === uuid)?.status)
  }
  const shown = async (wallet: Wallet, keyId: string) => {
    const headers = wallet.signHeaders({ action: 'get_api_key', keyId })
    const { apiKey } = await answered<{ apiKey: Key }>(
      await service.call(`/api-keys/${keyId}`, { headers }),
    )
    return apiKey
  }
  const act = async (wallet: Wallet, keyId: string, verb: string, members: object = {}) =>
    answered(
      await service.call(`/api-keys/${keyId}${verb === 'update' ? '' : `/${verb}`}`, {
        ...json(wallet.sign({ action: `${verb}_api_key`, keyId, ...members })),
        method: verb === 'update' ? 'PATCH' : 'POST',
      }),
    )
  /** Every pass that there is something for. */
  const pass = async () => {
    for (let done = false; !done; ) done = await watchKeys(service.world)
  }
  const audit = async (keyId: string) => {
    const found = await rows<{ body: string }>(
      service.world.db,
      sql`SELECT body FROM audit_events WHERE key_id = ${keyId} ORDER BY sequence`,
    )
    return found.map(({ body }) => JSON.parse(body))
  }
  /** Silent until a millisecond before it is acted on, and then until it is. */
  const silence = async (seconds: number) => {
    service.clock.now += seconds * SECOND + SILENCE_MARGIN_MS - 1
    await pass()
    return async () => {
      service.clock.now += 1
      await pass()
    }
  }

  describe('in its grant', () => {
    const signed = (members: object) =>
      service.call(
        '/api-keys',
        json(
          newWallet(service).sign({
            action: 'create_api_key',
            keyName: 'bot',
            permissions: ['create'],
            ...members,
          }),
        ),
      )

    it.each<[Heartbeat]>([
      [{ seconds: 10, then: 'cancel' }],
      [{ seconds: 2_592_000, then: 'suspend' }],
    ])('is shown as it was signed: %o', async (heartbeat) => {
      const wallet = newWallet(service)
      const { apiKey, keyId } = await grant(wallet, heartbeat)
      expect((await shown(wallet, keyId)).heartbeat).toEqual(heartbeat)
      const me = await answered(await service.call('/me', { headers: { 'X-API-Key': apiKey } }))
      expect(me).toMatchObject({ heartbeat, limits: {} })
    })

    it.each([
      ['nine seconds', { seconds: 9, then: 'cancel' }],
      ['a second more than 30 days', { seconds: 2_592_001, then: 'cancel' }],
      ['a fraction', { seconds: 10.5, then: 'cancel' }],
      ['a text', { seconds: '10', then: 'cancel' }],
      ['another effect', { seconds: 10, then: 'revoke' }],
      ['no effect', { seconds: 10 }],
      ['a member too many', { seconds: 10, then: 'cancel', and: 'suspend' }],
      ['nothing', {}],
      ['a list', [10, 'cancel']],
    ])('is refused with %s', async (_, heartbeat) => {
      const { details } = await refused(await signed({ heartbeat }), 'invalidRequest')
      expect(JSON.stringify(details)).toContain('heartbeat')
    })

    it('is refused where it cancels and the key could never own an order', async () => {
      const cancels = { seconds: 60, then: 'cancel' }
      const { details } = await refused(
        await signed({ permissions: ['execute'], heartbeat: cancels }),
        'invalidRequest',
      )
      expect(details).toMatchObject({ issues: [{ path: 'heartbeat.then' }] })
      await answered(
        await signed({ permissions: ['execute'], heartbeat: { ...cancels, then: 'suspend' } }),
        201,
      )
    })
  })

  it('cancels the open orders that were created with the key, at its time and no millisecond before', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet, { seconds: 60, then: 'cancel' })
    const other = await grant(wallet)
    const [own, foreign, signed] = [
      await place(wallet, apiKey),
      await place(wallet, other.apiKey),
      await createOrder(service, wallet),
    ]
    const { deadline } = await beat(apiKey)
    expect(Date.parse(String(deadline))).toBe(service.clock.now + 60 * SECOND)
    const since = service.clock.now
    const end = await silence(60)
    expect(await statusOf(own, foreign, signed)).toEqual(['open', 'open', 'open'])
    await end()
    expect(await statusOf(own, foreign, signed)).toEqual(['cancelled', 'open', 'open'])
    expect((await audit(keyId)).at(-1)).toMatchObject({
      event: 'cancel_open_orders',
      actor: 'service',
      details: { reason: 'heartbeat', seconds: 60, silentSince: since, orders: 1 },
    })
    const [event] = await rows<{ details: unknown }>(
      service.world.db,
      sql`SELECT details FROM order_events WHERE order_uuid = ${own} AND status = 'cancelled'`,
    )
    expect(event?.details).toEqual({ reason: 'heartbeat' })
    expect((await shown(wallet, keyId)).status).toBe('active')
    const told = await rows<{ type: string; data: object }>(
      service.world.db,
      sql`SELECT type, data FROM notices WHERE key_id = ${keyId} AND type = 'key.silent'`,
    )
    expect(told).toMatchObject([{ data: { action: 'cancel', orders: 1, silentSince: since } }])
  })

  it('is put off by every request that is counted, also a refused one, and by none that is not', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await grant(
      wallet,
      { seconds: 10, then: 'cancel' },
      { ipAllowlist: ['127.0.0.1'] },
    )
    const uuid = await place(wallet, apiKey)
    const calls = [
      () => service.call('/heartbeat', { method: 'POST', headers: { 'X-API-Key': apiKey } }),
      () => service.call('/orders', { headers: { 'X-API-Key': apiKey } }),
      () =>
        service.call('/orders/none/execute', { method: 'POST', headers: { 'X-API-Key': apiKey } }),
    ]
    for (const call of calls) {
      await silence(10)
      await call()
      expect(await statusOf(uuid)).toEqual(['open'])
    }
    service.clock.now += 10 * SECOND + SILENCE_MARGIN_MS
    await refused(
      await service.call('/heartbeat', {
        method: 'POST',
        headers: { 'X-API-Key': apiKey },
        ip: '198.51.100.7',
      }),
      'ipNotAllowed',
    )
    await pass()
    expect(await statusOf(uuid)).toEqual(['cancelled'])
  })

  it('suspends the key, at once everywhere, until its owner resumes it; the owner can prove why', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet, { seconds: 30, then: 'suspend' })
    const uuid = await place(wallet, apiKey)
    const end = await silence(30)
    expect((await shown(wallet, keyId)).status).toBe('active')
    await end()
    const key = await shown(wallet, keyId)
    expect(key).toMatchObject({ status: 'suspended', suspendedBy: 'heartbeat' })
    expect(key.suspendedAt).toBe(new Date(service.clock.now).toISOString())
    expect(await statusOf(uuid)).toEqual(['open'])
    const { details } = await refused(
      await service.call('/heartbeat', { method: 'POST', headers: { 'X-API-Key': apiKey } }),
      'apiKeyInactive',
    )
    expect(details).toEqual({ reason: 'suspended' })
    expect((await checkAudit(service.world)).faults).toEqual([])
    await act(wallet, keyId, 'resume')
    expect((await shown(wallet, keyId)).suspendedBy).toBeUndefined()
    await beat(apiKey)
    expect((await checkAudit(service.world)).faults).toEqual([])
  })

  it('counts a silence from the resumption of the key at the earliest', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet, { seconds: 30, then: 'suspend' })
    await beat(apiKey)
    await (await silence(30))()
    service.clock.now += 3_600 * SECOND
    await act(wallet, keyId, 'resume')
    const end = await silence(30)
    expect((await shown(wallet, keyId)).status).toBe('active')
    await end()
    expect((await shown(wallet, keyId)).status).toBe('suspended')
  })

  it('begins with the first request: a key that was never used is not silent', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet, { seconds: 10, then: 'suspend' })
    for (let day = 0; day < 3; day++) {
      service.clock.now += 86_400 * SECOND
      await pass()
    }
    expect((await shown(wallet, keyId)).status).toBe('active')
    await beat(apiKey)
    await (await silence(10))()
    expect((await shown(wallet, keyId)).status).toBe('suspended')
  })

  it('begins with its change, of a key that was used before', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet)
    const uuid = await place(wallet, apiKey)
    service.clock.now += 3_600 * SECOND
    await act(wallet, keyId, 'update', { heartbeat: { seconds: 20, then: 'cancel' } })
    const end = await silence(20)
    expect(await statusOf(uuid)).toEqual(['open'])
    await end()
    expect(await statusOf(uuid)).toEqual(['cancelled'])
  })

  it('is lifted by null, and a change of something else does not put it off', async () => {
    const wallet = newWallet(service)
    const [kept, lifted] = [
      await grant(wallet, { seconds: 20, then: 'cancel' }),
      await grant(wallet, { seconds: 20, then: 'cancel' }),
    ]
    const uuids = [await place(wallet, kept.apiKey), await place(wallet, lifted.apiKey)]
    service.clock.now += 10 * SECOND
    await act(wallet, kept.keyId, 'update', { label: 'changed' })
    await act(wallet, lifted.keyId, 'update', { heartbeat: null })
    service.clock.now += 10 * SECOND + SILENCE_MARGIN_MS
    await pass()
    expect(await statusOf(...uuids)).toEqual(['cancelled', 'open'])
    const left = await rows<{ keyId: string }>(
      service.world.db,
      sql`SELECT key_id AS "keyId" FROM key_watches WHERE key_id IN (${kept.keyId}, ${lifted.keyId})`,
    )
    expect(left).toEqual([{ keyId: kept.keyId }])
  })

  it('acts once for each silence, and for an order that a slow request stores later', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet, { seconds: 10, then: 'cancel' })
    const first = await place(wallet, apiKey)
    const admitted = await admit(apiKey)
    await (await silence(10))()
    for (let time = 0; time < 5; time++) await (await silence(10))()
    const cancellations = async () =>
      (await audit(keyId)).filter(({ event }) => event === 'cancel_open_orders').length
    expect(await cancellations()).toBe(1)
    // As a process that stood still between the gate and its insert would store it.
    const order = wallet.order()
    const late = order.uuid
    expect((await createWith(service.world, order, { key: admitted }, service.clock.now)).ok).toBe(
      true,
    )
    await (await silence(10))()
    expect(await statusOf(first, late)).toEqual(['cancelled', 'cancelled'])
    expect(await cancellations()).toBe(2)
    const next = await place(wallet, apiKey)
    await (await silence(10))()
    expect(await statusOf(next)).toEqual(['cancelled'])
    expect(await cancellations()).toBe(3)
  })

  it.each([
    'suspend',
    'revoke',
  ] as const)('cancels also what a key leaves that its owner did %s: it can send no sign of life', async (verb) => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet, { seconds: 10, then: 'cancel' })
    const uuid = await place(wallet, apiKey)
    if (verb === 'suspend') await act(wallet, keyId, 'suspend')
    else
      await answered(
        await service.call('/api-keys/self', {
          method: 'DELETE',
          headers: { 'X-API-Key': apiKey },
        }),
      )
    await (await silence(10))()
    expect(await statusOf(uuid)).toEqual(['cancelled'])
  })

  it('does nothing to a key that its owner suspended already, nor to one that has ended', async () => {
    const wallet = newWallet(service)
    const [paused, ended] = [
      await grant(wallet, { seconds: 10, then: 'suspend' }),
      await grant(wallet, { seconds: 10, then: 'suspend' }),
    ]
    for (const { apiKey } of [paused, ended]) await beat(apiKey)
    await act(wallet, paused.keyId, 'suspend')
    await answered(
      await service.call('/api-keys/self', {
        method: 'DELETE',
        headers: { 'X-API-Key': ended.apiKey },
      }),
    )
    await (await silence(10))()
    expect(await shown(wallet, paused.keyId)).toMatchObject({ suspendedBy: 'owner' })
    expect((await shown(wallet, ended.keyId)).status).toBe('revoked')
    expect((await audit(ended.keyId)).map(({ event }) => event)).not.toContain('suspend_api_key')
    expect((await checkAudit(service.world)).faults).toEqual([])
  })

  it('acts when the service comes back that was away for longer: an outage is a silence', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await grant(wallet, { seconds: 10, then: 'cancel' })
    const uuid = await place(wallet, apiKey)
    // No process looks meanwhile.
    service.clock.now += 86_400 * SECOND
    await pass()
    expect(await statusOf(uuid)).toEqual(['cancelled'])
  })

  it('does not act on a key whose row was edited', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await grant(wallet, { seconds: 3_600, then: 'cancel' })
    const uuid = await place(wallet, apiKey)
    await rows(
      service.world.db,
      sql`UPDATE api_keys SET heartbeat = '{"seconds": 10, "then": "cancel"}' WHERE id = ${keyId}`,
    )
    await rows(
      service.world.db,
      sql`UPDATE key_watches SET due_at = now() - interval '1 day' WHERE key_id = ${keyId}`,
    )
    await (await silence(10))()
    expect(await statusOf(uuid)).toEqual(['open'])
    expect(service.logged.join()).toContain('api_key_tampered')
    await rows(
      service.world.db,
      sql`UPDATE api_keys SET heartbeat = '{"seconds": 3600, "then": "cancel"}' WHERE id = ${keyId}`,
    )
  })

  it('leaves nothing to be looked at where no key has one', async () => {
    const wallet = newWallet(service)
    const before = await rows(service.world.db, sql`SELECT FROM key_watches`)
    await createKey(service, wallet)
    expect(await rows(service.world.db, sql`SELECT FROM key_watches`)).toHaveLength(before.length)
  })

  it('is answered also for a key that has none: nothing would happen', async () => {
    const { apiKey, keyId } = await createKey(service, newWallet(service))
    expect(await beat(apiKey)).toEqual({
      status: 'success',
      keyId,
      heartbeat: null,
      deadline: null,
    })
  })
})
