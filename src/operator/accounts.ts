import { sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import { shardSql, walletShard } from '../db/shard.ts'
import { milliseconds } from '../db/time.ts'
import { ok, type Result, refuse } from '../result.ts'
import { encryptTransaction } from '../settlement/encrypt.ts'
import {
  type AccountNonces,
  lookUpAccount,
  MAX_PENDING,
  type OperatorState,
  useNonceSql,
} from '../settlement/operator.ts'
import { recordAccepted } from '../settlement/record.ts'
import { sendLeaseMs } from '../settlement/schedule.ts'
import type { SignedTransaction } from '../settlement/transaction.ts'
import {
  signTransfer,
  type Transfer,
  transferFee,
  transferPayload,
} from '../settlement/transfer.ts'
import { isWalletAddress } from '../stacks/address.ts'
import { appendAccountEvent, lockAccount } from './account-events.ts'
import type { OperatorServices } from './services.ts'

/** What an operator account is used for. `unfunded`: it cannot pay the least fee of a swap; `unused`: no key of it is configured here. */
export type AccountUse = 'active' | 'full' | 'unfunded' | 'unused' | 'retired' | 'unknown'

/** An operator account, as the database has it: nothing is asked of the chain. */
export interface OperatorListing {
  address: string
  use: AccountUse
  pending: number
  nextNonce: number
  chainNonce: number
  /** Micro-STX that it can still spend; null before the first look-up. */
  balance: number | null
  /** Seconds since the chain was asked for the balance. */
  balanceAgeSeconds: number | null
  retiredAt: number | null
  /** The process that follows its transactions. */
  followedBy: string | null
}

type ListedRow = OperatorState & {
  address: string
  balanceAt: number | null
  retiredAt: number | null
  followedBy: string | null
}

const LEAST_FEE = 3_000

/** Lists the operator accounts that the database knows, and those that are configured and have no row yet. */
export async function listOperators(
  services: Pick<OperatorServices, 'db' | 'databaseTime' | 'operators'>,
): Promise<OperatorListing[]> {
  const at = services.databaseTime()
  const found = await rows<ListedRow & { now: number }>(
    services.db,
    sql`SELECT address, next_nonce::float8 AS "nextNonce", chain_nonce::float8 AS "chainNonce", balance::float8 AS balance,
        retired_at IS NOT NULL AS "isRetired", ${milliseconds(sql`retired_at`)} AS "retiredAt",
        ${milliseconds(sql`balance_at`)} AS "balanceAt", ${milliseconds(at)} AS now,
        (SELECT holder FROM leases WHERE name = 'operator:' || address AND until > ${at}) AS "followedBy"
      FROM operators ORDER BY address`,
  )
  const known = new Set(found.map(({ address }) => address))
  const unknown = services.operators.all.filter(({ address }) => !known.has(address))
  return [
    ...found.map(({ isRetired, balanceAt, now, ...row }) => ({
      ...row,
      use: useOf({ ...row, isRetired }, services.operators.find(row.address) !== undefined),
      pending: Math.max(row.nextNonce - row.chainNonce, 0),
      balanceAgeSeconds: balanceAt === null ? null : Math.floor((now - balanceAt) / 1_000),
    })),
    ...unknown.map(({ address }) => ({ ...UNKNOWN, address })),
  ]
}

const UNKNOWN = {
  use: 'unknown',
  pending: 0,
  nextNonce: 0,
  chainNonce: 0,
  balance: null,
  balanceAgeSeconds: null,
  retiredAt: null,
  followedBy: null,
} as const

function useOf(state: OperatorState, isConfigured: boolean): AccountUse {
  if (state.isRetired) return 'retired'
  if (!isConfigured) return 'unused'
  if (state.balance === null) return 'unknown'
  if (state.balance < LEAST_FEE) return 'unfunded'
  return state.nextNonce < state.chainNonce + MAX_PENDING ? 'active' : 'full'
}

/** What became of a retirement. */
export interface Retirement {
  address: string
  /** Whether this call retired it. */
  isNew: boolean
  /** Transactions that are followed to their end; null where the chain did not respond. */
  pending: number | null
  /** Micro-STX that it can still spend. */
  balance: number | null
  /** The transaction that returns what is left; null while there is none. */
  returned: { txid: string; recipient: string; amountInMicroStx: number } | null
  /** Why nothing was returned. */
  kept: 'pending' | 'chain' | 'no_treasury' | 'no_key' | 'empty' | null
}

/**
 * Retires an operator account: from the commit on, no process claims with it, because a claim checks the row under its lock. What it
 * has pending is followed to its end. Once nothing is pending, its funds are returned to TREASURY_ADDRESS. Idempotent: repeated until
 * `returned`, it does what is left to do.
 */
export async function retireOperator(
  services: OperatorServices,
  address: string,
): Promise<Result<Retirement, 'operatorNotFound' | 'invalidRequest'>> {
  if (!isWalletAddress(address, services.config.STACKS_NETWORK))
    return refuse('invalidRequest', { problem: 'no address of this network' })
  if (address === services.config.TREASURY_ADDRESS || !(await isOperator(services, address)))
    return refuse('operatorNotFound')
  const isNew = await setRetired(services, address, true)
  const seen =
    services.chain && (await lookUpAccount({ ...services, chain: services.chain }, address))
  const retirement = { address, isNew, pending: null, balance: null, returned: null, kept: null }
  if (seen === undefined) return ok({ ...retirement, kept: 'chain' })
  const { nextNonce, confirmed, state } = seen
  const told = {
    ...retirement,
    pending: Math.max(nextNonce - confirmed, 0),
    balance: state.balance,
  }
  if (told.pending > 0) return ok({ ...told, kept: 'pending' })
  return ok({ ...told, ...(await returnFunds(services, address, seen)) })
}

/** Takes a retirement back. */
export async function resumeOperator(
  services: OperatorServices,
  address: string,
): Promise<Result<{ address: string; isNew: boolean }, 'operatorNotFound'>> {
  if (!(await isOperator(services, address))) return refuse('operatorNotFound')
  return ok({ address, isNew: await setRetired(services, address, false) })
}

async function isOperator({ db, operators }: OperatorServices, address: string): Promise<boolean> {
  if (operators.find(address) !== undefined) return true
  return (await rows(db, sql`SELECT FROM operators WHERE address = ${address}`)).length > 0
}

/** Resolves to whether this call changed it. An account that never claimed has no row before. */
async function setRetired(
  { db, databaseTime, keepHead, now }: OperatorServices,
  address: string,
  isRetired: boolean,
): Promise<boolean> {
  const at = databaseTime()
  const [before] = await rows<{ isRetired: boolean }>(
    db,
    sql`SELECT retired_at IS NOT NULL AS "isRetired" FROM operators WHERE address = ${address}`,
  )
  if (before?.isRetired === isRetired) return false
  const head = await db.transaction(async (tx) => {
    await lockAccount(tx, address)
    const changed = await rows(
      tx,
      isRetired
        ? sql`INSERT INTO operators (address, next_nonce, retired_at) VALUES (${address}, 0, ${at})
            ON CONFLICT (address) DO UPDATE SET retired_at = excluded.retired_at WHERE operators.retired_at IS NULL
            RETURNING address`
        : sql`UPDATE operators SET retired_at = NULL WHERE address = ${address} AND retired_at IS NOT NULL RETURNING address`,
    )
    if (changed.length === 0) return undefined
    const event = isRetired ? 'retire_operator' : 'resume_operator'
    return appendAccountEvent(tx, { event, address, at: now() })
  })
  if (head !== undefined) await keepHead(address, head)
  return head !== undefined
}

/** What an account keeps when it returns its funds: a transfer that no miner takes is replaced at twice the fee, and again. */
const RESERVED_FEES = 4

async function returnFunds(
  services: OperatorServices,
  address: string,
  { nextNonce: nonce, state }: AccountNonces & { state: OperatorState },
): Promise<Pick<Retirement, 'returned' | 'kept'>> {
  const {
    TREASURY_ADDRESS: recipient,
    STACKS_NETWORK: network,
    MAX_FEE_IN_MICRO_STX,
  } = services.config
  const account = services.operators.find(address)
  if (recipient === undefined) return { returned: null, kept: 'no_treasury' }
  if (account === undefined) return { returned: null, kept: 'no_key' }
  const balance = state.balance ?? 0
  const { payload, byteLength } = await transferPayload(
    { recipient, amountInMicroStx: 1 },
    { network },
  )
  const estimate = await services.chain?.estimateFee(payload, byteLength)
  const feeInMicroStx = transferFee(estimate, MAX_FEE_IN_MICRO_STX)
  const amountInMicroStx = balance - feeInMicroStx * RESERVED_FEES
  if (amountInMicroStx <= 0) return { returned: null, kept: 'empty' }
  const transfer = { recipient, amountInMicroStx }
  const { privateKey } = account
  const signed = await signTransfer(transfer, { privateKey, nonce, feeInMicroStx, network })
  if (!(await storeReturn(services, address, transfer, signed)))
    return { returned: null, kept: 'pending' }
  await sendStored(services, address, signed)
  return { returned: { txid: signed.txid, ...transfer }, kept: null }
}

/** Stores the transfer before it is sent, for a retired account without pending transactions, once: it uses the next nonce. */
async function storeReturn(
  services: OperatorServices,
  address: string,
  transfer: Transfer,
  signed: SignedTransaction,
): Promise<boolean> {
  const { recipient, amountInMicroStx } = transfer
  const { txid, nonce, feeInMicroStx } = signed
  const rawBox = await encryptTransaction(services, signed)
  const at = services.databaseTime()
  const checkAt = sql`${at} + ${sendLeaseMs(services.config.NODE_TIMEOUT_MS)}::float8 * interval '1 millisecond'`
  const head = await services.db.transaction(async (tx) => {
    await lockAccount(tx, address)
    const stored = await rows(
      tx,
      sql`WITH payer AS (
          SELECT address FROM operators WHERE address = ${address} AND retired_at IS NOT NULL
            AND next_nonce = ${nonce}::bigint AND chain_nonce = ${nonce}::bigint FOR UPDATE
        ), used AS (
          UPDATE operators SET ${useNonceSql(feeInMicroStx + amountInMicroStx)} FROM payer
          WHERE operators.address = payer.address RETURNING operators.address
        )
        INSERT INTO transactions
          (txid, shard, kind, operator, nonce, fee_in_micro_stx, raw_box, recipient, amount_in_micro_stx, created_at, check_at)
        SELECT ${txid}, ${shardSql(address)}, 'transfer', address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea,
          ${recipient}, ${amountInMicroStx}::bigint, ${at}, ${checkAt}
        FROM used RETURNING txid`,
    )
    if (stored.length === 0) return undefined
    const details = { txid, recipient, amountInMicroStx: String(amountInMicroStx) }
    return appendAccountEvent(tx, {
      event: 'return_operator_funds',
      address,
      at: services.now(),
      details,
    })
  })
  if (head !== undefined) await services.keepHead(address, head)
  return head !== undefined
}

/** Sends bytes that are stored. Whatever the node says, the reconciler sends them again until a node has them. */
export async function sendStored(
  services: OperatorServices,
  sender: string,
  { raw, txid }: SignedTransaction,
): Promise<string> {
  const result = await services.chain?.submit(raw)
  if (result?.kind === 'accepted')
    await recordAccepted(
      services,
      { txid, orderUuid: undefined, shard: walletShard(sender) },
      services.config.RECONCILE_INTERVAL_MS,
    )
  return result?.kind ?? 'unknown'
}
