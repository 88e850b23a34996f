import { type SQL, sql } from 'drizzle-orm'
import { type Database, rows } from '../db/database.ts'
import type { DatabaseClock } from '../db/time.ts'
import type { Log } from '../log.ts'
import { ok, type Result, refuse } from '../result.ts'
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
  /** Looks up the account's nonces and its balance on chain and stores them. */
  reconcile(): Promise<AccountNonces | undefined>
  /** Passes of the reconciler since this process last looked them up successfully; undefined before the first time. */
  passesSinceReconciled(): number | undefined
  countPass(): void
  /** What the database last said of the account; undefined before it has a row. */
  state(): OperatorState | undefined
  /** Serializes work within this process that would otherwise sign for the same nonce in vain. */
  exclusively<T>(work: () => Promise<T>): Promise<T>
}

/** An operator's nonces, on chain and in the database. */
export interface AccountNonces extends Nonces {
  /** The nonce of its next transaction in the database. */
  nextNonce: number
}

/** An operator's row. */
export interface OperatorState {
  nextNonce: number
  chainNonce: number
  /** Micro-STX, less what pending transactions pay; null before the first look-up. */
  balance: number | null
  isRetired: boolean
}

/** What a claim needs of an operator. */
export interface OperatorNeed {
  feeInMicroStx: number
  /** The only operator that may execute the order; null or absent where any may. */
  by?: string | null | undefined
  now: number
}

/** Why no operator can take a claim. The strongest reason of those that are not retired. */
export type OperatorRefusal = 'operator_busy' | 'operator_funds' | 'operator_retired'

export interface OperatorAccounts {
  all: readonly OperatorAccount[]
  find(address: string): OperatorAccount | undefined
  /** Those that are not retired, as far as this process knows. */
  active(): readonly OperatorAccount[]
  /**
   * An operator that has room and can pay, another one each time. It is chosen from memory; what is in memory only decides which claims
   * are tried, because a claim checks the row. Before it refuses, it reads the rows once, and asks the chain about one operator.
   */
  choose(need: OperatorNeed): Promise<Result<OperatorAccount, OperatorRefusal>>
  /** Reads the operators' rows: one statement. */
  read(): Promise<void>
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
  state?: OperatorState | undefined
  /** When the chain was last asked about it, by the service's clock. */
  lookedUpAt?: number
  /** What was last reported of its balance. */
  funds?: Funds
}

/** `none`: it cannot pay the fee of a claim. */
type Funds = 'none' | 'low' | 'enough'

/** An account without funds is asked for again after this time. */
const BALANCE_MAX_AGE_MS = 15_000

export interface OpenOperatorsOptions {
  db: Database
  databaseTime: DatabaseClock
  chain: Chain
  privateKeys: readonly string[]
  network: Network
  memory?: OperatorMemory
  signDigest?: SignDigest | undefined
  log: Log
  /** Below this an account is reported as low, in micro-STX. */
  lowBalanceInMicroStx: number
}

