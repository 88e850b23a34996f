import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { type AuditEvent, bodyText, chainHash, FIRST_HASH } from '../../src/audit/event.ts'
import { sha256, toHex } from '../../src/crypto/bytes.ts'
import { rows } from '../../src/db/database.ts'
import { hashSecret } from '../../src/keys/secret.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { replayAudit } from '../../src/provenance/replay.ts'
import { signMessage } from '../../src/stacks/sign.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { unknownSecret } from '../support/secrets.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

interface Unrecorded {
  unrecorded: { message: string }[]
  nextUnrecordedAfter?: string
}

interface Audit {
  walletAddress: string
  events: AuditEvent[]
  nextAfter?: number
}

describe.each(ENGINES)("A wallet's audit on %s", (engine) => {
  let service: Service
  beforeAll(async () => {
    service = await startService(engine)
  })
  afterAll(() => service.close())

  const read = async (wallet: Wallet, query = '') =>
    answered<Audit>(
      await service.call(`/audit${query}`, {
        headers: wallet.signHeaders({ action: 'list_audit' }),
      }),
    )
  const post = (wallet: Wallet, keyId: string, verb: string, members: object = {}) =>
    service.call(
      `/api-keys/${keyId}/${verb}`,
      json(wallet.sign({ action: `${verb}_api_key`, keyId, ...members })),
    )
  const replay = ({ walletAddress, events }: Audit) =>
    replayAudit(events, { walletAddress, network: 'devnet' })
  /** Everything that can happen to a key, once. */
  async function lived(): Promise<{ wallet: Wallet; keyId: string; audit: Audit }> {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet, { keyName: 'one', rateLimit: 50 })
    await answered(await post(wallet, keyId, 'rotate', { graceSeconds: 60 }))
    await answered(await post(wallet, keyId, 'suspend'))
    await answered(await post(wallet, keyId, 'resume'))
    const change = wallet.sign({ action: 'update_api_key', keyId, rateLimit: null, label: 'x' })
    await answered(await service.call(`/api-keys/${keyId}`, { ...json(change), method: 'PATCH' }))
    return { wallet, keyId, audit: await read(wallet) }
  }

  it('proves that a secret ended before its grace, and which one its owner made', async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const secret = unknownSecret('ck_live_', wallet.address)
    const named = { keyId, graceSeconds: 60, keyHash: hashSecret(secret) }
    const rotate = wallet.sign({ action: 'rotate_api_key', ...named })
    await answered(
      await service.call(`/api-keys/${keyId}/rotate`, json(rotate, { 'X-API-Key': secret })),
    )
    const made = replay(await read(wallet)).keys.get(keyId)
    expect(made?.keyHash).toBe(named.keyHash)
    expect(made?.previousKeyHash).not.toBeNull()
    const end = wallet.sign({ action: 'update_api_key', keyId, previousUntil: null })
    await answered(await service.call(`/api-keys/${keyId}`, { ...json(end), method: 'PATCH' }))
    const audit = await read(wallet)
    const { keys, faults } = replay(audit)
    expect(faults).toEqual([])
    expect(keys.get(keyId)).toMatchObject({ previousKeyHash: null, previousUntil: null })
    expect(await checkAudit(service.world)).toMatchObject({ faults: [] })
    const [created, rotated] = audit.events as [AuditEvent, AuditEvent]
    const body = JSON.parse(rotated.body)
    const text = bodyText({ ...body, details: { ...body.details, keyHash: '0'.repeat(64) } })
    const forged = { ...rotated, body: text, hash: chainHash(created.hash, text) }
    expect(replay({ ...audit, events: [created, forged] }).faults).toContainEqual({
      sequence: 2,
      fault: 'has another secret than the signed one',
    })
  })

  it('tells every change with the message that asked for it, and proves itself', async () => {
    const { keyId, audit, wallet } = await lived()
    const bodies = audit.events.map(({ body }) => JSON.parse(body))
    expect(bodies.map(({ event }) => event)).toEqual([
      'create_api_key',
      'rotate_api_key',
      'suspend_api_key',
      'resume_api_key',
      'update_api_key',
    ])
    for (const [at, { message }] of audit.events.entries())
      expect(JSON.parse(message ?? '')).toMatchObject({ action: bodies[at].event })
    const { keys, faults } = replay(audit)
    expect(faults).toEqual([])
    expect(keys.get(keyId)).toMatchObject({
      terms: { name: 'one', rateLimit: null, label: 'x' },
      suspendedAt: null,
      revokedAt: null,
    })
    const second = await createKey(service, wallet)
    const all = json(wallet.sign({ action: 'revoke_all_api_keys', cancelOpenOrders: false }))
    await answered(await service.call('/api-keys/revoke-all', all))
    const after = replay(await read(wallet))
    expect(after.faults).toEqual([])
    for (const id of [keyId, second.keyId])
      expect(after.keys.get(id)?.revokedAt).toBe(service.clock.now)
  })

  it('is read in stretches', async () => {
    const { wallet, audit } = await lived()
    const first = await read(wallet, '?limit=2')
    expect(first).toMatchObject({ events: audit.events.slice(0, 2), nextAfter: 2 })
    const rest = await read(wallet, '?after=2')
    expect(rest.events).toEqual(audit.events.slice(2))
    expect(rest).not.toHaveProperty('nextAfter')
    const headers = wallet.signHeaders({ action: 'list_audit' })
    for (const query of ['?limit=0', '?limit=1001', '?after=-1', '?after=x', '?more=1'])
      await refused(await service.call(`/audit${query}`, { headers }), 'invalidRequest')
  })

  it('has the live keys with its last events, and no ended one', async () => {
    const { wallet, keyId } = await lived()
    const ended = await createKey(service, wallet)
    const action = { action: 'delete_api_key', keyId: ended.keyId }
    const remove = { ...json(wallet.sign(action)), method: 'DELETE' }
    await answered(await service.call(`/api-keys/${ended.keyId}`, remove))
    expect(await read(wallet, '?limit=1')).not.toHaveProperty('keys')
    expect(await read(wallet)).toMatchObject({ keys: [{ keyId }] })
  })

  it('has pages of a mebibyte, however long its events are', async () => {
    const wallet = newWallet(service)
    const { keyId } = await createKey(service, wallet)
    const { db } = service.world
    await rows(
      db,
      sql`INSERT INTO audit_events (wallet_address, sequence, body, hash)
        SELECT ${wallet.address}, 1 + n, repeat('x', 300000), '\\x00' FROM generate_series(1, 10) AS n`,
    )
    const found: number[] = []
    let page: Audit
    do {
      page = await read(wallet, `?limit=1000&after=${found.at(-1) ?? 0}`)
      expect(page.events.length).toBeLessThanOrEqual(5)
      found.push(...page.events.map(({ sequence }) => sequence))
    } while (page.nextAfter !== undefined)
    expect(found).toEqual(Array.from({ length: 11 }, (_, at) => at + 1))
    expect(page).toMatchObject({ keys: [{ keyId }] })
  })

  it('shows every accepted message that has no event, in pages', async () => {
    const wallet = newWallet(service)
    await createKey(service, wallet)
    await rows(
      service.world.db,
      sql`INSERT INTO signed_actions (wallet_address, action, message, message_hash, signature, public_key, accepted_at)
        SELECT ${wallet.address}, 'delete_api_key', 'm' || n, sha256(convert_to('m' || n, 'UTF8')), '', '', now()
        FROM generate_series(1, 250) AS n`,
    )
    const found: string[] = []
    let next: string | undefined
    do {
      const query: string = next === undefined ? '' : `&unrecordedAfter=${next}`
      const page: Unrecorded = await answered(
        await service.call(`/audit?after=1${query}`, {
          headers: wallet.signHeaders({ action: 'list_audit' }),
        }),
      )
      expect(page.unrecorded.length).toBeLessThanOrEqual(100)
      found.push(...page.unrecorded.map(({ message }) => message))
      next = page.nextUnrecordedAfter
    } while (next !== undefined)
    expect(found).toEqual(Array.from({ length: 250 }, (_, at) => `m${at + 1}`))
  })

  const forge = (change: (events: AuditEvent[]) => AuditEvent[]) => async () => {
    const { audit } = await lived()
    return replay({ ...audit, events: change(audit.events) }).faults
  }
  /** Hashes anew what was edited, as whoever owns the database can. */
  const rehashed = (events: AuditEvent[]): AuditEvent[] => {
    let hash = FIRST_HASH
    return events.map((event, at) => {
      hash = chainHash(hash, event.body)
      return { ...event, sequence: at + 1, hash }
    })
  }
  const edited = (event: AuditEvent | undefined, change: object): AuditEvent => ({
    ...(event as AuditEvent),
    body: bodyText({ ...JSON.parse(event?.body ?? ''), ...change }),
  })

  it('does not prove a term that this release does not know, and names it', async () => {
    const { wallet, audit, keyId } = await lived()
    const { message, signature } = wallet.sign({ action: 'update_api_key', keyId, maxLeverage: 2 })
    const [first] = audit.events
    const body = { event: 'update_api_key', messageHash: toHex(sha256(message)), details: {} }
    const events = rehashed([...audit.events, { ...edited(first, body), message, signature }])
    expect(replay({ ...audit, events }).faults).toEqual([
      { sequence: events.length, fault: 'signs maxLeverage, which this release does not know' },
    ])
  })

  it.each([
    ['no JSON', '{'],
    ['null', 'null'],
    ['a list', '[]'],
    ['an event without details', '{"at":1,"event":"refused","v":1}'],
    ['an event named as a member of every object', '{"event":"constructor"}'],
    ['an event that is no text', '{"event":{}}'],
    ['an actor that is no text', '{"actor":null}'],
  ])('is refused as a whole, and never throws, with a body that is %s', async (_, text) => {
    const { audit } = await lived()
    const [first] = audit.events as [AuditEvent]
    const isWhole = !text.startsWith('{"') || text.includes('"v"')
    const body = isWhole ? text : edited(first, { messageHash: null, ...JSON.parse(text) }).body
    const { faults } = replay({ ...audit, events: rehashed([...audit.events, { ...first, body }]) })
    expect(faults.map(({ sequence }) => sequence)).toEqual([audit.events.length + 1])
  })

  it.each([
    ['no JSON', 'hello'],
    ['null', 'null'],
    ['a list', '[]'],
  ])('is refused as a whole, and never throws, with a signed message that is %s', async (_, message) => {
    const { audit, wallet } = await lived()
    const signature = signMessage({ message, privateKey: wallet.privateKey })
    const body = edited(audit.events[0], { messageHash: toHex(sha256(message)) }).body
    const event = { sequence: 0, hash: '', body, message, signature }
    const { faults } = replay({ ...audit, events: rehashed([...audit.events, event]) })
    expect(faults.map(({ sequence }) => sequence)).toEqual([audit.events.length + 1])
  })

  it.each<[string, (events: AuditEvent[]) => AuditEvent[]]>([
    ['an event left out', (events) => events.filter((_, at) => at !== 2)],
    ['an event twice', ([one, ...rest]) => [one, one, ...rest] as AuditEvent[]],
    ['two events in another order', ([one, two, ...rest]) => [two, one, ...rest] as AuditEvent[]],
    [
      'a signature of another message',
      (events) => events.map((e) => ({ ...e, signature: events[0]?.signature ?? '' })),
    ],
    ['an event left out, and the chain hashed anew', (events) => rehashed(events.slice(1))],
    [
      'an event twice, and the chain hashed anew',
      (events) => rehashed([...events, events.at(-2) as AuditEvent]),
    ],
    [
      'a wider message, and the chain hashed anew',
      (events) =>
        rehashed(events.map((e) => ({ ...e, message: (e.message ?? '').replace('50', '99') }))),
    ],
    [
      'a change that nobody signed',
      (events) => rehashed([...events, edited(events.at(-1), { messageHash: null })]),
    ],
    [
      'a change in the name of the operator',
      (events) =>
        rehashed([...events, edited(events.at(-1), { messageHash: null, actor: 'operator' })]),
    ],
    [
      "an owner's act in the name of the operator, who may more",
      (events) => rehashed([...events.slice(0, -1), edited(events.at(-1), { actor: 'operator' })]),
    ],
    [
      'an act that came a day after its message',
      (events) => {
        const last = events.at(-1)
        const at = JSON.parse(last?.body ?? '').at + 86_400_001
        return rehashed([...events.slice(0, -1), edited(last, { at })])
      },
    ],
    [
      'an act on another key',
      (events) =>
        rehashed(events.map((e, at) => (at === 1 ? edited(e, { keyId: 'key_other' }) : e))),
    ],
    [
      'an event of another wallet',
      (events) =>
        rehashed([
          edited(events[0], { walletAddress: 'ST000000000000000000002AMW42H' }),
          ...events.slice(1),
        ]),
    ],
  ])('does not prove itself with %s', async (_, change) => {
    expect(await forge(change)()).not.toEqual([])
  })
})
