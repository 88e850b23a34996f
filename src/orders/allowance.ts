import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { insertFindings } from '../db/finding.ts'
import { type ForgetServices, forgetRows } from '../db/forget.ts'
import { shardSql } from '../db/shard.ts'
import { timestamptz } from '../db/time.ts'
import { WINDOW_SECONDS } from '../gate/windows.ts'
import type { LimitViolation } from '../keys/limits.ts'
import { ok, type Result, refuse } from '../result.ts'
import { endOpenOrders } from './end.ts'
import { hasEndedUnsettledSql, isOverdueSql } from './lifecycle.ts'
import type { OrderServices } from './services.ts'

/** The amount that an order reserves of a key's daily allowance for a token. */
export interface Reservation {
  keyId: string
  walletAddress: string
  uuid: string
  token: string
  amount: string
  perDay: string
  /** The amount of an hour that the key's owner is told of, where it is exceeded. */
  alertAbove: string | undefined
  now: number
}

/**
 * Days of which amounts are kept. Those of today count. A day is that of a request's time as its process knows it, so days around it are
 * kept for processes and for a Postgres whose clocks differ.
 */
const SPENDING_DAYS = 7

/**
 * Reserves an amount of the day's allowance, once per order and key, in the transaction of the change that it is for: a
 * refusal rolls back both. The guard is on the UPDATE of the counting row, so concurrent requests together never exceed
 * the limit. The caller has checked that the order alone is within it. A day whose rows may have been deleted has no
 * allowance: a process that stood still for days would begin it anew.
 */
export async function reserveAllowance(
  tx: Database,
  services: Pick<OrderServices, 'databaseTime'>,
  reservation: Reservation,
): Promise<Result<null, 'limitExceeded'>> {
  const { keyId, walletAddress, uuid, token, amount, perDay, alertAbove, now } = reservation
  const [day, hour] = [spendingDayOf(now), hourOf(now)]
  const at = services.databaseTime()
  const [outcome] = await rows<{ fresh: boolean; reserved: boolean }>(
    tx,
    sql`WITH held AS (
        INSERT INTO key_reservations AS held (key_id, shard, order_uuid, token, day, amount)
        VALUES (${keyId}, ${shardSql(walletAddress)}, ${uuid}, ${token}, ${day}::int, ${amount}::numeric)
        ON CONFLICT ON CONSTRAINT key_reservations_pk DO UPDATE SET holders = held.holders + 1
        RETURNING held.*
      ), fresh AS (SELECT * FROM held WHERE holders = 1), reserved AS (
        INSERT INTO key_spending AS spent (key_id, shard, token, day, amount, hour, hour_amount)
        SELECT key_id, shard, token, day, amount, ${hour}::int, amount FROM fresh WHERE day > ${oldestDaySql(at)}
        ON CONFLICT ON CONSTRAINT key_spending_pk DO UPDATE SET amount = spent.amount + excluded.amount,
          hour = greatest(spent.hour, excluded.hour), hour_amount = CASE
            WHEN spent.hour = excluded.hour THEN spent.hour_amount + excluded.amount
            WHEN spent.hour > excluded.hour THEN spent.hour_amount ELSE excluded.amount END
          WHERE spent.amount + excluded.amount <= ${perDay}::numeric
        RETURNING hour, hour_amount
      )${alertAbove === undefined ? sql`` : exceedingSql(reservation, alertAbove, hour)}
      SELECT EXISTS (SELECT FROM fresh) AS fresh, EXISTS (SELECT FROM reserved) AS reserved`,
  )
  if (outcome?.fresh === false || outcome?.reserved === true) return ok(null)
  return refuse('limitExceeded', perDayViolation(reservation, await spentOf(tx, reservation)))
}

/** The part of the statement that finds an hour in which more was reserved than the key's owner wants to hear of. */
function exceedingSql(
  { keyId, walletAddress, token, now }: Reservation,
  above: string,
  hour: number,
): SQL {
  const subject = `${token} ${new Date(hour * WINDOW_SECONDS.hour * 1000).toISOString()}`
  return sql`, exceeding AS (
      SELECT ${keyId} AS key_id, ${shardSql(walletAddress)} AS shard, ${walletAddress} AS wallet_address, 'spendPerHour' AS rule,
        ${subject} AS subject, ${timestamptz(now)} AS at,
        jsonb_build_object('token', ${token}::text, 'above', ${above}::text, 'spent', hour_amount::text) AS details
      FROM reserved WHERE hour = ${hour}::int AND hour_amount > ${above}::numeric
    ), found AS (${insertFindings(sql`exceeding`, (table) => sql` AND ${sql.raw(table)}.shard = ${shardSql(walletAddress)}`)})`
}

/**
 * Releases the reservation of a request that was refused after all. The amount is returned to the allowance once no
 * request relies on it; a request whose process was killed relies on it until its order ends.
 */
export async function releaseReservation(
  db: Database,
  { keyId, walletAddress, uuid }: Pick<Reservation, 'keyId' | 'walletAddress' | 'uuid'>,
): Promise<void> {
  await db.transaction(async (tx) => {
    const shard = shardSql(walletAddress)
    const isOwn = sql`key_id = ${keyId} AND shard = ${shard} AND order_uuid = ${uuid}`
    await rows(tx, sql`UPDATE key_reservations SET holders = holders - 1 WHERE ${isOwn}`)
    await rows(
      tx,
      sql`WITH released AS (
          DELETE FROM key_reservations WHERE ${isOwn} AND holders = 0 RETURNING key_id, token, day, amount
        )
        UPDATE key_spending AS spent SET amount = spent.amount - released.amount FROM released
        WHERE spent.key_id = released.key_id AND spent.shard = ${shard} AND spent.token = released.token AND spent.day = released.day`,
    )
  })
}

