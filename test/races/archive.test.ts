import { sql } from 'drizzle-orm'
import postgres from 'postgres'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { archive } from '../../src/archive/archive.ts'
import { archiveFiles } from '../../src/archive-file.ts'
import { type AuditEvent, verifyAudit } from '../../src/client/index.ts'
import { rows } from '../../src/db/database.ts'
import { findOrder } from '../../src/orders/find.ts'
import type { NewRow } from '../../src/orders/insert.ts'
import { checkAudit } from '../../src/provenance/check.ts'
import { DAY, liveThrough, type OldLife, servicesOf } from '../archive/old-life.ts'
import { temporaryFolder } from '../cli/latchkey.ts'
import { type Service, secretsOf, startService } from '../support/service.ts'
import { json } from '../support/wallet.ts'

const CALLERS = 24
const ENV = { RATE_LIMIT_PER_MINUTE: '100000', RATE_LIMIT_PER_HOUR: '100000' }

describe('An archive that is made while the service writes, on Postgres', {
  timeout: 240_000,
}, () => {
  const folder = temporaryFolder()
  let service: Service
  let other: Service
  beforeAll(async () => {
    service = await startService('Postgres', { maxConnections: CALLERS, env: ENV })
    other = await startService('Postgres', {
      maxConnections: CALLERS,
      databaseUrl: service.databaseUrl,
      env: { ...ENV, ...secretsOf(service) },
    })
  }, 120_000)
  afterAll(async () => {
    await Promise.all([service.close(), other.close()])
  })
  const make = (before: number) => archive(servicesOf(service), { before, folder })

  it('waits for an insert that began before it knew of the archive: no uuid is used twice', async () => {
    const life = await liveThrough(service, { laterChanges: 0 })
    const [client, gate] = [1, 2].map(() =>
      postgres(service.databaseUrl, { max: 1, onnotice: () => {} }),
    ) as [postgres.Sql, postgres.Sql]
    try {
      await gate`SELECT pg_advisory_lock(99)`
      // As insertSql: what it knows of archives is of its beginning, and it is held up ahead of the index.
      const inserting = client.unsafe(
        `INSERT INTO orders SELECT (jsonb_populate_record(stored, '{"sequence": 999999, "status": "open"}')).*
          FROM orders AS stored, (SELECT pg_advisory_xact_lock(99)) AS held
          WHERE uuid = '${life.confirmed}' AND NOT EXISTS (SELECT FROM archived_orders AS used WHERE used.uuid = stored.uuid)
          ON CONFLICT DO NOTHING`,
      )
      inserting.catch(() => {})
      await isWaiting(service, "wait_event = 'advisory'")
      const making = make(service.clock.now - 70 * DAY)
      let isMade = false
      making.then(() => {
        isMade = true
      })
      await isWaiting(service, "query LIKE 'LOCK TABLE orders%'", () => isMade)
      expect(isMade).toBe(false)
      await gate`SELECT pg_advisory_unlock(99)`
      await inserting
      expect(await making).toMatchObject({ ok: true, value: { removed: { order: 1 } } })
    } finally {
      await Promise.all([client.end(), gate.end()])
    }
    const found = await rows(
      service.world.db,
      sql`SELECT FROM orders WHERE uuid = ${life.confirmed}`,
    )
    expect(found).toEqual([])
  })

  it('leaves each uuid used, each chain whole and each message consumed, however many write', async () => {
    const lives: OldLife[] = []
    for (let n = 0; n < 3; n++)
      lives.push(await liveThrough(service, { daysAgo: 60, laterChanges: 0 }))
    const stored = new Map<string, NewRow>()
    for (const { confirmed } of lives) {
      const row = await findOrder(service.world, confirmed)
      const { sequence: _, ...rest } = row as NonNullable<typeof row>
      stored.set(confirmed, rest)
    }
    const today = service.clock.now
    other.clock.now = today
    let isMade = false
    const outcomes: string[] = []
    const insert = async (caller: number) => {
      const { confirmed } = lives[caller % lives.length] as OldLife
      const world = caller % 2 === 0 ? service.world : other.world
      while (!isMade) {
        const inserted = await world.insertOrder(stored.get(confirmed) as NewRow)
        outcomes.push(inserted.ok ? 'inserted' : inserted.reason)
      }
    }
    let label = 0
    const write = async (caller: number) => {
      const { wallet, keyId } = lives[caller % lives.length] as OldLife
      while (!isMade) {
        label += 1
        const signed = wallet.sign({ action: 'update_api_key', keyId, label: `label ${label}` })
        const init = { ...json(signed), method: 'PATCH' }
        const { status } = await (caller % 2 === 0 ? service : other).call(
          `/api-keys/${keyId}`,
          init,
        )
        if (status !== 200) outcomes.push(`update ${status}`)
      }
    }
    const writing = Array.from({ length: CALLERS }, (_, caller) =>
      caller < 12 ? insert(caller) : write(caller),
    )
    const made = await Promise.all(
      Array.from({ length: 4 }, (_, caller) =>
        archive(servicesOf(caller % 2 === 0 ? service : other), {
          before: today - 10 * DAY,
          folder,
        }),
      ),
    ).finally(() => {
      isMade = true
    })
    await Promise.all(writing)
    expect(new Set(outcomes)).toEqual(new Set(['orderConflict']))
    expect(outcomes.length).toBeGreaterThan(20)
    // One process made it; the others were refused, or began the next one.
    const whole = made.filter((one) => one.ok)
    expect(whole.length).toBeGreaterThan(0)
    expect(new Set(made.filter((one) => !one.ok).map(({ reason }) => reason))).not.toContain(
      'archiveTooYoung',
    )
    const uuids = `{${lives.map(({ confirmed }) => confirmed).join(',')}}`
    const [left] = await rows<{ orders: number; used: number }>(
      service.world.db,
      sql`SELECT (SELECT count(*)::int FROM orders WHERE uuid = ANY (${uuids}::text::text[])) AS orders,
        (SELECT count(*)::int FROM archived_orders WHERE uuid = ANY (${uuids}::text::text[])) AS used`,
    )
    expect(left).toEqual({ orders: 0, used: 3 })
    const { faults, unchecked } = await checkAudit(service.world)
    expect([faults, unchecked]).toEqual([[], []])
    for (const { client, wallet, oldEvents } of lives) {
      const audit = await client.audit.export()
      const archived = await eventsOf(wallet.address, whole)
      expect(audit.archived?.bodyHashes).toHaveLength(oldEvents)
      expect(verifyAudit(audit, { archived, now: service.clock.now })).toMatchObject({
        ok: true,
        faults: [],
        archived: 0,
      })
    }
  })

  async function eventsOf(
    address: string,
    made: readonly Awaited<ReturnType<typeof make>>[],
  ): Promise<AuditEvent[]> {
    const events: AuditEvent[] = []
    for (const one of made)
      if (one.ok)
        await archiveFiles.read(one.value.path, ({ kind, text }) => {
          if (kind !== 'event') return
          const { event, action } = JSON.parse(text)
          const { message, signature, public_key: publicKey } = action ?? {}
          if (event.wallet_address === address)
            events.push({
              sequence: event.sequence,
              body: event.body,
              hash: event.hash.slice(2),
              message,
              signature,
              publicKey,
            })
        })
    return events
  }
})

/** Resolves once a session of the database waits as it is said, or the other condition holds. */
async function isWaiting(
  service: Service,
  which: string,
  orElse: () => boolean = () => false,
): Promise<void> {
  for (;;) {
    const found = await rows(
      service.world.db,
      sql`SELECT FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock' AND ${sql.raw(which)}`,
    )
    if (found.length > 0 || orElse()) return
  }
}
