import { sql } from 'drizzle-orm'
import { afterAll, beforeAll, describe, expect, it } from 'vitest'
import { rows } from '../../src/db/database.ts'
import { FORGET_PAGE } from '../../src/db/forget.ts'
import { INPUT_TOKEN } from '../../src/devnet/constants.ts'
import { forgetSpending, reserveAllowance, spendingDayOf } from '../../src/orders/allowance.ts'
import { forgetUsage } from '../../src/usage/forget.ts'
import { ENGINES, type Service, startService } from '../support/service.ts'
import { createKey, newWallet, type Wallet } from '../support/wallet.ts'

const DAY = 86_400_000
const HOUR = 3_600_000

describe.each(ENGINES)('What is over on %s', (engine) => {
  let service: Service
  let wallet: Wallet
  let keyId: string
  beforeAll(async () => {
    service = await startService(engine)
    wallet = newWallet(service)
    ;({ keyId } = await createKey(service, wallet))
  })
  afterAll(() => service.close())

  const spending = async () => {
    const found = await rows<{ daysAgo: number }>(
      service.world.db,
      sql`SELECT ${spendingDayOf(service.clock.now)}::int - day AS "daysAgo" FROM key_spending WHERE key_id = ${keyId} ORDER BY day DESC`,
    )
    return found.map(({ daysAgo }) => daysAgo)
  }
  const reserve = (uuid: string, now: number) =>
    reserveAllowance(service.world.db, service.world, {
      keyId,
      walletAddress: wallet.address,
      uuid,
      token: INPUT_TOKEN,
      amount: '60',
      perDay: '100',
      alertAbove: undefined,
      now,
    })
  const passes = async (pass: () => Promise<boolean>) => {
    for (let count = 1; ; count++) if (await pass()) return count
  }

  it('of amounts of days are those that no request can reserve of, by the clocks of process and Postgres', async () => {
    const { now } = service.clock
    for (let daysAgo = 0; daysAgo < 10; daysAgo++) {
      service.clock.now = now - daysAgo * DAY
      expect(await reserve(`order-${daysAgo}`, service.clock.now)).toMatchObject({ ok: true })
    }
    service.clock.now = now
    const all = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9]
    // A process whose clock is behind deletes less, one whose clock is ahead no more.
    expect(await forgetSpending(service.world, now - 5 * DAY)).toBe(true)
    expect(await spending()).toEqual(all)
    expect(await forgetSpending(service.world, now + 300 * DAY)).toBe(true)
    expect(await spending()).toEqual(all.slice(0, 8))
    expect(await forgetSpending(service.world, now)).toBe(true)
    expect(await spending()).toEqual(all.slice(0, 8))
    // Today counts as before, and a process that stood still for days begins no day anew.
    expect(await reserve('another', now)).toMatchObject({ reason: 'limitExceeded' })
    for (const daysAgo of [7, 8, 9])
      expect(await reserve(`late-${daysAgo}`, now - daysAgo * DAY), `${daysAgo}`).toMatchObject({
        reason: 'limitExceeded',
      })
    expect(await spending()).toEqual(all.slice(0, 8))
    expect(await reserve('order-0', now)).toMatchObject({ ok: true })
  })

  it('is deleted page by page, however much there is', async () => {
    const { db, now } = { ...service.world, now: service.clock.now }
    const rowsAt = (at: number, count: number) =>
      rows(
        db,
        sql`WITH hours AS (
            INSERT INTO key_usage (key_id, shard, hour, outcome)
            SELECT 'key_' || n, n % 1000, ${new Date(at).toISOString()}::timestamptz, 'OK' FROM generate_series(1, ${count}::int) AS n
          )
          INSERT INTO key_sightings (key_id, shard, kind, value, first_seen_at, last_seen_at)
          SELECT 'key_' || n, n % 1000, 'ip', ${String(at)}, ${new Date(at).toISOString()}::timestamptz,
            ${new Date(at + HOUR - 1).toISOString()}::timestamptz
          FROM generate_series(1, ${count}::int) AS n`,
      )
    const counts = async () => {
      const [found] = await rows(
        db,
        sql`SELECT (SELECT count(*)::int FROM key_usage) AS hours, (SELECT count(*)::int FROM key_sightings) AS sightings`,
      )
      return found
    }
    const hour = Math.floor(now / HOUR) * HOUR
    await rowsAt(hour - 90 * DAY - HOUR, 2 * FORGET_PAGE + 7)
    await rowsAt(hour - 90 * DAY, 9)
    expect(await passes(() => forgetUsage(service.world, now))).toBe(3)
    expect(await counts()).toEqual({ hours: 9, sightings: 9 })
    await rowsAt(hour - 91 * DAY, FORGET_PAGE)
    expect(await passes(() => forgetUsage(service.world, now))).toBe(2)
    expect(await counts()).toEqual({ hours: 9, sightings: 9 })
  })
})

it('what another transaction holds is left to it, and twenty processes delete the rest', {
  timeout: 60_000,
}, async () => {
  const service = await startService('Postgres', { maxConnections: 22 })
  const { db } = service.world
  const { now } = service.clock
  const old = new Date(now - 100 * DAY).toISOString()
  await rows(
    db,
    sql`INSERT INTO key_usage (key_id, shard, hour, outcome)
      SELECT 'key_' || n, n % 1000, ${old}::timestamptz, 'OK' FROM generate_series(1, ${3 * FORGET_PAGE}::int) AS n`,
  )
  await rows(
    db,
    sql`INSERT INTO key_sightings (key_id, shard, kind, value, first_seen_at, last_seen_at)
      VALUES ('key_1', 1, 'ip', 'seen again', ${old}::timestamptz, ${old}::timestamptz)`,
  )
  await db.transaction(async (tx) => {
    await rows(
      tx,
      sql`UPDATE key_sightings SET last_seen_at = ${new Date(now).toISOString()}::timestamptz WHERE key_id = 'key_1'`,
    )
    const passes = Array.from({ length: 20 }, async () => {
      while (!(await forgetUsage(service.world, now)));
    })
    await Promise.all(passes)
    while (!(await forgetUsage(service.world, now)));
  })
  const [left] = await rows(
    db,
    sql`SELECT (SELECT count(*)::int FROM key_usage) AS hours, (SELECT count(*)::int FROM key_sightings) AS sightings`,
  )
  expect(left).toEqual({ hours: 0, sightings: 1 })
  await service.close()
})