function perDayViolation(
  { token, amount, perDay, now }: Reservation,
  spent: bigint,
): LimitViolation {
  const left = BigInt(perDay) - spent
  return {
    limit: 'maxAmountIn.perDay',
    token,
    value: amount,
    allowed: perDay,
    left: String(left > 0n ? left : 0n),
    resetsAt: new Date((spendingDayOf(now) + 1) * WINDOW_SECONDS.day * 1000).toISOString(),
  }
}

/**
 * Returns to the allowance what orders have reserved that ended without being settled. It runs when a reservation is
 * refused, which is then tried once more. Orders end in many places; reclaiming here keeps the limit exact whatever ended
 * them. Orders past their validTo are stored as expired first, which an executor that holds one prevents: what is released
 * has ended for every process.
 */
export async function reclaimEnded(
  services: Pick<OrderServices, 'db' | 'mac' | 'databaseTime'>,
  {
    keyId,
    walletAddress,
    token,
    now,
  }: Pick<Reservation, 'keyId' | 'walletAddress' | 'token' | 'now'>,
): Promise<void> {
  const { db, databaseTime } = services
  const shard = shardSql(walletAddress)
  const reserved = sql`uuid IN (SELECT order_uuid FROM key_reservations
    WHERE key_id = ${keyId} AND key_reservations.shard = ${shard} AND day = ${spendingDayOf(now)}::int AND token = ${token})`
  await db.transaction((tx) =>
    endOpenOrders(tx, services, 'expired', sql`${isOverdueSql(databaseTime())} AND ${reserved}`, {
      shard,
      whenLocked: 'wait',
    }),
  )
  await rows(
    db,
    sql`WITH released AS (
        DELETE FROM key_reservations AS reservation USING orders
        WHERE reservation.key_id = ${keyId} AND reservation.shard = ${shard} AND orders.shard = ${shard} AND reservation.day = ${spendingDayOf(now)}::int AND reservation.token = ${token}
          AND uuid = order_uuid AND ${hasEndedUnsettledSql()}
        RETURNING reservation.amount
      ), total AS (SELECT sum(amount) AS amount FROM released HAVING count(*) > 0)
      UPDATE key_spending SET amount = key_spending.amount - total.amount FROM total
      WHERE key_id = ${keyId} AND shard = ${shard} AND token = ${token} AND day = ${spendingDayOf(now)}::int`,
  )
}

/** The amount of each token that a key has reserved today for orders that are open, executing or settled. */
export async function spentToday(
  db: Database,
  { keyId, walletAddress }: Pick<Reservation, 'keyId' | 'walletAddress'>,
  now: number,
): Promise<Map<string, bigint>> {
  const at = timestamptz(now)
  const shard = shardSql(walletAddress)
  const found = await rows<{ token: string; amount: string }>(
    db,
    sql`SELECT token, sum(amount)::text AS amount FROM key_reservations JOIN orders ON uuid = order_uuid AND orders.shard = ${shard}
      WHERE key_id = ${keyId} AND key_reservations.shard = ${shard} AND day = ${spendingDayOf(now)}::int AND (${hasEndedUnsettledSql()} OR ${isOverdueSql(at)}) IS NOT TRUE
      GROUP BY token`,
  )
  return new Map(found.map(({ token, amount }) => [token, BigInt(amount)]))
}

async function spentOf(
  tx: Database,
  { keyId, walletAddress, token, now }: Reservation,
): Promise<bigint> {
  const [spent] = await rows<{ amount: string }>(
    tx,
    sql`SELECT amount::text AS amount FROM key_spending
      WHERE key_id = ${keyId} AND shard = ${shardSql(walletAddress)} AND token = ${token} AND day = ${spendingDayOf(now)}::int`,
  )
  return BigInt(spent?.amount ?? '0')
}

/**
 * Deletes a page of the amounts of days that count no more. Reservations stay with their orders; what one of such a day releases is
 * released of nothing. Resolves to whether no more are left.
 */
export function forgetSpending(
  services: ForgetServices & Pick<OrderServices, 'databaseTime'>,
  now: number,
): Promise<boolean> {
  return forgetRows(services, {
    table: 'key_spending',
    key: { key_id: 'text', token: 'text', day: 'int' },
    by: sql`day`,
    isOver: sql`day < ${spendingDayOf(now) - SPENDING_DAYS}::int`,
    // Whatever this process takes the time to be.
    guard: sql`day < ${oldestDaySql(services.databaseTime())}`,
  })
}

/** The last of the days that are kept, by Postgres' clock. A day later than this one has every amount that was reserved in it. */
function oldestDaySql(at: SQL): SQL {
  return sql`floor(extract(epoch FROM ${at}) / ${WINDOW_SECONDS.day}::int)::int - ${SPENDING_DAYS}::int`
}

function hourOf(now: number): number {
  return Math.floor(now / 1000 / WINDOW_SECONDS.hour)
}

/** The UTC day that amounts are counted in: days since 1970. */
export function spendingDayOf(now: number): number {
  return Math.floor(now / 1000 / WINDOW_SECONDS.day)
}
