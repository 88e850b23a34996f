import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { WINDOW_SECONDS } from '../gate/windows.ts'
import type { LimitViolation } from '../keys/limits.ts'
import { ok, type Result, refuse } from '../result.ts'
import { endedUnsettledSql } from './lifecycle.ts'

/** An amount that an order takes of what a key may spend of a token in a day. */
export interface Reservation {
  keyId: string
  uuid: string
  token: string
  amount: string
  perDay: string
  now: number
}

/**
 * Reserves an amount of the day, once for an order and a key. The caller's transaction holds it together with what it
 * is for: a refusal undoes both. The guard is on the row that counts, so any number of requests at once get the limit
 * and never a unit more. The caller has seen that the order alone is not beyond the limit.
 */
export async function reserve(
  tx: Database,
  reservation: Reservation,
): Promise<Result<null, 'limitExceeded'>> {
  const { keyId, uuid, token, amount, perDay, now } = reservation
  const day = dayOf(now)
  const [outcome] = await rows<{ fresh: boolean; reserved: boolean }>(
    tx,
    sql`WITH held AS (
        INSERT INTO key_reservations AS held (key_id, order_uuid, token, day, amount)
        VALUES (${keyId}, ${uuid}, ${token}, ${day}::int, ${amount}::numeric)
        ON CONFLICT (order_uuid, key_id) DO UPDATE SET holders = held.holders + 1
        RETURNING held.*
      ), fresh AS (SELECT * FROM held WHERE holders = 1), reserved AS (
        INSERT INTO key_spending AS spent (key_id, token, day, amount) SELECT key_id, token, day, amount FROM fresh
        ON CONFLICT (key_id, token, day) DO UPDATE SET amount = spent.amount + excluded.amount
          WHERE spent.amount + excluded.amount <= ${perDay}::numeric
        RETURNING 1
      )
      SELECT EXISTS (SELECT FROM fresh) AS fresh, EXISTS (SELECT FROM reserved) AS reserved`,
  )
  if (outcome?.fresh === false || outcome?.reserved === true) return ok(null)
  return refuse('limitExceeded', excess(reservation, await spentOf(tx, keyId, token, now)))
}

/**
 * Lets go of what a request reserved that was refused after all. An amount that nobody holds any more is given back: a
 * request whose process was killed holds on, until its order ends.
 */
export async function releaseReservation(
  db: Database,
  { keyId, uuid }: Pick<Reservation, 'keyId' | 'uuid'>,
): Promise<void> {
  await db.transaction(async (tx) => {
    const isIts = sql`key_id = ${keyId} AND order_uuid = ${uuid}`
    await rows(tx, sql`UPDATE key_reservations SET holders = holders - 1 WHERE ${isIts}`)
    await rows(
      tx,
      sql`WITH released AS (
          DELETE FROM key_reservations WHERE ${isIts} AND holders = 0 RETURNING key_id, token, day, amount
        )
        UPDATE key_spending AS spent SET amount = spent.amount - released.amount FROM released
        WHERE spent.key_id = released.key_id AND spent.token = released.token AND spent.day = released.day`,
    )
  })
}

function excess({ token, amount, perDay, now }: Reservation, spent: bigint): LimitViolation {
  const left = BigInt(perDay) - spent
  return {
    limit: 'maxAmountIn.perDay',
    token,
    value: amount,
    allowed: perDay,
    left: String(left > 0n ? left : 0n),
    resetsAt: new Date((dayOf(now) + 1) * WINDOW_SECONDS.day * 1000).toISOString(),
  }
}

/**
 * Gives back what orders had reserved that ended without being settled: cancelled, failed or expired. It is asked when a
 * reservation is refused, which is then tried once more: so the limit is exact at the moment when it matters, whoever ended
 * the orders, and even though an order expires without anybody doing anything.
 */
export async function giveBack(
  db: Database,
  { keyId, token, now }: Pick<Reservation, 'keyId' | 'token' | 'now'>,
): Promise<void> {
  await rows(
    db,
    sql`WITH released AS (
        DELETE FROM key_reservations AS reservation USING orders
        WHERE reservation.key_id = ${keyId} AND reservation.day = ${dayOf(now)}::int AND reservation.token = ${token}
          AND uuid = order_uuid AND ${endedUnsettledSql(timestamptz(now))}
        RETURNING reservation.amount
      ), total AS (SELECT sum(amount) AS amount FROM released HAVING count(*) > 0)
      UPDATE key_spending SET amount = key_spending.amount - total.amount FROM total
      WHERE key_id = ${keyId} AND token = ${token} AND day = ${dayOf(now)}::int`,
  )
}

/** What a key has spent of each token today: of orders that are open, on their way or settled. */
export async function spentToday(
  db: Database,
  keyId: string,
  now: number,
): Promise<Map<string, bigint>> {
  const found = await rows<{ token: string; amount: string }>(
    db,
    sql`SELECT token, sum(amount)::text AS amount FROM key_reservations JOIN orders ON uuid = order_uuid
      WHERE key_id = ${keyId} AND day = ${dayOf(now)}::int AND ${endedUnsettledSql(timestamptz(now))} IS NOT TRUE
      GROUP BY token`,
  )
  return new Map(found.map(({ token, amount }) => [token, BigInt(amount)]))
}

async function spentOf(tx: Database, keyId: string, token: string, now: number): Promise<bigint> {
  const [spent] = await rows<{ amount: string }>(
    tx,
    sql`SELECT amount::text AS amount FROM key_spending
      WHERE key_id = ${keyId} AND token = ${token} AND day = ${dayOf(now)}::int`,
  )
  return BigInt(spent?.amount ?? '0')
}

function dayOf(now: number): number {
  return Math.floor(now / 1000 / WINDOW_SECONDS.day)
}
