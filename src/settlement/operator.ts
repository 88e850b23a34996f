import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import { timestamptz } from '../db/time.ts'
import type { Network } from '../stacks/network.ts'
import { addressOf } from '../stacks/sign.ts'
import type { Chain, Nonces } from './chain.ts'

/** The node takes no more from one account: MAXIMUM_MEMPOOL_TX_CHAINING. */
export const MAX_PENDING = 25

/** An account that signs and pays for router calls. */
export interface OperatorAccount {
  address: string
  privateKey: string
  /**
   * The nonce that its next transaction takes. Only a hint, remembered from the last claim of this process: `claimOrder`
   * checks it under the row's lock. Undefined for an operator that is new here while the chain cannot be asked.
   */
  expectedNonce(): Promise<number | undefined>
  /** Says what the hint is from now on; undefined when another process may have been faster. */
  expect(nonce: number | undefined): void
  /** Asks the chain where the account stands, and stores it: what it says is pending, and where the next nonce is. */
  reconcile(now: number): Promise<AccountNonces | undefined>
  /** When this process asked the chain last, and was answered. */
  reconciledAt(): number | undefined
  /** Runs one after another what would otherwise sign for the same nonce in vain. Other processes have turns of their own. */
  exclusively<T>(work: () => Promise<T>): Promise<T>
}

/** Where an operator stands, here and on the chain. */
export interface AccountNonces extends Nonces {
  /** The nonce of its next transaction, here. */
  nextNonce: number
}

export interface OperatorAccounts {
  all: readonly OperatorAccount[]
  /** All of them, each time another one first. */
  roundRobin(): OperatorAccount[]
}

/** What operators know from one request to the next. Workers open them for every request, on a database session of its own. */
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

  /** The nonce never goes back to what the chain says: what is signed here may not have reached it yet. */
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
