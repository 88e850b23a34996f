import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import { WINDOW_SECONDS } from '../gate/windows.ts'
import { isUnendedSql } from '../keys/liveness-sql.ts'

/** How much there is of everything. */
export interface Statistics {
  keys: { all: number; live: number; suspended: number; wallets: number }
  suspendedWallets: number
  /** Requests with a key: of the UTC day, and ever. */
  requests: { today: number; total: number }
  orders: Record<string, number>
  /** Transactions that are followed, by kind and status. */
  transactions: Record<string, number>
}

const DAY_MS = WINDOW_SECONDS.day * 1_000

/** Counts rows. Each count is a scan: for a person now and then, not for a probe. */
export async function readStatistics({
  db,
  now,
}: {
  db: Database
  now(): number
}): Promise<Statistics> {
  const at = timestamptz(now())
  const [keys] = await rows<Statistics['keys']>(
    db,
    sql`SELECT count(*)::float8 AS "all", count(DISTINCT wallet_address)::float8 AS wallets,
        count(*) FILTER (WHERE ${isUnendedSql(at)} AND suspended_at IS NULL)::float8 AS live,
        count(*) FILTER (WHERE ${isUnendedSql(at)} AND suspended_at IS NOT NULL)::float8 AS suspended
      FROM api_keys`,
  )
  const [requests] = await rows<Statistics['requests']>(
    db,
    sql`SELECT coalesce(sum(total_requests), 0)::float8 AS total,
        coalesce(sum(day_count) FILTER (WHERE day_window = ${Math.floor(now() / DAY_MS)}::int), 0)::float8 AS today
      FROM key_counters`,
  )
  const [suspended] = await rows<{ wallets: number }>(
    db,
    sql`SELECT count(*)::float8 AS wallets FROM suspended_wallets`,
  )
  const orders = await rows<Counted>(
    db,
    sql`SELECT status AS name, count(*)::float8 AS count FROM orders GROUP BY status ORDER BY status`,
  )
  const transactions = await rows<Counted>(
    db,
    sql`SELECT kind || ' ' || status AS name, count(*)::float8 AS count FROM transactions
      WHERE check_at IS NOT NULL GROUP BY 1 ORDER BY 1`,
  )
  return {
    keys: keys ?? { all: 0, live: 0, suspended: 0, wallets: 0 },
    suspendedWallets: suspended?.wallets ?? 0,
    requests: requests ?? { today: 0, total: 0 },
    orders: byName(orders),
    transactions: byName(transactions),
  }
}

interface Counted {
  name: string
  count: number
}

function byName(counted: readonly Counted[]): Record<string, number> {
  return Object.fromEntries(counted.map(({ name, count }) => [name, count]))
}
