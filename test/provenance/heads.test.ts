import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import {
  type AuditExport,
  type AuditHead,
  type Client,
  type ClientOptions,
  createClient,
  type Key,
  privateKeySigner,
  verifyAudit,
} from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { json, newWallet, type Wallet } from '../support/wallet.ts'
import { asOwner, editedBody, rewriteChain, type StoredEvent } from './rewrite.ts'

interface Owner {
  wallet: Wallet
  client: Client
}

describe.each(ENGINES)("A wallet's heads and its audit on %s", (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  function clientOf(wallet: Wallet, options: Partial<ClientOptions> = {}): Client {
    return createClient({
      baseUrl: 'http://127.0.0.1:1',
      signer: privateKeySigner(wallet.privateKey, 'devnet'),
      fetch: (url, init) => service.call(new URL(url).href.split('/api/v1')[1] ?? '', init),
      clock: {
        now: () => {
          service.clock.now += 1
          return service.clock.now
        },
        wait: async () => {},
      },
      ...options,
    })
  }
  function newOwner(): Owner {
    const wallet = newWallet(service)
    return { wallet, client: clientOf(wallet) }
  }
  const verify = (audit: AuditExport, options = {}) =>
    verifyAudit(audit, { now: service.clock.now, ...options }).faults.map(({ fault }) => fault)
  const check = async ({ wallet }: Owner) => {
    const { faults } = await checkAudit(service.world)
    return faults
      .filter(({ walletAddress }) => walletAddress === wallet.address)
      .map(({ fault }) => fault)
  }
  const rewrite = ({ wallet }: Owner, change: (events: StoredEvent[]) => StoredEvent[]) =>
    rewriteChain(service.world.db, wallet.address, change)
  const rowOf = async (keyId: string) =>
    (
      await rows<{ row: string }>(
        service.world.db,
        sql`SELECT to_jsonb(api_keys)::text AS row FROM api_keys WHERE id = ${keyId}`,
      )
    )[0]?.row ?? ''
  const putBack = async (keyId: string, row: string) => {
    await rows(service.world.db, sql`DELETE FROM api_keys WHERE id = ${keyId}`)
    await rows(
      service.world.db,
      sql`INSERT INTO api_keys SELECT * FROM jsonb_populate_record(NULL::api_keys, ${row}::text::jsonb)`,
    )
  }

  /** Everything that can happen to a key and a session, once. */
  async function lived(): Promise<Owner & { keyId: string }> {
    const owner = newOwner()
    const { keyId } = await owner.client.keys.create({
      name: 'one',
      permissions: ['create', 'execute'],
    })
    await owner.client.keys.update(keyId, { permissions: ['execute'], label: 'narrower' })
    await owner.client.keys.rotate(keyId, 60)
    await owner.client.sessions.open(60)
    await owner.client.keys.suspend(keyId)
    return { ...owner, keyId }
  }

  it('come with every change, and the next message names them', async () => {
    const owner = await lived()
    const { keyId, client } = owner
    await client.keys.resume(keyId)
    await client.keys.delete(keyId)
    await client.keys.revokeAll(false)
    const audit = await client.audit.export()
    const bodies = audit.events.map(({ body }) => JSON.parse(body))
    expect(bodies.map(({ event }) => event)).toEqual([
      'create_api_key',
      'update_api_key',
      'rotate_api_key',
      'create_session',
      'suspend_api_key',
      'resume_api_key',
      'delete_api_key',
      'revoke_all_api_keys',
    ])
    for (const [at, { message = '' }] of audit.events.entries()) {
      const before = audit.events[at - 1]
      const head = before && { sequence: at, hash: before.hash }
      expect([bodies[at].auditHead, JSON.parse(message).auditHead]).toEqual([head, head])
    }
    expect(await client.audit.head()).toEqual({ sequence: 8, hash: audit.events.at(-1)?.hash })
    expect(verify(audit)).toEqual([])
    expect(await check(owner)).toEqual([])
  })

  it('is not intact when an unsigned event takes the place of a signed one and keeps its message', async () => {
    const owner = newOwner()
    const { keyId } = await owner.client.keys.create({ name: 'hidden', permissions: [] })
    const row = await rowOf(keyId)
    await owner.client.keys.suspend(keyId)
    const unsigned = { event: 'refused', actor: 'service', messageHash: null }
    await rewrite(owner, ([create, suspend]) => {
      const { auditHead: _, ...body } = JSON.parse(suspend?.body ?? '')
      const hiding = { ...suspend, body: JSON.stringify(body) } as StoredEvent
      return [create as StoredEvent, editedBody(hiding, unsigned)]
    })
    await putBack(keyId, row)
    const fault = 'has a message that it does not name'
    expect(verify(await owner.client.audit.export())).toEqual([fault])
    expect(await check(owner)).toContain(fault)
  })

  it('come with the revocations that no signed message of the moment asks for', async () => {
    const { client, wallet } = newOwner()
    const { apiKey } = await client.keys.create({ name: 'self', permissions: [] })
    const headers = { 'X-API-Key': apiKey }
    const self = await service.call('/api-keys/self', { method: 'DELETE', headers })
    expect(await answered(self)).toMatchObject({ auditHead: { sequence: 2 } })
    const { keyId } = await client.keys.create({ name: 'held', permissions: [] })
    const certificate = await client.keys.certificate(keyId)
    expect(JSON.parse(certificate.message)).not.toHaveProperty('auditHead')
    const { message, signature } = certificate
    const body = json({ message, signature, walletAddress: wallet.address })
    const revoked = await answered(await service.call(`/api-keys/${keyId}/revoke`, body))
    expect(revoked).toMatchObject({ auditHead: { sequence: 4 } })
  })

  it.each<[string, string, object]>([
    ['POST', '/api-keys', { action: 'create_api_key', keyName: 'x', permissions: [] }],
    ['POST', '/api-keys/revoke-all', { action: 'revoke_all_api_keys', cancelOpenOrders: false }],
    ['POST', '/sessions', { action: 'create_session', ttlSeconds: 60 }],
    ['PATCH', '/api-keys/KEY', { action: 'update_api_key', label: 'x' }],
    ['POST', '/api-keys/KEY/rotate', { action: 'rotate_api_key', graceSeconds: 0 }],
    ['POST', '/api-keys/KEY/suspend', { action: 'suspend_api_key' }],
    ['POST', '/api-keys/KEY/resume', { action: 'resume_api_key' }],
    ['DELETE', '/api-keys/KEY', { action: 'delete_api_key' }],
  ])('that are not in the chain make the service refuse the message: %s %s', async (method, path, members) => {
    const { client, wallet } = newOwner()
    const { keyId, auditHead } = await client.keys.create({ name: 'one', permissions: [] })
    const send = (head: AuditHead) => {
      service.clock.now += 1
      const about = path.includes('KEY') ? { keyId } : {}
      const body = json(wallet.sign({ ...members, ...about, auditHead: head }))
      return service.call(path.replace('KEY', keyId), { ...body, method })
    }
    const later = { sequence: 7, hash: auditHead.hash }
    const { details } = await refused(await send(later), 'auditHeadUnknown')
    expect(details).toEqual({ reason: 'missing', auditHead: later })
    const other = { sequence: 1, hash: 'a'.repeat(64) }
    expect((await refused(await send(other), 'auditHeadUnknown')).details).toEqual({
      reason: 'replaced',
      auditHead: other,
    })
    await refused(await send({ sequence: 1, hash: 'x' }), 'invalidRequest')
    expect((await send(auditHead)).ok).toBe(true)
  })

  it('outlive a client in the store that it is given, and no store can lose a secret', async () => {
    const kept = new Map<string, AuditHead>()
    const { wallet } = newOwner()
    const store = { get: (address: string) => kept.get(address), set: kept.set.bind(kept) }
    const auditHeads = { ...store, set: (a: string, h: AuditHead) => void store.set(a, h) }
    await clientOf(wallet, { auditHeads }).keys.create({ name: 'a', permissions: [] })
    const second = clientOf(wallet, { auditHeads })
    await second.keys.create({ name: 'b', permissions: [] })
    const [, event] = (await second.audit.export()).events
    expect(JSON.parse(event?.message ?? '').auditHead.sequence).toBe(1)
    expect(kept.get(wallet.address)).toEqual({ sequence: 2, hash: event?.hash })
    const failing = { ...auditHeads, set: () => Promise.reject(new Error('disk full')) }
    const third = clientOf(wallet, { auditHeads: failing })
    expect((await third.keys.create({ name: 'c', permissions: [] })).apiKey).toBeTruthy()
    expect((await third.audit.head())?.sequence).toBe(3)
  })

  const atLeast = (faults: string[], fault: RegExp) =>
    expect(faults).toEqual(expect.arrayContaining([expect.stringMatching(fault)]))

  it('show a cut in the middle, to the service, the owner and the operator', async () => {
    const owner = await lived()
    const head = await owner.client.audit.head()
    await rewrite(owner, (events) => events.filter((_, at) => at !== 1))
    await expect(owner.client.keys.resume(owner.keyId)).rejects.toMatchObject({
      code: 'AUDIT_HEAD_UNKNOWN',
    })
    const audit = await owner.client.audit.export()
    atLeast(verify(audit), /^names an event that is not in the chain before it$/)
    atLeast(verify(audit), /^has no event for a update_api_key that was accepted at 20/)
    atLeast(verify(audit, { head }), /^is not the event that the head names, or is gone$/)
    atLeast(await check(owner), /^has no event for a update_api_key/)
  })

  it('show an order of events that ends in the wider rights', async () => {
    const { client, wallet } = newOwner()
    const { keyId } = await client.keys.create({ name: 'a', permissions: [] })
    await client.keys.update(keyId, { permissions: ['create', 'execute'] })
    await client.keys.update(keyId, { permissions: ['execute'] })
    await rewrite({ client, wallet }, ([one, two, three]) =>
      [
        one,
        editedBody(three, { at: JSON.parse(two?.body ?? '').at }),
        editedBody(two, { at: JSON.parse(three?.body ?? '').at }),
      ].map((event) => event as StoredEvent),
    )
    atLeast(verify(await client.audit.export()), /^names an event that is not in the chain/)
    atLeast(await check({ client, wallet }), /accepted before the one of an event ahead of it$/)
    atLeast(await check({ client, wallet }), /^its message was accepted at another time$/)
  })

  it('do not agree with a body that names another one', async () => {
    const owner = await lived()
    await rewrite(owner, (events) =>
      events.map((event, at) =>
        at === 4 ? editedBody(event, { auditHead: { sequence: 1, hash: 'a'.repeat(64) } }) : event,
      ),
    )
    atLeast(verify(await owner.client.audit.export()), /^names another event than its message$/)
  })

  it('are not needed to find times that run backwards', async () => {
    const { wallet } = newOwner()
    const grant = (keyName: string) =>
      service.call(
        '/api-keys',
        json(wallet.sign({ action: 'create_api_key', keyName, permissions: [] })),
      )
    for (const name of ['a', 'b']) {
      service.clock.now += 120_000
      await answered(await grant(name), 201)
    }
    const owner = { wallet, client: clientOf(wallet) }
    expect(verify(await owner.client.audit.export())).toEqual([])
    await rewrite(owner, ([one, two]) => [two, one] as StoredEvent[])
    atLeast(verify(await owner.client.audit.export()), /^is dated before an event ahead of it$/)
  })

  it('are not needed to find an acceptance that the service would have refused', async () => {
    const { client, wallet } = newOwner()
    await client.keys.create({ name: 'a', permissions: [] })
    await rewrite({ client, wallet }, ([one]) => [
      editedBody(one, { at: JSON.parse(one?.body ?? '').at + 600_000 }),
    ])
    service.clock.now += 600_000
    const audit = await client.audit.export()
    expect(verify(audit, { maxMessageAgeSeconds: 300 })).toContain(
      'comes at a time when its message was not fresh',
    )
  })

  it.each<[string, (key: Key) => Key | undefined, string]>([
    [
      'a suspended key as active',
      (key) => ({ ...key, status: 'active' }),
      'is shown as active, and its events say suspended',
    ],
    [
      'a suspended key as active, without its time',
      ({ suspendedAt, ...key }) => ({ ...key, status: 'active' }),
      'suspendedAt is not what its owner signed',
    ],
    [
      'a live key as expired',
      (key) => ({ ...key, status: 'expired' }),
      'is shown as expired, and its events say suspended',
    ],
    [
      'a live key as revoked',
      (key) => ({ ...key, status: 'revoked', revokedAt: key.createdAt }),
      'is shown as revoked, and its events say suspended',
    ],
    ['no key at all', () => undefined, 'is live and not listed'],
    [
      'the key of another wallet',
      (key) => ({ ...key, walletAddress: 'ST1' }),
      'is no key of this wallet',
    ],
    [
      'a grace that ends later',
      (key) => ({ ...key, previousUntil: '2999-01-01T00:00:00.000Z' }),
      'previousUntil is not what its owner signed',
    ],
  ])('are not needed to find an export that shows %s', async (_, change, fault) => {
    const { client } = await lived()
    const audit = await client.audit.export()
    expect(verify(audit)).toEqual([])
    const keys = audit.keys.map(change).filter((key) => key !== undefined)
    expect(verify({ ...audit, keys })).toContain(fault)
  })

  it('are not needed to find a live key that is shown as expired by a date ahead of now', async () => {
    const { client } = newOwner()
    const expiresAt = new Date(service.clock.now + 3_600_000)
    await client.keys.create({ name: 'a', permissions: [], expiresAt })
    const audit = await client.audit.export()
    const keys = audit.keys.map((key): Key => ({ ...key, status: 'expired' }))
    expect(verify({ ...audit, keys })).not.toEqual([])
    expect(verify({ ...audit, keys, serverTime: expiresAt.getTime() + 1 })).toEqual([
      'the export is dated ahead of now',
    ])
  })

  it('are not needed to find a revoked key that was put back with the chain cut', async () => {
    const { client, wallet } = newOwner()
    const { keyId } = await client.keys.create({ name: 'a', permissions: [] })
    const before = await rowOf(keyId)
    await client.keys.delete(keyId)
    await client.keys.create({ name: 'b', permissions: [] })
    await putBack(keyId, before)
    await rewrite({ client, wallet }, (events) => events.filter((_, at) => at !== 1))
    const missing = /^has no event for a delete_api_key/
    atLeast(await check({ client, wallet }), missing)
    atLeast(verify(await client.audit.export()), missing)
  })

  it('are not needed to find an event without its signed action', async () => {
    const owner = await lived()
    const { db } = service.world
    await rewrite(owner, (events) =>
      events.map((event, at) => (at === 1 ? { ...event, actionId: null } : event)),
    )
    await asOwner(db, [
      sql`DELETE FROM signed_actions WHERE wallet_address = ${owner.wallet.address} AND action = 'update_api_key'`,
    ])
    atLeast(verify(await owner.client.audit.export()), /^is not what the owner signed$/)
    atLeast(await check(owner), /^is not what the owner signed$/)
  })

  it.each<[string, (audit: AuditExport) => unknown]>([
    ['an event that is null', (audit) => ({ ...audit, events: [null] })],
    ['an event without a body', (audit) => ({ ...audit, events: [{ sequence: 1, hash: '' }] })],
    ['a key that is null', (audit) => ({ ...audit, keys: [null] })],
    ['no time', ({ serverTime, ...audit }) => audit],
    ['no list of unrecorded messages', ({ unrecorded, ...audit }) => audit],
    ['another format', (audit) => ({ ...audit, format: 'latchkey-audit 3' })],
  ])('do not make an export of what has %s', async (_, change) => {
    const { client } = newOwner()
    const audit = change(await client.audit.export()) as AuditExport
    expect(() => verifyAudit(audit)).toThrow(expect.objectContaining({ code: 'INVALID_ARGUMENT' }))
  })
})
