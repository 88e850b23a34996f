import { type SQL, sql } from 'drizzle-orm'

/** Waits for a wallet's row and holds it until the transaction ends; the row is made if it is the wallet's first change. */
export function lockOf(walletAddress: string): SQL {
  return sql`INSERT INTO wallets (address) VALUES (${walletAddress})
    ON CONFLICT (address) DO UPDATE SET address = excluded.address RETURNING address`
}