export function openOperators({
  db,
  databaseTime,
  chain,
  privateKeys,
  network,
  memory = {},
  signDigest = nobleSign,
  log,
  lowBalanceInMicroStx,
}: OpenOperatorsOptions): OperatorAccounts {
  memory.operators ??= privateKeys.map((privateKey) => ({
    address: addressOf(privateKey, network),
  }))
  const known = memory.operators
  const all = privateKeys.flatMap((privateKey, at) => {
    const own = known[at]
    return own === undefined
      ? []
      : [openOperator({ db, databaseTime, chain }, privateKey, own, signDigest)]
  })
  const byAddress = new Map(all.map((one) => [one.address, one]))
  const memoryOf = new Map(known.map((one) => [one.address, one]))

  async function read(): Promise<void> {
    const found = await readOperators(
      db,
      sql`address = ANY (${`{${[...byAddress.keys()].join(',')}}`}::text::text[])`,
    )
    const states = new Map(found.map(({ address, ...state }) => [address, state]))
    for (const one of known) {
      one.state = states.get(one.address)
      report(one)
    }
  }

  let feeInMicroStx = 0

  /** Logs when what an account has becomes too little, or enough again. */
  function report(one: AccountMemory): void {
    const { balance = null, isRetired = false } = one.state ?? {}
    if (balance === null || isRetired) return
    const funds: Funds =
      balance < feeInMicroStx ? 'none' : balance < lowBalanceInMicroStx ? 'low' : 'enough'
    if (funds === (one.funds ?? 'enough')) return
    one.funds = funds
    const fields = { operator: one.address, balanceInMicroStx: balance }
    if (funds === 'none') log('error', 'operator_has_no_funds', { ...fields, feeInMicroStx })
    else if (funds === 'low') log('warn', 'operator_funds_low', { ...fields, lowBalanceInMicroStx })
    else log('info', 'operator_has_funds', fields)
  }

  function candidates({ by }: OperatorNeed): readonly OperatorAccount[] {
    if (by == null) return all
    const one = byAddress.get(by)
    return one === undefined ? [] : [one]
  }

  function nextFit(need: OperatorNeed): OperatorAccount | undefined {
    const some = candidates(need)
    for (let tried = 0; tried < some.length; tried++) {
      memory.turn = ((memory.turn ?? -1) + 1) % some.length
      const one = some[memory.turn]
      if (one !== undefined && standingOf(one.state(), need) === 'fit') return one
    }
    return undefined
  }

  /** Asks the chain about the one operator whose state is the most likely to have changed. */
  async function lookUpOne(need: OperatorNeed): Promise<void> {
    const ages = (one: OperatorAccount) => memoryOf.get(one.address)?.lookedUpAt ?? 0
    const byStanding = Map.groupBy(candidates(need), (one) => standingOf(one.state(), need))
    const poor = byStanding.get('poor')?.filter((one) => need.now - ages(one) > BALANCE_MAX_AGE_MS)
    const some = byStanding.get('unknown') ?? byStanding.get('full') ?? poor ?? []
    const [oldest] = some.toSorted((a, b) => ages(a) - ages(b))
    if (oldest === undefined) return
    const own = memoryOf.get(oldest.address)
    if (own !== undefined) own.lookedUpAt = need.now
    await oldest.reconcile()
    if (own !== undefined) report(own)
  }

  return {
    all,
    find: (address) => byAddress.get(address),
    active: () => all.filter((one) => one.state()?.isRetired !== true),
    read,
    async choose(need) {
      const first = nextFit(need)
      if (first !== undefined) return ok(first)
      feeInMicroStx = need.feeInMicroStx
      await read()
      const second = nextFit(need)
      if (second !== undefined) return ok(second)
      await lookUpOne(need)
      const third = nextFit(need)
      return third === undefined ? refuse(refusalOf(candidates(need), need)) : ok(third)
    },
  }
}

/** Whether an operator could take a claim, by its row; `unknown` before the chain was asked about it. */
type Standing = 'fit' | 'unknown' | 'full' | 'poor' | 'retired'

function standingOf(
  state: OperatorState | undefined,
  { feeInMicroStx }: Pick<OperatorNeed, 'feeInMicroStx'>,
): Standing {
  if (state === undefined) return 'unknown'
  if (state.isRetired) return 'retired'
  if (state.balance === null) return 'unknown'
  if (state.balance < feeInMicroStx) return 'poor'
  return state.nextNonce < state.chainNonce + MAX_PENDING ? 'fit' : 'full'
}

function refusalOf(some: readonly OperatorAccount[], need: OperatorNeed): OperatorRefusal {
  const standings = new Set(some.map((one) => standingOf(one.state(), need)))
  if (standings.has('full') || standings.has('unknown')) return 'operator_busy'
  return standings.has('poor') ? 'operator_funds' : 'operator_retired'
}

/** The condition on a row of operators that a claim takes effect with: its nonce is next, it has room, can pay and is not retired. */
export function canClaimSql(address: string, nonce: number, feeInMicroStx: number): SQL {
  return sql`address = ${address} AND next_nonce = ${nonce}::bigint
    AND next_nonce < chain_nonce + ${MAX_PENDING}::bigint AND retired_at IS NULL
    AND (balance IS NULL OR balance >= ${feeInMicroStx}::bigint)`
}

/** Whether a row of operators can take no claim, whatever its nonce is. */
export function isUnusableSql(feeInMicroStx: number): SQL {
  return sql`(next_nonce >= chain_nonce + ${MAX_PENDING}::bigint OR retired_at IS NOT NULL
    OR coalesce(balance < ${feeInMicroStx}::bigint, false))`
}

/** The assignments that use an operator's next nonce for a transaction that pays a fee. */
export function useNonceSql(paidInMicroStx: number): SQL {
  return sql`next_nonce = next_nonce + 1, balance = balance - ${paidInMicroStx}::bigint`
}

