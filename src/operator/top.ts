import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { WINDOW_SECONDS } from '../gate/windows.ts'

interface Traffic {
  /** Requests in the current UTC minute, hour and day, refusals included that the key's limits count. */
  minute: number
  hour: number
  day: number
}

export interface BusyKey extends Traffic {
  keyId: string
  keyPreview: string
  name: string
  walletAddress: string
}

export interface BusyWallet extends Traffic {
  walletAddress: string
  keys: number
}

/** The busiest keys and wallets of the day, busiest in this minute first. */
export interface Top {
  at: number
  keys: BusyKey[]
  wallets: BusyWallet[]
}

/** Reads the exact counters, those that admit requests. It scans the keys that were used today. */
export async function readTop(
  { db, now }: { db: Database; now(): number },
  limit: number,
): Promise<Top> {
  const at = now()
  const windowOf = (name: keyof typeof WINDOW_SECONDS) =>
    sql`${Math.floor(at / (WINDOW_SECONDS[name] * 1_000))}::int`
  const inWindow = (name: keyof typeof WINDOW_SECONDS) => {
    const [count, window] = [sql.raw(`c.${name}_count`), sql.raw(`c.${name}_window`)]
    return sql`CASE WHEN ${window} = ${windowOf(name)} THEN ${count} ELSE 0 END`
  }
  const used = sql`SELECT k.id, k.key_preview, k.name, k.wallet_address,
      ${inWindow('minute')} AS minute, ${inWindow('hour')} AS hour, ${inWindow('day')} AS day
    FROM key_counters c JOIN api_keys k ON k.id = c.key_id
    WHERE c.day_window = ${windowOf('day')}`
  const keys = await rows<BusyKey>(
    db,
    sql`SELECT id AS "keyId", key_preview AS "keyPreview", name, wallet_address AS "walletAddress", minute, hour, day
      FROM (${used}) AS used ORDER BY minute DESC, hour DESC, day DESC, id LIMIT ${limit}::int`,
  )
  const wallets = await rows<BusyWallet>(
    db,
    sql`SELECT wallet_address AS "walletAddress", count(*)::float8 AS keys, sum(minute)::float8 AS minute,
        sum(hour)::float8 AS hour, sum(day)::float8 AS day
      FROM (${used}) AS used GROUP BY wallet_address
      ORDER BY sum(minute) DESC, sum(hour) DESC, sum(day) DESC, wallet_address LIMIT ${limit}::int`,
  )
  return { at, keys, wallets }
}
