import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bodyText, chainHash, FIRST_HASH } from '../../src/audit/event.ts'
import { createClient, privateKeySigner, verifyAudit } from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import type { CreatedKey, Key, RotatedKey } from '../../src/keys/key.ts'
import { hashSecret, type Secret } from '../../src/keys/secret.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { oldSecret, unknownSecret } from '../support/secrets.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet, walletsOfOneShard } from '../support/wallet.ts'

const PREFIX = 'ck_live_'
const newSecret = (wallet: Wallet) => unknownSecret(PREFIX, wallet.address)
let names = 0
const grant = (wallet: Wallet, secret: Secret, members = {}) =>
  wallet.sign({
    action: 'create_api_key',
    keyName: `own ${++names}`,
    permissions: ['execute'],
    keyHash: hashSecret(secret),
    ...members,
  })

describe.each(ENGINES)('A key whose secret its owner made, on %s', (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  }, 240_000)
  afterAll(() => service.close())

  const send = (signed: object, secret?: string) =>
    service.call('/api-keys', json(signed, secret === undefined ? {} : { 'X-API-Key': secret }))
  const created = async (signed: object, secret: string) =>
    answered<CreatedKey>(await send(signed, secret), 201)
  const me = (secret: string) => service.call('/me', { headers: { 'X-API-Key': secret } })
  const keysOf = async (wallet: Wallet) => {
    const headers = wallet.signHeaders({ action: 'list_api_keys' })
    const page = await answered<{ apiKeys: Key[] }>(await service.call('/api-keys', { headers }))
    return page.apiKeys
  }

  it('works with that secret, which the service showed no more than it got it', async () => {
    const wallet = newWallet(service)
    const secret = newSecret(wallet)
    const key = await created(grant(wallet, secret), secret)
    expect(key.apiKey).toBe(secret)
    expect(await answered(await me(secret))).toMatchObject({
      keyId: key.keyId,
      owner: wallet.address,
    })
    const [{ keyPreview } = { keyPreview: '' }] = await keysOf(wallet)
    expect(keyPreview).toBe(`${secret.slice(0, 12)}...${secret.slice(-4)}`)
  })

  it('is made once of a message that is sent again, and is the same key each time', async () => {
    const wallet = newWallet(service)
    const secret = newSecret(wallet)
    const signed = grant(wallet, secret, { label: 'host 7', expiresAt: '2099-01-01T00:00:00Z' })
    const first = await created(signed, secret)
    service.clock.now += 60_000
    expect(await answered(await send(signed, secret), 200)).toEqual(first)
    expect(await keysOf(wallet)).toHaveLength(1)
  })

  it('is given to no party that has the message and not the secret', async () => {
    const wallet = newWallet(service)
    const secret = newSecret(wallet)
    const signed = grant(wallet, secret)
    for (const guess of [undefined, newSecret(wallet), 'ck_live_x', `${secret}x`])
      await refused(await send(signed, guess), 'invalidRequest')
    expect(await keysOf(wallet)).toEqual([])
    await created(signed, secret)
    for (const guess of [undefined, newSecret(wallet)]) {
      const body = JSON.stringify(await refused(await send(signed, guess), 'invalidRequest'))
      expect(body).not.toMatch(/ck_live_\w|key_/)
    }
  })

  it('is a secret of the form that keys have, so that a mistyped one is known as such', async () => {
    const wallet = newWallet(service)
    const secret = newSecret(wallet)
    const mistyped = `${secret.slice(0, -1)}${secret.endsWith('a') ? 'b' : 'a'}` as Secret
    const other = unknownSecret('ck_test_', wallet.address)
    for (const wrong of [mistyped, other, 'hunter2' as Secret])
      await refused(await send(grant(wallet, wrong), wrong), 'invalidRequest')
    expect(await keysOf(wallet)).toEqual([])
  })

  it('is of its wallet: the shard that it names is the one that the wallet has', async () => {
    const [wallet, other] = [newWallet(service), newWallet(service)]
    for (const secret of [newSecret(other), oldSecret(PREFIX)])
      await refused(await send(grant(wallet, secret), secret), 'invalidRequest')
    expect(await keysOf(wallet)).toEqual([])
  })

  it.each([
    'A'.repeat(64),
    'a'.repeat(63),
    '',
    7,
    null,
  ])('is named by a hash: %j is none', async (keyHash) => {
    const wallet = newWallet(service)
    await refused(
      await send(grant(wallet, newSecret(wallet), { keyHash }), newSecret(wallet)),
      'invalidRequest',
    )
  })

  it('is not brought back by its message once it has ended, or has another secret', async () => {
    const wallet = newWallet(service)
    const secret = newSecret(wallet)
    const signed = grant(wallet, secret)
    const { keyId } = await created(signed, secret)
    const rotate = { action: 'rotate_api_key', keyId, graceSeconds: 0 }
    await answered(await service.call(`/api-keys/${keyId}/rotate`, json(wallet.sign(rotate))))
    await refused(await send(signed, secret), 'messageReplayed')
    const second = newSecret(wallet)
    const revoked = grant(wallet, second)
    await created(revoked, second)
    await service.call('/api-keys/self', { method: 'DELETE', headers: { 'X-API-Key': second } })
    await refused(await send(revoked, second), 'messageReplayed')
    await refused(await me(second), 'apiKeyInactive')
  })

  it('is answered for as long as its message is fresh', async () => {
    const wallet = newWallet(service)
    const secret = newSecret(wallet)
    const signed = grant(wallet, secret)
    await created(signed, secret)
    service.clock.now += 301_000
    await refused(await send(signed, secret), 'timestampExpired')
  })

  it('has a secret that no other key has, of whatever wallet, even as one before its last', async () => {
    const [wallet, thief] = walletsOfOneShard(service)
    const secret = newSecret(wallet)
    const { keyId } = await created(grant(wallet, secret), secret)
    for (const owner of [wallet, thief])
      await refused(await send(grant(owner, secret), secret), 'secretInUse')
    const rotate = { action: 'rotate_api_key', keyId, graceSeconds: 3_600 }
    await answered(await service.call(`/api-keys/${keyId}/rotate`, json(wallet.sign(rotate))))
    for (const owner of [wallet, thief])
      await refused(await send(grant(owner, secret), secret), 'secretInUse')
    expect(await answered(await me(secret))).toMatchObject({ keyId, owner: wallet.address })
    expect(await keysOf(thief)).toEqual([])
  })

  it('is not asked for where the service makes the secret, whatever key is sent beside', async () => {
    const wallet = newWallet(service)
    const { apiKey } = await createKey(service, wallet)
    const signed = wallet.sign({ action: 'create_api_key', keyName: 'plain', permissions: [] })
    const key = await created(signed, apiKey)
    expect(key.apiKey).not.toBe(apiKey)
    await refused(await send(signed, key.apiKey), 'messageReplayed')
  })

  it('is proven to have the secret that its owner signed, whatever the service says later', async () => {
    const wallet = newWallet(service)
    service.clock.now = Date.now()
    const client = createClient({
      baseUrl: 'http://localhost',
      signer: privateKeySigner(wallet.privateKey, 'devnet'),
      fetch: (url, init) => service.call(`/${new URL(url).pathname}${new URL(url).search}`, init),
    })
    await client.keys.create({ name: 'proven', permissions: [] })
    const audit = await client.audit.export()
    expect(verifyAudit(audit)).toMatchObject({ ok: true, vouched: [] })
    const events = audit.events.map((event) => {
      const body = JSON.parse(event.body)
      const details = { ...body.details, keyHash: hashSecret(newSecret(wallet)) }
      const text = bodyText({ ...body, details })
      return { ...event, body: text, hash: chainHash(FIRST_HASH, text) }
    })
    expect(verifyAudit({ ...audit, events }).faults).toContainEqual({
      sequence: 1,
      fault: 'has another secret than the signed one',
    })
  })

  const rotate = (
    wallet: Wallet,
    keyId: string,
    secret: Secret,
    { sent = secret, ...members }: { sent?: string; graceSeconds?: number; force?: true } = {},
  ) => {
    const named = { action: 'rotate_api_key', keyId, graceSeconds: 60, keyHash: hashSecret(secret) }
    const signed = wallet.sign({ ...named, ...members })
    return {
      signed,
      send: (secret = sent) =>
        service.call(`/api-keys/${keyId}/rotate`, json(signed, { 'X-API-Key': secret })),
    }
  }

  it('gets the next secret from its owner too, once for a message that is sent again', async () => {
    const wallet = newWallet(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const secret = newSecret(wallet)
    const { send: sendAgain } = rotate(wallet, keyId, secret)
    const first = await answered<RotatedKey>(await sendAgain())
    expect(first.apiKey).toBe(secret)
    service.clock.now += 1_000
    expect(await answered(await sendAgain())).toEqual(first)
    for (const one of [apiKey, secret])
      expect(await answered(await me(one))).toMatchObject({ keyId })
    await refused(await sendAgain(newSecret(wallet)), 'invalidRequest')
    const over = newSecret(wallet)
    await answered(await rotate(wallet, keyId, over, { force: true }).send())
    await refused(await sendAgain(), 'messageReplayed')
    expect(await answered(await me(secret))).toMatchObject({ keyId })
    await refused(await me(apiKey), 'apiKeyInvalid')
  })

  it('gets no secret that leads to a key already, or did before its last rotation', async () => {
    const [wallet, thief] = walletsOfOneShard(service)
    const { apiKey, keyId } = await createKey(service, wallet)
    const { keyId: other } = await createKey(service, thief)
    const taken = apiKey as Secret
    for (const force of [{}, { force: true } as const]) {
      await refused(await rotate(wallet, keyId, taken, force).send(), 'secretInUse')
      await refused(await rotate(thief, other, taken, force).send(), 'secretInUse')
      if (force.force) break
      await answered(await rotate(wallet, keyId, newSecret(wallet)).send())
    }
    expect(await answered(await me(apiKey))).toMatchObject({ keyId, owner: wallet.address })
  })

  it('says that a rotation took effect rather than that its grace lasts', async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const secret = newSecret(wallet)
    await answered(await rotate(wallet, keyId, secret).send())
    await refused(await rotate(wallet, keyId, secret, { graceSeconds: 61 }).send(), 'secretInUse')
    await refused(await rotate(wallet, keyId, newSecret(wallet)).send(), 'rotationInGrace')
  })

  it('is stored as a hash alone', async () => {
    const wallet = newWallet(service)
    const secret = newSecret(wallet)
    await created(grant(wallet, secret), secret)
    const stored = await rows<{ text: string }>(
      service.world.db,
      sql`SELECT to_jsonb(k)::text AS text FROM api_keys k WHERE wallet_address = ${wallet.address}
        UNION ALL SELECT to_jsonb(a)::text FROM signed_actions a WHERE wallet_address = ${wallet.address}
        UNION ALL SELECT to_jsonb(e)::text FROM audit_events e WHERE wallet_address = ${wallet.address}`,
    )
    expect(stored.length).toBeGreaterThanOrEqual(3)
    for (const { text } of stored) expect(text).not.toContain(secret.slice(8, -6))
  })
})
