import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { Chain } from '../settlement/chain.ts'
import { swapAccountOf } from '../stacks/committed.ts'
import type { Router } from '../stacks/router.ts'

/** What an account holds, in its smallest units. */
export interface AccountBalance {
  account: string
  role: 'operator' | 'router' | 'swap account'
  microStx: string
  /** Of an operator: transactions that the chain waits for. */
  pending?: number
  /** By token contract, as asked for. */
  tokens: Record<string, string>
}

export interface BalanceServices {
  db: Database
  chain: Chain | undefined
  operators: { all: readonly { address: string }[] }
  config: { ROUTERS: readonly Router[] }
}

/** Reads what operators and routers hold from the chain; undefined when the chain did not respond. */
export async function readAccountBalances(
  { db, chain, operators, config }: BalanceServices,
  tokens: readonly string[],
): Promise<AccountBalance[] | undefined> {
  if (chain === undefined) return undefined
  const pending = await pendingOf(db)
  const accounts: Omit<AccountBalance, 'microStx' | 'tokens'>[] = [
    ...operators.all.map(({ address: account }) => ({
      account,
      role: 'operator' as const,
      pending: pending.get(account) ?? 0,
    })),
    ...config.ROUTERS.flatMap(({ contract, commits }) => [
      { account: contract, role: 'router' as const },
      ...(commits ? [{ account: swapAccountOf(contract), role: 'swap account' as const }] : []),
    ]),
  ]
  const balances: AccountBalance[] = []
  // One after another: public APIs have rate limits.
  for (const one of accounts) {
    const held = await chain.account(one.account)
    if (held === undefined) return undefined
    const ofTokens: Record<string, string> = {}
    for (const token of tokens) {
      const amount = await chain.tokenBalance(token, one.account)
      if (amount === undefined) return undefined
      ofTokens[token] = String(amount)
    }
    balances.push({ ...one, microStx: String(held.balance), tokens: ofTokens })
  }
  return balances
}

async function pendingOf(db: Database): Promise<Map<string, number>> {
  const found = await rows<{ address: string; pending: number }>(
    db,
    sql`SELECT address, greatest(next_nonce - chain_nonce, 0)::float8 AS pending FROM operators`,
  )
  return new Map(found.map(({ address, pending }) => [address, pending]))
}
