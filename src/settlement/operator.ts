import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { DatabaseClock } from '../db/time.ts'
import type { Network } from '../stacks/network.ts'
import { addressOf, nobleSign, type SignDigest } from '../stacks/sign.ts'
import type { Chain, Nonces } from './chain.ts'

/** Pending transactions of one account that a node accepts: MAXIMUM_MEMPOOL_TX_CHAINING. */
export const MAX_PENDING = 25

/** An account that signs and pays for router calls. */
export interface OperatorAccount {
  address: string
  privateKey: string
  /** The engine that signs its swaps. */
  signDigest: SignDigest
  /**
   * The nonce of its next transaction. A hint from the last claim of this process, which `claimOrder` checks under the
   * row's lock. Undefined for a new operator while the chain is unavailable.
   */
  expectedNonce(): Promise<number | undefined>
  /** Sets the hint; undefined when another process may have used the nonce. */
  expect(nonce: number | undefined): void
  /** Looks up the account's nonces on chain and stores them. */
  reconcile(): Promise<AccountNonces | undefined>
  /** Passes of the reconciler since this process last looked them up successfully; undefined before the first time. */
  passesSinceReconciled(): number | undefined
  countPass(): void
  /** Whether the account can pay a fee, by a look-up of at most `BALANCE_MAX_AGE_MS` ago; undefined when it failed. */
  canPay(feeInMicroStx: number, now: number): Promise<boolean | undefined>
  /** Serializes work within this process that would otherwise sign for the same nonce in vain. */
  exclusively<T>(work: () => Promise<T>): Promise<T>
}

/** An operator's nonces, on chain and in the database. */
export interface AccountNonces extends Nonces {
  /** The nonce of its next transaction in the database. */
  nextNonce: number
}

export interface OperatorAccounts {
  all: readonly OperatorAccount[]
  /** All of them, starting with another one each time. */
  roundRobin(): OperatorAccount[]
}

/** State that outlives a request. Workers open the accounts for every request, each on its own database session. */
export interface OperatorMemory {
  turn?: number
  operators?: AccountMemory[]
}

interface AccountMemory {
  address: string
  nonce?: number | undefined
  passes?: number
  balance?: { amount: bigint; readAt: number }
}

/** Transactions that are pending at the same time pay from one balance. */
const BALANCE_MAX_AGE_MS = 15_000

export function openOperators(
  db: Database,
  databaseTime: DatabaseClock,
  chain: Chain,
  privateKeys: readonly string[],
  network: Network,
  memory: OperatorMemory = {},
  signDigest: SignDigest = nobleSign,
): OperatorAccounts {
  memory.operators ??= privateKeys.map((privateKey) => ({
    address: addressOf(privateKey, network),
  }))
  const all = privateKeys.flatMap((privateKey, at) => {
    const own = memory.operators?.[at]
    return own === undefined
      ? []
      : [openOperator(db, databaseTime, chain, privateKey, own, signDigest)]
  })
  return {
    all,
    roundRobin() {
      memory.turn = ((memory.turn ?? -1) + 1) % all.length
      return [...all.slice(memory.turn), ...all.slice(0, memory.turn)]
    },
  }
}

function openOperator(
  db: Database,
  databaseTime: DatabaseClock,
  chain: Chain,
  privateKey: string,
  memory: AccountMemory,
  signDigest: SignDigest,
): OperatorAccount {
  const { address } = memory
  let last: Promise<unknown> = Promise.resolve()

  /** The stored nonce never decreases to the chain's: transactions signed here may not have reached the chain yet. */
  async function reconcile(): Promise<AccountNonces | undefined> {
    const seen = await chain.nonces(address)
    if (seen === undefined) return undefined
    const [stored] = await rows<{ nonce: number }>(
      db,
      sql`INSERT INTO operators (address, next_nonce, chain_nonce, chain_nonce_at)
        VALUES (${address}, ${seen.next}::bigint, ${seen.confirmed}::bigint, ${databaseTime()})
        ON CONFLICT (address) DO UPDATE SET
          next_nonce = greatest(operators.next_nonce, excluded.next_nonce),
          chain_nonce = excluded.chain_nonce,
          chain_nonce_at = CASE WHEN operators.chain_nonce = excluded.chain_nonce
            THEN operators.chain_nonce_at ELSE excluded.chain_nonce_at END
        RETURNING next_nonce::float8 AS nonce`,
    )
    if (stored === undefined) return undefined
    memory.passes = 0
    return { ...seen, nextNonce: stored.nonce }
  }

  return {
    address,
    privateKey,
    signDigest,
    async expectedNonce() {
      if (memory.nonce !== undefined) return memory.nonce
      const [known] = await rows<{ nonce: number }>(
        db,
        sql`SELECT next_nonce::float8 AS nonce FROM operators WHERE address = ${address}`,
      )
      return known?.nonce
    },
    expect(nonce) {
      memory.nonce = nonce
    },
    reconcile,
    passesSinceReconciled: () => memory.passes,
    countPass() {
      if (memory.passes !== undefined) memory.passes += 1
    },
    async canPay(feeInMicroStx, now) {
      const known = memory.balance
      if (known === undefined || now - known.readAt > BALANCE_MAX_AGE_MS) {
        const account = await chain.account(address)
        if (account === undefined) return undefined
        memory.balance = { amount: account.balance, readAt: now }
      }
      return (memory.balance?.amount ?? 0n) >= BigInt(feeInMicroStx)
    },
    exclusively(work) {
      const turn = last.then(work, work)
      last = turn.catch(() => undefined)
      return turn
    },
  }
}