/** Reads rows of operators. */
export function readOperators(
  db: Database,
  which: SQL,
): Promise<(OperatorState & { address: string })[]> {
  return rows(
    db,
    sql`SELECT address, next_nonce::float8 AS "nextNonce", chain_nonce::float8 AS "chainNonce",
        balance::float8 AS balance, retired_at IS NOT NULL AS "isRetired"
      FROM operators WHERE ${which} ORDER BY address`,
  )
}

/**
 * What an account can still spend: what the chain has, less what its pending transactions pay. `chainNonce`: the next one that the
 * chain mines. A statement of its own: a distributed database takes no subquery of such a table where it writes a reference table.
 */
export async function spendable(
  db: Database,
  address: string,
  balance: bigint,
  chainNonce: number,
): Promise<number> {
  const [pending] = await rows<{ cost: number }>(
    db,
    sql`SELECT coalesce(sum(fee_in_micro_stx + coalesce(amount_in_micro_stx, 0)), 0)::float8 AS cost FROM transactions
      WHERE operator = ${address} AND nonce >= ${chainNonce}::bigint AND status IN ('signed', 'accepted')`,
  )
  // A node may name any 128 bits; all STX that there are, in micro-STX, are a fifth of the largest safe integer.
  return Math.max(0, Math.min(Number(balance), Number.MAX_SAFE_INTEGER) - (pending?.cost ?? 0))
}

type AccountServices = Pick<OpenOperatorsOptions, 'db' | 'databaseTime' | 'chain'>

/**
 * Looks up an account's nonces and its balance on chain and stores them. The stored nonce never decreases to the chain's: transactions
 * signed here may not have reached the chain yet.
 */
export async function lookUpAccount(
  { db, databaseTime, chain }: AccountServices,
  address: string,
): Promise<(AccountNonces & { state: OperatorState }) | undefined> {
  const seen = await chain.nonces(address)
  if (seen === undefined) return undefined
  const at = databaseTime()
  const balance = await spendable(db, address, seen.balance, seen.confirmed)
  const [stored] = await rows<OperatorState>(
    db,
    sql`INSERT INTO operators (address, next_nonce, chain_nonce, chain_nonce_at, balance, balance_at)
      VALUES (${address}, ${seen.next}::bigint, ${seen.confirmed}::bigint, ${at}, ${balance}::bigint, ${at})
      ON CONFLICT (address) DO UPDATE SET
        next_nonce = greatest(operators.next_nonce, excluded.next_nonce),
        chain_nonce = excluded.chain_nonce,
        chain_nonce_at = CASE WHEN operators.chain_nonce = excluded.chain_nonce
          THEN operators.chain_nonce_at ELSE excluded.chain_nonce_at END,
        balance = excluded.balance, balance_at = excluded.balance_at
      RETURNING next_nonce::float8 AS "nextNonce", chain_nonce::float8 AS "chainNonce",
        balance::float8 AS balance, retired_at IS NOT NULL AS "isRetired"`,
  )
  return stored === undefined ? undefined : { ...seen, nextNonce: stored.nextNonce, state: stored }
}

function openOperator(
  services: AccountServices,
  privateKey: string,
  memory: AccountMemory,
  signDigest: SignDigest,
): OperatorAccount {
  const { address } = memory
  let last: Promise<unknown> = Promise.resolve()
  /** Executes that find no room at the same moment share one look-up. */
  let lookingUp: Promise<AccountNonces | undefined> | undefined

  async function lookUp(): Promise<AccountNonces | undefined> {
    const found = await lookUpAccount(services, address)
    if (found === undefined) return undefined
    memory.passes = 0
    memory.state = found.state
    return found
  }

  return {
    address,
    privateKey,
    signDigest,
    async expectedNonce() {
      if (memory.nonce !== undefined) return memory.nonce
      const [known] = await rows<{ nonce: number }>(
        services.db,
        sql`SELECT next_nonce::float8 AS nonce FROM operators WHERE address = ${address}`,
      )
      return known?.nonce
    },
    expect(nonce) {
      memory.nonce = nonce
      if (nonce !== undefined && memory.state !== undefined)
        memory.state = { ...memory.state, nextNonce: nonce }
    },
    async reconcile() {
      lookingUp ??= lookUp().finally(() => {
        lookingUp = undefined
      })
      return lookingUp
    },
    passesSinceReconciled: () => memory.passes,
    countPass() {
      if (memory.passes !== undefined) memory.passes += 1
    },
    state: () => memory.state,
    exclusively(work) {
      const turn = last.then(work, work)
      last = turn.catch(() => undefined)
      return turn
    },
  }
}
