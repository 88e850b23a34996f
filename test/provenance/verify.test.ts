import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { bodyText, chainHash, FIRST_HASH } from '../../src/audit/event.ts'
import { type AuditEvent, replayAudit } from '../../src/provenance/replay.ts'
import { startService } from '../http/documented.ts'
import { answered, refused } from '../support/assertions.ts'
import { ENGINES, type Service } from '../support/service.ts'
import { createKey, json, newWallet, type Wallet } from '../support/wallet.ts'

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
