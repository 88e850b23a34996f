import { sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import { later } from '../db/time.ts'
import { spendable } from './operator.ts'
import type { SettlementServices } from './services.ts'

/** An account is asked for no more often than this, however few there are. */
const MIN_PERIOD_MS = 15_000
const MINUTE_MS = 60_000
/** Parts of a minute's requests that a pass may make: they are spread, and not sent at once. */
const PASSES_PER_MINUTE = 30

type BalanceServices = Pick<SettlementServices, 'config' | 'db' | 'databaseTime' | 'chain'>

/**
 * Looks up the balances that are due, oldest first. All processes together, with look-ups of other causes, ask for no more than
 * `BALANCE_REQUESTS_PER_MINUTE`: what was asked for within the last minute is counted in the table.
 */
export async function watchBalances(services: BalanceServices): Promise<void> {
  for (const address of await takeTurns(services)) await lookUpBalance(services, address)
}

async function takeTurns({ config, db, databaseTime }: BalanceServices): Promise<string[]> {
  const { BALANCE_REQUESTS_PER_MINUTE: limit } = config
  if (limit === 0) return []
  const at = databaseTime()
  const perPass = Math.ceil(limit / PASSES_PER_MINUTE)
  const taken = await rows<{ address: string }>(
    db,
    sql`WITH size AS (
        SELECT count(*) FILTER (WHERE balance_at > ${later(at, -MINUTE_MS)}) AS asked, ${at}
          + greatest(${MIN_PERIOD_MS}::float8, count(*) * ${MINUTE_MS / limit}::float8) * interval '1 millisecond' AS next_at
        FROM operators
      ), due AS (
        SELECT address FROM operators
        WHERE balance_due_at IS NULL OR balance_due_at <= ${at}
        ORDER BY balance_at NULLS FIRST, address
        LIMIT greatest(0, least(${perPass}::int, ${limit}::int - (SELECT asked FROM size)))
        FOR UPDATE SKIP LOCKED
      )
      UPDATE operators SET balance_due_at = next_at FROM due, size WHERE operators.address = due.address RETURNING operators.address`,
  )
  return taken.map(({ address }) => address)
}

/** Stores what an account can spend: what the chain has, less what is pending. One request. */
async function lookUpBalance(
  { chain, db, databaseTime }: BalanceServices,
  address: string,
): Promise<void> {
  const askedAt = await rows<{ at: string }>(db, sql`SELECT ${databaseTime()}::text AS at`)
  const account = await chain.account(address)
  if (account === undefined) return
  const balance = await spendable(db, address, account.balance, account.nonce)
  await rows(
    db,
    sql`UPDATE operators SET balance = ${balance}::bigint, balance_at = ${askedAt[0]?.at ?? null}::timestamptz
      WHERE address = ${address}`,
  )
}
