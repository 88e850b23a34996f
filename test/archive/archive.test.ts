import { readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { gunzipSync, gzipSync } from 'node:zlib'
import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archive } from '../../src/archive/archive.ts'
import { checkArchives } from '../../src/archive/check.ts'
import { archiveFiles } from '../../src/archive-file.ts'
import { archivesIn } from '../../src/cli/archive-files.ts'
import { type AuditEvent, verifyAudit } from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { temporaryFolder } from '../cli/latchkey.ts'
import { asOwner } from '../provenance/rewrite.ts'
import { answered, refused } from '../support/assertions.ts'
import { partitionedDatabase } from '../support/partitioned.ts'
import { ENGINES, type Engine, type Service, startService } from '../support/service.ts'
import { createKey, json, newWallet } from '../support/wallet.ts'
import { countRows, DAY, liveThrough, makeArchive, type OldLife, servicesOf } from './old-life.ts'

const DATABASES: readonly {
  name: string
  engine: Engine
  open?: () => Promise<string>
}[] = [
  ...ENGINES.map((engine) => ({ name: engine, engine })),
  { name: 'tables in partitions', engine: 'Postgres', open: partitionedDatabase },
]

describe.each(DATABASES)('An archive on $name', { timeout: 120_000 }, ({ engine, open }) => {
  const folder = temporaryFolder()
  let service: Service
  let life: OldLife
  let path: string
  beforeAll(async () => {
    service = await startService(engine, { ...(open && { databaseUrl: await open() }) })
    life = await liveThrough(service)
    const before = await life.client.audit.export()
    expect(verifyAudit(before, { now: service.clock.now })).toMatchObject({ ok: true, archived: 0 })
    const made = await makeArchive(service, folder)
    path = made.path
    expect(made).toMatchObject({
      number: 1,
      rows: { event: life.oldEvents, action: 1, order: 1, session: 1 },
      removed: { event: life.oldEvents, action: 1, order: 1, session: 1 },
      held: { wallets: [], orders: [] },
    })
    const after = await life.client.audit.export()
    expect(after.archived?.bodyHashes).toHaveLength(life.oldEvents)
    // An export of before the cut, as the older one of an owner, is the same chain.
    expect(verifyAudit(after, { older: before, now: service.clock.now }).faults).toEqual([])
    expect(before.events.slice(life.oldEvents)).toEqual(after.events)
  }, 120_000)
  afterAll(() => service.close())

  /** The wallet's events in the file. */
  async function eventsInFile(from = path): Promise<AuditEvent[]> {
    const events: AuditEvent[] = []
    await archiveFiles.read(from, ({ kind, text }) => {
      if (kind !== 'event') return
      const { event, action } = JSON.parse(text)
      if (event.wallet_address !== life.wallet.address) return
      const { message, signature, public_key: publicKey } = action ?? {}
      const { sequence, body, hash } = event
      events.push({
        sequence,
        body,
        hash: hash.slice(2),
        ...(message && { message, signature, publicKey }),
      })
    })
    return events
  }

  it('takes old events, messages, ended orders and sessions, and leaves what is needed', async () => {
    // The grant of the key, later events with their messages, two orders whose intents could still be used.
    const later = life.laterEvents + 2
    expect(await countRows(service, life.wallet)).toEqual({
      events: later,
      actions: later + 1,
      orders: 2,
      sessions: 0,
    })
  })

  it('and the export prove every key, and without the archive none is called proven', async () => {
    const audit = await life.client.audit.export()
    expect(audit.format).toBe('latchkey-audit 3')
    expect(audit.archived?.archives).toEqual([{ archive: 1, through: life.oldEvents }])
    const now = service.clock.now
    const alone = verifyAudit(audit, { now })
    expect(alone).toMatchObject({
      ok: false,
      faults: [],
      events: life.laterEvents + 2,
      archived: life.oldEvents,
      unproven: [life.keyId],
    })
    const archived = await eventsInFile()
    expect(verifyAudit(audit, { archived, now })).toMatchObject({
      ok: true,
      faults: [],
      archived: 0,
      unproven: [],
      events: life.oldEvents + life.laterEvents + 2,
    })
    const [first, ...rest] = archived
    const edited = {
      ...first,
      body: (first?.body ?? '').replace('create_api_key', 'update_api_key'),
    }
    const faults = verifyAudit(audit, { archived: [edited as AuditEvent, ...rest], now }).faults
    expect(faults).toEqual([
      { sequence: 1, fault: 'is another event in the archive than in the chain' },
    ])
    // What the service says of the archived events cannot hide one: each later hash follows from theirs.
    const hashes = [...(audit.archived?.bodyHashes ?? [])]
    hashes[3] = 'a'.repeat(64)
    const forged = { ...audit, archived: { bodyHashes: hashes, archives: [] } }
    expect(verifyAudit(forged, { now }).faults[0]?.fault).toMatch(/breaks the chain/)
  })

  it('keeps every head that was kept: the service and the check know them by the hashes that stay', async () => {
    const archived = await eventsInFile()
    const kept = archived[4] as AuditEvent
    const head = { sequence: kept.sequence, hash: kept.hash }
    const sign = (auditHead: object) =>
      json(life.wallet.sign({ action: 'update_api_key', keyId: life.keyId, label: 'x', auditHead }))
    service.clock.now += 1
    const update = { ...sign(head), method: 'PATCH' }
    await answered(await service.call(`/api-keys/${life.keyId}`, update))
    service.clock.now += 1
    const other = { ...sign({ ...head, hash: 'b'.repeat(64) }), method: 'PATCH' }
    const { details } = await refused(
      await service.call(`/api-keys/${life.keyId}`, other),
      'auditHeadUnknown',
    )
    expect(details).toMatchObject({ reason: 'replaced' })
    async function* lines() {
      for (const { sequence, hash } of archived)
        yield JSON.stringify({
          event: 'audit_head',
          walletAddress: life.wallet.address,
          sequence,
          hash,
        })
    }
    const check = await checkAudit(service.world, { heads: lines() })
    expect(check).toMatchObject({ faults: [], unchecked: [], heads: life.oldEvents })
  })

  it('leaves nothing that an edit of the rows could hide behind', async () => {
    const { db } = service.world
    const faultsOf = async () => (await checkAudit(service.world)).faults.map(({ fault }) => fault)
    const [stored] = await rows<{ state: string }>(
      db,
      sql`SELECT state FROM archived_audits WHERE wallet_address = ${life.wallet.address}`,
    )
    const widened = stored?.state.replace(/"permissions":\[/, '"permissions":["withdraw",')
    const set = (state: string | undefined) =>
      rows(
        db,
        sql`UPDATE archived_audits SET state = ${state} WHERE wallet_address = ${life.wallet.address}`,
      )
    await set(widened)
    expect(await faultsOf()).toContain('the record of its archived events was edited')
    await set(stored?.state)
    expect(await faultsOf()).toEqual([])
    await rows(
      db,
      sql`UPDATE api_keys SET permissions = '{create,execute}' WHERE id = ${life.keyId}`,
    )
    expect(await faultsOf()).not.toEqual([])
    await rows(
      db,
      sql`UPDATE api_keys SET permissions = '{create,execute,cancel}' WHERE id = ${life.keyId}`,
    )
    expect(await faultsOf()).toEqual([])
  })

  it('leaves the uuid of each order used, and says where the order is', async () => {
    const gone = await refused(await service.call(`/orders/${life.confirmed}`), 'orderArchived')
    expect(gone.details).toEqual({ archive: 1 })
    const headers = { 'X-API-Key': life.apiKey }
    const execute = service.call(`/orders/${life.confirmed}/execute`, { method: 'POST', headers })
    await refused(await execute, 'orderArchived')
    await refused(await service.call(`/orders/${life.confirmed}/events`), 'orderArchived')
    const again = life.wallet.order({ uuid: life.confirmed })
    await refused(await service.call('/orders/new', json(again)), 'orderConflict')
    await refused(await service.call('/orders/order-that-never-was'), 'orderNotFound')
    const list = await answered<{ data: unknown[]; archivedBefore?: string }>(
      await service.call(`/orders?owner=${life.wallet.address}`),
    )
    expect(list.data).toHaveLength(2)
    expect(Date.parse(list.archivedBefore ?? '')).toBeLessThan(service.clock.now)
    // Not committed, and never used up on chain: their intents are good for ever.
    for (const uuid of [life.cancelled, life.open])
      expect((await service.call(`/orders/${uuid}`)).status).toBe(200)
  })

  it('forgets no message that any clock could make fresh again', async () => {
    const today = service.clock.now
    const { used } = life
    service.clock.now = JSON.parse(used.message).timestamp + 1_000
    const replay = () =>
      service.call(`/orders/${life.cancelled}/cancel`, { ...json(used), method: 'PATCH' })
    await refused(await replay(), 'messageReplayed')
    service.clock.now = today
    await refused(await replay(), 'timestampExpired')
  })

  it('refuses a moment of less than a day ago', async () => {
    const before = service.clock.now - DAY / 2
    expect(await archive(servicesOf(service), { before, folder })).toMatchObject({
      reason: 'archiveTooYoung',
    })
  })

  it('of tables on several servers is refused, and begins nothing', async () => {
    const before = service.clock.now - 20 * DAY
    const distribution = { groupOf: () => 0, hasManyServers: true }
    const services = { ...servicesOf(service), distribution }
    expect(await archive(services, { before, folder })).toMatchObject({
      reason: 'archiveOnManyServers',
    })
    expect(await rows(service.world.db, sql`SELECT FROM archives`)).toHaveLength(1)
  })

  it('is compared with the database, and a file that was changed is told apart', async () => {
    const check = (from = folder) => checkArchives(servicesOf(service), from)
    expect(await check()).toMatchObject({ archives: 1, wallets: 1, faults: [] })
    expect((await check(temporaryFolder())).faults).toMatchObject([{ archive: 1, kind: 'missing' }])
    const whole = readFileSync(path)
    const lines = gunzipSync(whole).toString().split('\n')
    const swapped = [...lines]
    ;[swapped[3], swapped[4]] = [swapped[4] ?? '', swapped[3] ?? '']
    const texts: [string, Buffer, string][] = [
      ['truncated', whole.subarray(0, whole.length - 100), 'truncated'],
      ['cut between lines', gzipSync(lines.slice(0, -2).join('\n')), 'truncated'],
      ['without a row', gzipSync(lines.toSpliced(4, 1).join('\n')), 'tampered'],
      ['reordered', gzipSync(swapped.join('\n')), 'tampered'],
      [
        'edited',
        gzipSync(lines.join('\n').replace('suspend_api_key', 'suspend_api_kez')),
        'tampered',
      ],
      ['no archive', gzipSync('{}\n'), 'not_an_archive'],
      ['no gzip', Buffer.from('hello'), 'tampered'],
    ]
    for (const [what, bytes, kind] of texts) {
      const other = temporaryFolder()
      writeFileSync(join(other, path.split('/').at(-1) ?? ''), bytes)
      expect((await check(other)).faults.at(-1), what).toMatchObject({ archive: 1, kind })
    }
  })

  it('holds back a wallet whose audit does not verify, and takes the others', async () => {
    const recent = { daysAgo: 60, laterChanges: 0 }
    const bad = await liveThrough(service, recent)
    const good = await liveThrough(service, recent)
    const { db } = service.world
    await asOwner(db, [
      sql`UPDATE audit_events SET body = replace(body, 'suspend_api_key', 'resume_api_key')
        WHERE wallet_address = ${bad.wallet.address} AND sequence = 2`,
    ])
    const made = await makeArchive(service, folder, { daysAgo: 10 })
    expect(made).toMatchObject({ number: 2, held: { wallets: [bad.wallet.address] } })
    expect(await countRows(service, bad.wallet)).toMatchObject({ events: bad.oldEvents + 2 })
    expect(await countRows(service, good.wallet)).toMatchObject({ events: 2 })
    expect((await checkArchives(servicesOf(service), folder)).faults).toEqual([])
    await asOwner(db, [
      sql`UPDATE audit_events SET body = replace(body, 'resume_api_key', 'suspend_api_key')
        WHERE wallet_address = ${bad.wallet.address} AND sequence = 2`,
    ])
  })

  it('joins the one before: the chain goes on through both', async () => {
    const audit = await life.client.audit.export()
    const [first, second] = audit.archived?.archives ?? []
    const through = life.oldEvents + life.laterEvents
    expect([first, second]).toMatchObject([
      { archive: 1, through: life.oldEvents },
      { archive: 2, through },
    ])
    expect(audit.events[0]?.sequence).toBe(through + 1)
    const archived = (await Promise.all(archivesIn(folder).map(eventsInFile))).flat()
    expect(verifyAudit(audit, { archived, now: service.clock.now })).toMatchObject({
      ok: true,
      faults: [],
    })
    const { faults, unchecked } = await checkAudit(service.world)
    expect([faults, unchecked]).toEqual([[], []])
  })

  it('is no way around the trigger: events are deleted by no other statement', async () => {
    const { db } = service.world
    for (const table of ['audit_events', 'signed_actions', 'order_events'])
      await expect(rows(db, sql.raw(`DELETE FROM ${table}`))).rejects.toThrow()
    const wallet = newWallet(service)
    await createKey(service, wallet)
    expect(await countRows(service, wallet)).toMatchObject({ events: 1, actions: 1 })
  })
})
