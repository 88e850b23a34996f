import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import type { Network } from '../stacks/network.ts'
import { addressOf } from '../stacks/sign.ts'
import type { Chain, Nonces } from './chain.ts'

/** Pending transactions of one account that a node accepts: MAXIMUM_MEMPOOL_TX_CHAINING. */
export const MAX_PENDING = 25

/** An account that signs and pays for router calls. */
export interface OperatorAccount {
  address: string
  privateKey: string
  /**
   * The nonce of its next transaction. A hint from the last claim of this process, which `claimOrder` checks under the
   * row's lock. Undefined for a new operator while the chain is unavailable.
   */
  expectedNonce(): Promise<number | undefined>
  /** Sets the hint; undefined when another process may have used the nonce. */
  expect(nonce: number | undefined): void
  /** Looks up the account's nonces on chain and stores them. */
  reconcile(now: number): Promise<AccountNonces | undefined>
  /** When this process last looked them up successfully. */
  reconciledAt(): number | undefined
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
  operators?: Remembered[]
}

interface Remembered {
  address: string
  nonce?: number | undefined
  reconciledAt?: number
}

export function openOperators(
  db: Database,
  chain: Chain,
  privateKeys: readonly string[],
  network: Network,
  memory: OperatorMemory = {},
): OperatorAccounts {
  memory.operators ??= privateKeys.map((privateKey) => ({
    address: addressOf(privateKey, network),
  }))
  const all = privateKeys.flatMap((privateKey, at) => {
    const own = memory.operators?.[at]
    return own === undefined ? [] : [openOperator(db, chain, privateKey, own)]
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
  chain: Chain,
  privateKey: string,
  memory: Remembered,
): OperatorAccount {
  const { address } = memory
  let last: Promise<unknown> = Promise.resolve()

  /** The stored nonce never decreases to the chain's: transactions signed here may not have reached the chain yet. */
  async function reconcile(now: number): Promise<AccountNonces | undefined> {
    const seen = await chain.nonces(address)
    if (seen === undefined) return undefined
    const at = timestamptz(now)
    const [stored] = await rows<{ nonce: number }>(
      db,
      sql`INSERT INTO operators (address, next_nonce, chain_nonce, chain_nonce_at)
        VALUES (${address}, ${seen.next}::bigint, ${seen.confirmed}::bigint, ${at})
        ON CONFLICT (address) DO UPDATE SET
          next_nonce = greatest(operators.next_nonce, excluded.next_nonce),
          chain_nonce = excluded.chain_nonce,
          chain_nonce_at = CASE WHEN operators.chain_nonce = excluded.chain_nonce
            THEN operators.chain_nonce_at ELSE excluded.chain_nonce_at END
        RETURNING next_nonce::float8 AS nonce`,
    )
    if (stored === undefined) return undefined
    memory.reconciledAt = now
    return { ...seen, nextNonce: stored.nonce }
  }

  return {
    address,
    privateKey,
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
    reconciledAt: () => memory.reconciledAt,
    exclusively(work) {
      const turn = last.then(work, work)
      last = turn.catch(() => undefined)
      return turn
    },
  }
}
