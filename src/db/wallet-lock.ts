import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from './database.ts'

/** Waits for a wallet's row and holds it until the transaction ends; the row is made if it is the wallet's first change. */
export function walletLockSql(walletAddress: string): SQL {
  return sql`INSERT INTO wallets (address) VALUES (${walletAddress})
    ON CONFLICT (address) DO UPDATE SET address = excluded.address RETURNING address`
}

/** The lock that `consumeMessage` takes, for changes that no signed message asks for. */
export async function lockWallet(tx: Database, walletAddress: string): Promise<void> {
  await rows(tx, walletLockSql(walletAddress))
}
