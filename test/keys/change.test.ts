import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import type { Key } from '../../src/keys/key.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { startService } from '../http/documented.ts'
import { answered, changesNothing, refused } from '../support/assertions.ts'
import { writeMacs } from '../support/remac.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, createOrder, json, newWallet, type Wallet } from '../support/wallet.ts'

const DAY = 86_400_000

describe.each(ENGINES)('The owner of a key on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  const manage = (wallet: Wallet, verb: string, keyId: string, members: object = {}) => {
    const action = verb === 'update' ? 'update_api_key' : `${verb}_api_key`
    return service.call(verb === 'update' ? `/api-keys/${keyId}` : `/api-keys/${keyId}/${verb}`, {
      ...json(wallet.sign({ action, keyId, ...members })),
      method: verb === 'update' ? 'PATCH' : 'POST',
    })
  }
  const remove = (wallet: Wallet, keyId: string) =>
    service.call(`/api-keys/${keyId}`, {
      ...json(wallet.sign({ action: 'delete_api_key', keyId })),
      method: 'DELETE',
    })
  const update = async (wallet: Wallet, keyId: string, members: object) => {
    service.clock.now += 1
    return (await answered<{ apiKey: Key }>(await manage(wallet, 'update', keyId, members))).apiKey
  }
  const use = (apiKey: string) => service.call('/orders', { headers: { 'X-API-Key': apiKey } })
  const reasonOf = async (response: Response) =>
    (await refused(response, 'apiKeyInactive')).details?.reason

  it('changes what is given and nothing else, and lifts a limit with null', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, { keyName: 'one', rateLimit: 50 })
    const limits = {
      tokens: [INPUT_TOKEN],
      maxAmountIn: { [INPUT_TOKEN]: { perOrder: '5' } },
      label: 'prod',
    }
    expect(await update(wallet, keyId, limits)).toMatchObject({
      name: 'one',
      rateLimit: 50,
      ...limits,
    })
    const renamed = await update(wallet, keyId, { keyName: 'two', permissions: ['create'] })
    expect(renamed).toMatchObject({ name: 'two', permissions: ['create'], ...limits })
    const lifted = await update(wallet, keyId, { tokens: null, maxAmountIn: null, rateLimit: null })
    for (const name of ['tokens', 'maxAmountIn']) expect(lifted).not.toHaveProperty(name)
    expect(lifted).toMatchObject({ rateLimit: 100, label: 'prod' })
    await update(wallet, keyId, { ipAllowlist: ['192.0.2.1'] })
    await refused(await use(apiKey), 'ipNotAllowed')
    await update(wallet, keyId, { ipAllowlist: null })
    await answered(await use(apiKey))
  })

  it.each([
    ['nothing', {}],
    ['a member that is none', { colour: 'red' }],
    ['a name that is none', { keyName: null }],
    ['permissions that are none', { permissions: null }],
    ['an end that has passed', { expiresAt: 1 }],
    [
      'an amount of a token named __proto__',
      JSON.parse(`{"maxAmountIn":{"__proto__":{"perDay":"5"},"${INPUT_TOKEN}":{"perDay":"5"}}}`),
    ],
    ['a limit that contradicts another', { tokens: ['.stx'] }],
    ['own orders only, without a way to make one', { ownOrdersOnly: true, permissions: [] }],
  ])('is refused a change to %s', async (_, members) => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet, {
      maxAmountIn: { [INPUT_TOKEN]: { perDay: '5' } },
    })
    await changesNothing(service, async () =>
      refused(await manage(wallet, 'update', keyId, members), 'invalidRequest'),
    )
  })

  it('is held to limits that came after the grant, in what is changed and nothing else', async () => {
    const generous = await startService(engine, { env: { RATE_LIMIT_PER_MINUTE: '1000' } })
    const wallet = newWallet(generous)
    const { keyId } = await createKey(generous, wallet, { rateLimit: 500 })
    generous.world.config.RATE_LIMIT_PER_MINUTE = 100
    const change = (members: object) =>
      generous.call(`/api-keys/${keyId}`, {
        ...json(wallet.sign({ action: 'update_api_key', keyId, ...members })),
        method: 'PATCH',
      })
    for (const rateLimit of [500, 1000])
      await refused(await change({ rateLimit }), 'invalidRequest')
    await answered(await change({ label: 'as it was' }))
    await answered(await change({ rateLimit: 100 }))
    await generous.close()
  })

  it('cannot give a key the name of another live one, but its own', async () => {
    const wallet = newWallet(service)
    await createKey(service, wallet, { keyName: 'taken' })
    const { keyId } = await createKey(service, wallet, { keyName: 'mine' })
    await refused(await manage(wallet, 'update', keyId, { keyName: 'taken' }), 'keyNameTaken')
    expect(await update(wallet, keyId, { keyName: 'mine', label: 'x' })).toMatchObject({
      label: 'x',
    })
  })

  it('suspends a key, and resumes it, as often as asked', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    for (let time = 0; time < 2; time++) {
      service.clock.now += 1
      const { apiKey: shown } = await answered<{ apiKey: Key }>(
        await manage(wallet, 'suspend', keyId),
      )
      expect(shown.status).toBe('suspended')
      await changesNothing(service, async () =>
        expect(await reasonOf(await use(apiKey))).toBe('suspended'),
      )
    }
    for (let time = 0; time < 2; time++) {
      service.clock.now += 1
      const { apiKey: shown } = await answered<{ apiKey: Key }>(
        await manage(wallet, 'resume', keyId),
      )
      expect(shown.status).toBe('active')
      await answered(await use(apiKey))
    }
  })

  it('brings no revoked key back, and extends an expiry only before it', async () => {
    const wallet = newWallet(service)
    const dead = await createKey(service, wallet)
    await answered(await remove(wallet, dead.keyId))
    const expiresAt = service.clock.now + 1_000
    const { apiKey, keyId } = await createKey(service, wallet, { expiresAt })
    await update(wallet, keyId, { expiresAt: expiresAt + 1_000 })
    service.clock.now = expiresAt
    await answered(await use(apiKey))
    service.clock.now = expiresAt + 1_000
    expect(await reasonOf(await use(apiKey))).toBe('expired')
    for (const [key, reason] of [
      [dead.keyId, 'revoked'],
      [keyId, 'expired'],
    ] as const)
      for (const [verb, members] of [
        ['update', { expiresAt: service.clock.now + DAY }],
        ['update', { expiresAt: null }],
        ['suspend', {}],
        ['resume', {}],
        ['rotate', { graceSeconds: 60 }],
      ] as const)
        await changesNothing(service, async () => {
          const { details } = await refused(await manage(wallet, verb, key, members), 'keyNotLive')
          expect(details).toEqual({ reason })
        })
  })

  it('rotates a key: two secrets while the grace lasts, one key, one quota', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const { apiKey: next, previousUntil } = await answered<Record<string, string>>(
      await manage(wallet, 'rotate', keyId, { graceSeconds: 60 }),
    )
    expect(next).toMatch(/^ck_live_[0-9A-Za-z]{49}$/)
    expect(previousUntil).toBe(new Date(service.clock.now + 60_000).toISOString())
    for (const [secret, remaining] of [
      [apiKey, '99'],
      [next ?? '', '98'],
      [apiKey, '97'],
    ] as const) {
      const response = await use(secret)
      expect(response.headers.get('X-RateLimit-Remaining')).toBe(remaining)
      expect(response.headers.get('X-API-Key-Expires')).toBe(
        secret === apiKey ? previousUntil : null,
      )
      await answered(response)
    }
    service.clock.now += 60_000
    await changesNothing(service, async () =>
      expect(await reasonOf(await use(apiKey))).toBe('rotated'),
    )
    await answered(await use(next ?? ''))
  })

  it('ends the secret before the last rotation when its owner says so, and nothing else', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, { label: 'host 7' })
    const end = (members: object) => manage(wallet, 'update', keyId, members)
    const next = await answered<Record<string, string>>(
      await manage(wallet, 'rotate', keyId, { graceSeconds: 60 }),
    )
    for (const previousUntil of [service.clock.now, '2099-01-01T00:00:00Z', 0, ''])
      await changesNothing(service, async () => {
        await refused(await end({ previousUntil }), 'invalidRequest')
      })
    await answered(await use(apiKey))
    const { apiKey: shown } = await answered<{ apiKey: Key }>(await end({ previousUntil: null }))
    expect(shown).toMatchObject({ keyId, label: 'host 7' })
    expect(shown).not.toHaveProperty('previousUntil')
    await refused(await use(apiKey), 'apiKeyInvalid')
    await answered(await use(next.apiKey ?? ''))
    service.clock.now += 1
    await answered(await manage(wallet, 'rotate', keyId, { graceSeconds: 60 }))
    for (let times = 0; times < 2; times++) {
      service.clock.now += 1
      await answered(await end({ previousUntil: null }))
    }
  })

  it('rotates without grace, and never beyond the end of the key', async () => {
    const wallet = newWallet(service)
    const expiresAt = service.clock.now + 10_000
    const { apiKey, keyId } = await createKey(service, wallet, { expiresAt })
    const first = await answered<Record<string, string>>(
      await manage(wallet, 'rotate', keyId, { graceSeconds: 604_800 }),
    )
    expect(first.previousUntil).toBe(new Date(expiresAt).toISOString())
    await answered(await use(apiKey))
    service.clock.now += 1
    const second = await answered<Record<string, string>>(
      await manage(wallet, 'rotate', keyId, { graceSeconds: 0, force: true }),
    )
    for (const secret of [apiKey, first.apiKey ?? ''])
      await refused(await use(secret), 'apiKeyInvalid')
    await answered(await use(second.apiKey ?? ''))
    for (const graceSeconds of [-1, 604_801, 1.5, '60', undefined])
      await refused(await manage(wallet, 'rotate', keyId, { graceSeconds }), 'invalidRequest')
  })

  it('is not rotated again within the grace, as by a repeated call, unless the owner signs force', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const rotate = (members: object) => manage(wallet, 'rotate', keyId, members)
    const { previousUntil } = await answered<Record<string, string>>(
      await rotate({ graceSeconds: 60 }),
    )
    service.clock.now += 59_999
    for (const again of [{ graceSeconds: 3_600 }, { graceSeconds: 0, force: false }])
      await changesNothing(service, async () => {
        const { details } = await refused(await rotate(again), 'rotationInGrace')
        expect(details).toEqual({ previousUntil })
      })
    await answered(await use(apiKey))
    service.clock.now += 1
    await answered(await rotate({ graceSeconds: 60 }))
    service.clock.now += 1
    await refused(await rotate({ graceSeconds: 60 }), 'rotationInGrace')
    await answered(await rotate({ graceSeconds: 60, force: true }))
    await refused(await use(apiKey), 'apiKeyInvalid')
    const faults = await checkAudit(service.world)
    expect(faults.faults.filter((fault) => fault.keyId === keyId)).toEqual([])
  })

  it('has an old secret that no process with a late clock extends', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const now = service.clock.now
    const rotated = await answered<Record<string, string>>(
      await manage(wallet, 'rotate', keyId, { graceSeconds: 60 }),
    )
    await answered(await use(apiKey))
    // As another process set it, whose clock is right: the grace ended, and this process does not know yet.
    await rows(
      service.world.db,
      sql`UPDATE api_keys SET previous_until = clock_timestamp() - interval '1 second' WHERE id = ${keyId}`,
    )
    await writeMacs(service.world.db, service.world.mac, sql`id = ${keyId}`)
    service.clock.now = Date.now() - 3_600_000
    const late = await use(apiKey)
    service.clock.now = now
    expect(await reasonOf(late)).toBe('rotated')
    const next = await answered<Record<string, string>>(
      await manage(wallet, 'rotate', keyId, { graceSeconds: 0 }),
    )
    service.clock.now -= 3_600_000
    const dropped = await use(rotated.apiKey ?? '')
    service.clock.now = now
    await refused(dropped, 'apiKeyInvalid')
    await answered(await use(next.apiKey ?? ''))
  })

  it('is told in every answer of the last 14 days when the key ends', async () => {
    const wallet = newWallet(service)
    const expiresAt = service.clock.now + 14 * DAY + 1
    const { apiKey } = await createKey(service, wallet, { expiresAt })
    expect((await use(apiKey)).headers.get('X-API-Key-Expires')).toBeNull()
    service.clock.now += 1
    expect((await use(apiKey)).headers.get('X-API-Key-Expires')).toBe(
      new Date(expiresAt).toISOString(),
    )
  })

  it('revokes everything at once, with the orders if asked', async () => {
    const wallet = newWallet(service)
    const keys = [await createKey(service, wallet), await createKey(service, wallet)]
    const stranger = await createKey(service, newWallet(service))
    const uuid = await createOrder(service, wallet)
    const all = (cancelOpenOrders: boolean) =>
      service.call(
        '/api-keys/revoke-all',
        json(wallet.sign({ action: 'revoke_all_api_keys', cancelOpenOrders })),
      )
    const { keyIds, cancelledOrders } = await answered<{
      keyIds: string[]
      cancelledOrders: number
    }>(await all(false))
    expect([keyIds.toSorted(), cancelledOrders]).toEqual([keys.map((k) => k.keyId).toSorted(), 0])
    for (const { apiKey } of keys) expect(await reasonOf(await use(apiKey))).toBe('revoked')
    await answered(await use(stranger.apiKey))
    service.clock.now += 1
    expect(await answered(await all(true))).toMatchObject({ keyIds: [], cancelledOrders: 1 })
    const { data } = await answered<{ data: { status: string } }>(
      await service.call(`/orders/${uuid}`),
    )
    expect(data.status).toBe('cancelled')
  })

  it('keeps a certificate offline that revokes a key up to a year later, once', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const signedAt = service.clock.now
    const sign = (members: object) =>
      wallet.sign({ action: 'revoke_api_key', keyId, notAfter: signedAt + 365 * DAY, ...members })
    const certificate = json(sign({}))
    const tooLong = json(sign({ notAfter: signedAt + 367 * DAY }))
    service.clock.now += 365 * DAY
    const send = (body: RequestInit) => service.call(`/api-keys/${keyId}/revoke`, body)
    for (const body of [
      tooLong,
      json(sign({ notAfter: service.clock.now - 1 })),
      json(sign({ timestamp: service.clock.now + 61_000, notAfter: service.clock.now + DAY })),
    ])
      await changesNothing(service, async () => refused(await send(body), 'timestampExpired'))
    await answered(await use(apiKey))
    await answered(await send(certificate))
    expect(await reasonOf(await use(apiKey))).toBe('revoked')
    await refused(await send(certificate), 'messageReplayed')
  })

  it.each([
    9_000_000_000_000_000,
    8_640_000_000_000_001,
    253_402_300_800_000,
    -1,
    0,
    1.5,
    null,
    'soon',
    '2027-01-01T00:00:00',
  ])('has no certificate whose end is not a time: %j', async (notAfter) => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    await refused(await manage(wallet, 'revoke', keyId, { notAfter }), 'invalidRequest')
    await answered(await use(apiKey))
  })

  it('cannot stretch another message to the age of a certificate', async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const timestamp = service.clock.now - 301_000
    const members = { timestamp, notAfter: service.clock.now + DAY }
    await refused(await manage(wallet, 'resume', keyId, members), 'invalidRequest')
    const { notAfter: _, ...old } = members
    await refused(await manage(wallet, 'resume', keyId, old), 'timestampExpired')
  })

  it('is not needed by a key that ends itself, whatever its quota and its address', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet, {
      ipAllowlist: ['192.0.2.1'],
      rateLimit: 10,
    })
    for (let request = 0; request < 11; request++)
      await service.call('/orders', { headers: { 'X-API-Key': apiKey }, ip: '192.0.2.1' })
    const end = (secret: string) =>
      service.call('/api-keys/self', { method: 'DELETE', headers: { 'X-API-Key': secret } })
    expect(await answered(await end(apiKey))).toMatchObject({ status: 'success' })
    await changesNothing(service, async () =>
      expect(await reasonOf(await end(apiKey))).toBe('revoked'),
    )
    const [event] = await rows<{ body: string }>(
      service.world.db,
      sql`SELECT body FROM audit_events WHERE key_id = ${keyId} ORDER BY sequence DESC LIMIT 1`,
    )
    expect(JSON.parse(event?.body ?? '')).toMatchObject({ event: 'delete_api_key', actor: 'key' })
  })

  it('is safe from a secret that was rotated away: it ends nothing', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const next = await answered<Record<string, string>>(
      await manage(wallet, 'rotate', keyId, { graceSeconds: 60 }),
    )
    const end = (secret: string) =>
      service.call('/api-keys/self', { method: 'DELETE', headers: { 'X-API-Key': secret } })
    service.clock.now += 60_000
    expect(await reasonOf(await end(apiKey))).toBe('rotated')
    await answered(await use(next.apiKey ?? ''))
    await answered(await end(next.apiKey ?? ''))
  })

  it('finds no key of another wallet', async () => {
    const { keyId } = await createKey(service, newWallet(service))
    const stranger = newWallet(service)
    for (const [verb, members] of [
      ['update', { keyName: 'mine now' }],
      ['suspend', {}],
      ['resume', {}],
      ['rotate', { graceSeconds: 0 }],
      ['revoke', { notAfter: service.clock.now + DAY }],
    ] as const)
      await changesNothing(service, async () =>
        refused(await manage(stranger, verb, keyId, members), 'keyNotFound'),
      )
  })
})
