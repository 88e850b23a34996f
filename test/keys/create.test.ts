import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { startService } from '../http/documented.ts'
import { answered, changesNothing, refused, stored } from '../support/assertions.ts'
import { mostOfEverything } from '../support/most.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

describe.each(ENGINES)('Creating a key on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let names = 0
  beforeAll(async () => {
    service = await startService(engine, { env: { MAX_ACTIVE_KEYS_PER_WALLET: '3' } })
  })
  afterAll(() => service.close())

  const fixture = () => ({
    action: 'create_api_key',
    keyName: `bot ${names++}`,
    permissions: ['create', 'execute', 'cancel'],
  })
  const create = (changed: object, by: Wallet = newWallet(service)) =>
    service.call('/api-keys', json(by.sign({ ...fixture(), ...changed })))
  const revoke = async (keyId: string, by: Wallet) =>
    answered(
      await service.call(`/api-keys/${keyId}`, {
        ...json(by.sign({ action: 'delete_api_key', keyId })),
        method: 'DELETE',
      }),
    )

  it('answers the secret, and what the key may do', async () => {
    wallet = newWallet(service)
    const expiresAt = new Date(service.clock.now + 3_600_000).toISOString()
    const created = await answered(
      await create({ keyName: 'My Trading Bot', expiresAt }, wallet),
      201,
    )
    expect(created).toEqual({
      status: 'success',
      apiKey: expect.stringMatching(/^ck_live_[0-9A-Za-z]{49}$/),
      keyId: expect.stringMatching(/^key_[0-9A-Za-z]+$/),
      name: 'My Trading Bot',
      permissions: ['create', 'execute', 'cancel'],
      rateLimit: 100,
      expiresAt,
      createdAt: new Date(service.clock.now).toISOString(),
      auditHead: { sequence: 1, hash: expect.stringMatching(/^[0-9a-f]{64}$/) },
    })
    const secret = String(created.apiKey)
    expect((await stored(service)).join('\n')).not.toContain(secret.slice(12, -4))
    expect(service.logged.join('\n')).not.toContain(secret.slice(12, -4))
  })

  it.each([
    ['empty', ''],
    ['of 65 characters', 'a'.repeat(65)],
    ['of 65 characters that take two units each', '😀'.repeat(65)],
    ['of white space', ' '],
    ['that begins with white space', ' bot'],
    ['that ends with a no-break space', 'bot\u00a0'],
    ['with NUL', 'bo\u0000t'],
    ['with a line break', 'bo\nt'],
    ['with an escape sequence of a terminal', 'bo\u001b[2Jt'],
    ['with DEL', 'bo\u007ft'],
    ['with a C1 control', 'bo\u0085t'],
    ['with a line separator', 'bo\u2028t'],
    ['that reads from right to left', 'bo\u202et'],
    ['that is a number', 7],
    ['that is null', null],
    ['that is a list', ['bot']],
  ])('refuses a name %s', async (_, keyName) => {
    await changesNothing(service, async () => {
      const { details } = await refused(await create({ keyName }), 'invalidRequest')
      expect(details?.issues).toMatchObject([{ path: 'keyName' }])
    })
  })

  it.each([
    'b',
    'a'.repeat(64),
    '😀'.repeat(64),
    'Bot n° 1 — “Größe” 機械人 👩‍🚀',
    "Robert'); DROP TABLE api_keys;--",
    '{"a":1}',
    '__proto__',
    'null',
    '%00 %s \\u0000 $x',
  ])('takes the name %s', async (keyName) => {
    const by = newWallet(service)
    expect((await answered(await create({ keyName }, by), 201)).name).toBe(keyName)
    const { apiKeys } = await answered<{ apiKeys: { name: string }[] }>(
      await service.call('/api-keys', { headers: by.signHeaders({ action: 'list_api_keys' }) }),
    )
    expect(apiKeys.map(({ name }) => name)).toEqual([keyName])
  })

  it.each([
    ['unknown', ['execute', 'withdraw']],
    ['in another case', ['Execute']],
    ['named twice', ['execute', 'execute']],
    ['with a wildcard', ['*']],
    ['that are text', 'execute'],
    ['that are an object', { execute: true }],
    ['that are null', null],
    ['missing', undefined],
    ['with null among them', ['execute', null]],
    ['named after a prototype', ['constructor']],
  ])('refuses permissions %s', async (_, permissions) => {
    await changesNothing(service, async () =>
      refused(await create({ permissions }), 'invalidRequest'),
    )
  })

  it('takes any subset of the permissions, none too', async () => {
    for (const permissions of [[], ['cancel'], ['execute', 'create']])
      expect((await answered(await create({ permissions }), 201)).permissions).toEqual(permissions)
  })

  it('takes an expiry as ISO 8601 with any zone, or as milliseconds', async () => {
    const at = new Date(service.clock.now + 86_400_000)
    const inTokyo = new Date(at.getTime() + 9 * 3_600_000).toISOString().replace('Z', '+09:00')
    for (const expiresAt of [at.toISOString(), at.getTime(), inTokyo])
      expect((await answered(await create({ expiresAt }), 201)).expiresAt).toBe(at.toISOString())
  })

  it.each([
    ['now', (now: number) => now],
    ['past', (now: number) => now - 1],
    ['in seconds', (now: number) => Math.floor(now / 1000) + 3600],
    ['beyond the year 9999', () => 8_640_000_000_000_000],
    ['beyond all dates', () => Number.MAX_SAFE_INTEGER],
    ['just beyond the year 9999, in a zone', () => '9999-12-31T23:59:59-10:00'],
    ['in the year 0', () => '0000-01-01T00:00:00Z'],
    ['negative', () => -1],
    ['a fraction', (now: number) => now + 0.5],
    ['a day that is none', () => '2099-02-30T00:00:00Z'],
    ['without a zone', () => '2099-01-01T00:00:00'],
    ['a date only', () => '2099-01-01'],
    ['words', () => 'tomorrow'],
    ['null', () => null],
  ])('refuses an expiry that is %s', async (_, expiry) => {
    const expiresAt = expiry(service.clock.now)
    await changesNothing(service, async () =>
      refused(await create({ expiresAt }), 'invalidRequest'),
    )
  })

  it('refuses one key more than a wallet may hold alive, until one is revoked or expires', async () => {
    const by = newWallet(service)
    const first = await createKey(service, by)
    const expiresAt = service.clock.now + 1_000
    await createKey(service, by, { expiresAt })
    await createKey(service, by)
    await changesNothing(service, async () => {
      const { details } = await refused(await create({}, by), 'keyLimitReached')
      expect(details).toEqual({ limit: 3 })
    })
    await createKey(service, newWallet(service))

    await revoke(first.keyId, by)
    await createKey(service, by)
    await refused(await create({}, by), 'keyLimitReached')
    service.clock.now = expiresAt
    await createKey(service, by)
    await refused(await create({}, by), 'keyLimitReached')
  })

  it('refuses a name that a live key of the wallet has, until that is revoked or expires', async () => {
    const by = newWallet(service)
    const { keyId } = await createKey(service, by, { keyName: 'the one' })
    const again = () => create({ keyName: 'the one', timestamp: service.clock.now - names }, by)
    await changesNothing(service, async () => {
      const { details } = await refused(await again(), 'keyNameTaken')
      expect(details).toEqual({ keyName: 'the one' })
    })
    await answered(await create({ keyName: 'the one' }), 201)
    await answered(await create({ keyName: 'The One' }, by), 201)

    await revoke(keyId, by)
    const expiresAt = service.clock.now + 1_000
    await createKey(service, by, { keyName: 'the one', expiresAt })
    await refused(await again(), 'keyNameTaken')
    service.clock.now = expiresAt
    await answered(await again(), 201)
  })

  it('grants the most of everything that a grant may set, in one message', async () => {
    const by = newWallet(service)
    const most = mostOfEverything(by.address, service.clock.now)
    const created = await answered(await create(most, by), 201)
    const { keyName, expiresAt, ...limits } = most
    expect(created).toMatchObject({ name: keyName, ...limits })
    const { apiKeys } = await answered<{ apiKeys: object[] }>(
      await service.call('/api-keys', { headers: by.signHeaders({ action: 'list_api_keys' }) }),
    )
    expect(apiKeys).toMatchObject([{ name: keyName, ...limits }])
    expect(JSON.stringify(apiKeys).length).toBeLessThan(12_000)
    const { keyId } = created
    const change = by.sign({ ...most, action: 'update_api_key', keyId })
    await answered(await service.call(`/api-keys/${keyId}`, { ...json(change), method: 'PATCH' }))
  })

  it('takes the owner from the signature and from nothing else', async () => {
    const [owner, victim] = [newWallet(service), newWallet(service)]
    const proof = owner.sign(fixture())
    await refused(
      await service.call('/api-keys', json({ ...proof, walletAddress: victim.address })),
      'signatureInvalid',
    )
    await refused(
      await service.call('/api-keys', json({ ...proof, owner: victim.address })),
      'invalidRequest',
    )
  })
})
