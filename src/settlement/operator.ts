import { sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { Network } from '../stacks/network.ts'
import { addressOf } from '../stacks/sign.ts'
import type { Chain } from './chain.ts'

/** What one router call pays, in micro-STX: about six times the node's minimum of 1 a byte. */
export const FEE_IN_MICRO_STX = 3_000

/** The account that signs and pays for router calls. */
export interface Operator {
  address: string
  privateKey: string
  /**
   * The nonce that its next transaction takes. Only a hint, remembered from the last claim of this process: `claimOrder`
   * checks it under the row's lock. An operator that is new here starts where the chain says.
   */
  expectedNonce(): Promise<number>
  /** Says what the hint is from now on; undefined when another process may have been faster. */
  expect(nonce: number | undefined): void
  /** Runs one after another what would otherwise sign for the same nonce in vain. Other processes have turns of their own. */
  inTurn<T>(work: () => Promise<T>): Promise<T>
}

export function openOperator(
  db: Database,
  chain: Chain,
  privateKey: string,
  network: Network,
): Operator {
  const address = addressOf(privateKey, network)
  const read = () =>
    rows<{ nonce: number }>(
      db,
      sql`SELECT next_nonce::float8 AS nonce FROM operators WHERE address = ${address}`,
    )
  let last: Promise<unknown> = Promise.resolve()
  let hint: number | undefined
  return {
    address,
    privateKey,
    async expectedNonce() {
      if (hint !== undefined) return hint
      const [known] = await read()
      if (known !== undefined) return known.nonce
      const first = await chain.nextNonce(address)
      await rows(
        db,
        sql`INSERT INTO operators (address, next_nonce) VALUES (${address}, ${first}::bigint) ON CONFLICT DO NOTHING`,
      )
      const [stored] = await read()
      return stored?.nonce ?? first
    },
    expect(nonce) {
      hint = nonce
    },
    inTurn(work) {
      const turn = last.then(work, work)
      last = turn.catch(() => undefined)
      return turn
    },
  }
}
