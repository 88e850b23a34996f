import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from './database.ts'
import type { Distribution } from './distribution.ts'
import { shardSql, walletShard } from './shard.ts'

/**
 * Locks a wallet's row until the transaction ends; inserts the row with the wallet's first change. Changes of one wallet
 * are serialized, so that what a later statement of the transaction counts cannot be raced. A row and not an advisory
 * lock: poolers such as Hyperdrive do not promise to carry advisory locks.
 */
export function walletLockSql(walletAddress: string): SQL {
  return sql`INSERT INTO wallets (address, shard) VALUES (${walletAddress}, ${shardSql(walletAddress)})
    ON CONFLICT ON CONSTRAINT wallets_pkey DO UPDATE SET address = excluded.address RETURNING address`
}

/** As `walletLockSql`, for changes that no signed message asks for; `consumeMessage` takes the lock for the others. */
export async function lockWallet(tx: Database, walletAddress: string): Promise<void> {
  await rows(tx, walletLockSql(walletAddress))
}

/**
 * As `lockWallet`, of several wallets, in the order of their addresses: two transactions that do so cannot deadlock. Where tables are
 * distributed, a statement locks one wallet.
 */
export async function lockWallets(
  tx: Database,
  addresses: readonly string[],
  distribution: Distribution | undefined,
): Promise<void> {
  const distinct = [...new Set(addresses)].sort()
  if (distribution !== undefined) {
    for (const address of distinct) await lockWallet(tx, address)
    return
  }
  await rows(
    tx,
    sql`INSERT INTO wallets (address, shard)
      SELECT address, shard FROM unnest(${`{${distinct.join(',')}}`}::text::text[],
        ${`{${distinct.map(walletShard).join(',')}}`}::text::int[]) AS locked (address, shard)
      ON CONFLICT ON CONSTRAINT wallets_pkey DO UPDATE SET address = excluded.address`,
  )
}

/**
 * Whether the operator has suspended a wallet. A scalar subquery with a limit looks the wallet up. EXISTS in a list of results may
 * become a hash of the whole table.
 */
export function isSuspendedSql(walletAddress: string | SQL): SQL {
  return sql`((SELECT true FROM suspended_wallets AS suspension
    WHERE suspension.wallet_address = ${walletAddress} LIMIT 1) IS TRUE)`
}
