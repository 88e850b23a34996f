import { type SQL, sql } from 'drizzle-orm'
import { fromHex } from '../crypto/bytes.ts'
import { type Database, rows } from '../db/database.ts'
import { releaseLeases, takeLeases } from '../db/lease.ts'
import { shardSql } from '../db/shard.ts'
import { later } from '../db/time.ts'
import { ok, type Result, refuse } from '../result.ts'
import { encryptTransaction } from '../settlement/encrypt.ts'
import { lookUpAccount, MAX_PENDING, useNonceSql } from '../settlement/operator.ts'
import { sendLeaseMs } from '../settlement/schedule.ts'
import {
  readTransfer,
  type SignedTransfer,
  transferFee,
  transferPayload,
} from '../settlement/transfer.ts'
import { isWalletAddress } from '../stacks/address.ts'
import { appendAccountEvent, lockAccount } from './account-events.ts'
import { sendStored } from './accounts.ts'
import type { OperatorServices } from './services.ts'

/*
 * The treasury: an account that sends STX to operator accounts that have little. Its key never reaches the service. The command line
 * signs, and the service (or the command line on the database) stores the bytes before it sends them, as settlement does; the
 * reconciler follows them.
 */

/** What a run wants: accounts below a level are filled up to another one. Micro-STX. */
export interface TopUpGoal {
  belowInMicroStx: number
  upToInMicroStx: number
}

export interface PlannedTopUp {
  address: string
  balance: number
  amountInMicroStx: number
}

export interface TopUpPlan {
  treasury: string
  /** Of the treasury: micro-STX that it can still spend. */
  balance: number
  /** Of the first transfer; the others follow. */
  nonce: number
  feeInMicroStx: number
  planned: PlannedTopUp[]
  /** Accounts below the level that a limit, or the treasury's balance, leaves for a later run. */
  left: number
  /** Accounts below the level whose last transfer is on its way, or was mined a moment ago. */
  underWay: number
  sentTodayInMicroStx: number
}

export type TreasuryRefusal = 'treasuryBusy' | 'invalidRequest' | 'chainUnavailable'
export type TopUpRefusal =
  | 'invalidRequest'
  | 'treasuryBusy'
  | 'treasuryNonceTaken'
  | 'treasuryLimit'
  | 'topUpNotNeeded'

/** A run holds its lease from one transfer to the next. */
const RUN_LEASE_MS = 60_000
/** A balance that is this old is looked up again before it decides. */
const BALANCE_MAX_AGE_MS = 60_000
/** For so long after a transfer was mined, a node that lags may still have the balance before it. */
const MINED_MARGIN_MS = 120_000
const DAY_MS = 86_400_000

/**
 * Begins a run, and plans its transfers. A run holds a lease, so that there is one at a time; `run` is its name, and without one
 * nothing is begun. Balances that the watch has looked up lately are not asked for; those below the level are, each once.
 */
export async function planTopUps(
  services: OperatorServices,
  { treasury, run, ...goal }: TopUpGoal & { treasury: string; run?: string | undefined },
): Promise<Result<TopUpPlan, TreasuryRefusal>> {
  const { chain } = services
  const problem = problemOf(services, treasury, goal)
  if (problem !== undefined) return refuse('invalidRequest', { problem })
  if (chain === undefined) return refuse('chainUnavailable')
  if (run !== undefined && !(await holdRun(services, treasury, run))) return refuse('treasuryBusy')
  const seen = await lookUpAccount({ ...services, chain }, treasury)
  if (seen === undefined) return refuse('chainUnavailable')
  if (!(await lookUpPoor({ ...services, chain }, goal))) return refuse('chainUnavailable')
  const fee = await estimateFee(services, treasury)
  const poor = await readPoor(services, treasury, goal)
  const sentToday = await readSent(services, treasury, undefined)
  const { TREASURY_MAX_PER_RUN_IN_MICRO_STX: perRun, TREASURY_MAX_PER_DAY_IN_MICRO_STX: perDay } =
    services.config
  const balance = seen.state.balance ?? 0
  const room = MAX_PENDING - (seen.nextNonce - seen.confirmed)
  const wanted = poor.filter(({ isUnderWay }) => !isUnderWay)
  const planned: PlannedTopUp[] = []
  let [allowed, funds] = [Math.min(perRun, perDay - sentToday), balance]
  for (const { address, balance: held } of wanted) {
    const amountInMicroStx = goal.upToInMicroStx - held
    if (planned.length >= room || amountInMicroStx > allowed || amountInMicroStx + fee > funds)
      break
    planned.push({ address, balance: held, amountInMicroStx })
    allowed -= amountInMicroStx
    funds -= amountInMicroStx + fee
  }
  return ok({
    treasury,
    balance,
    nonce: seen.nextNonce,
    feeInMicroStx: fee,
    planned,
    left: wanted.length - planned.length,
    underWay: poor.length - wanted.length,
    sentTodayInMicroStx: sentToday,
  })
}

/** Ends a run, so that another one need not wait for the end of its lease. */
export async function endTopUps(
  services: OperatorServices,
  { treasury, run }: { treasury: string; run: string },
): Promise<Result<null, never>> {
  await releaseLeases(services, [leaseOf(treasury)], run)
  return ok(null)
}

/**
 * Stores a signed transfer of the treasury and sends it. It is stored only by the run that holds the lease, for an operator that is
 * still below the level and has no other transfer on its way, within the limits of the run and of the day.
 */
export async function sendTopUp(
  services: OperatorServices,
  input: TopUpGoal & { treasury: string; run: string; transaction: string },
): Promise<Result<{ txid: string; sent: string }, TopUpRefusal>> {
  const { treasury, run, transaction, ...goal } = input
  const problem = problemOf(services, treasury, goal)
  if (problem !== undefined) return refuse('invalidRequest', { problem })
  const transfer = readTransfer(
    new Uint8Array(fromHex(transaction)),
    services.config.STACKS_NETWORK,
  )
  if (transfer?.sender !== treasury)
    return refuse('invalidRequest', { problem: 'the bytes are no transfer of the treasury' })
  if (!(await holdRun(services, treasury, run))) return refuse('treasuryBusy')
  const stored = await storeTopUp(services, transfer, goal, run)
  if (!stored.ok) return stored
  return ok({ txid: transfer.txid, sent: await sendStored(services, treasury, transfer) })
}

function problemOf(
  { config, operators }: OperatorServices,
  treasury: string,
  { belowInMicroStx, upToInMicroStx }: TopUpGoal,
): string | undefined {
  const { STACKS_NETWORK: network, TREASURY_ADDRESS: pinned } = config
  if (!isWalletAddress(treasury, network)) return `${treasury} is no address of ${network}`
  if (pinned !== undefined && treasury !== pinned)
    return `the key is that of ${treasury}, and TREASURY_ADDRESS is ${pinned}`
  if (operators.find(treasury) !== undefined) return 'the treasury must not be an operator account'
  if (upToInMicroStx < belowInMicroStx) return 'the level to fill up to is below the other one'
  return undefined
}

function leaseOf(treasury: string): string {
  return `treasury:${treasury}`
}

async function holdRun(
  services: OperatorServices,
  treasury: string,
  run: string,
): Promise<boolean> {
  return (await takeLeases(services, [leaseOf(treasury)], run, RUN_LEASE_MS)).length === 1
}

/** Looks up the accounts that could be below the level and were not looked up lately; false when the chain does not respond. */
async function lookUpPoor(
  services: OperatorServices & { chain: NonNullable<OperatorServices['chain']> },
  { belowInMicroStx }: TopUpGoal,
): Promise<boolean> {
  const { db, databaseTime } = services
  const found = await rows<{ address: string }>(
    db,
    sql`SELECT wanted.address FROM unnest(${addresses(services)}::text::text[]) AS wanted (address)
      LEFT JOIN operators ON operators.address = wanted.address
      WHERE retired_at IS NULL AND (balance IS NULL OR balance_at IS NULL OR (balance < ${belowInMicroStx}::bigint
        AND balance_at < ${later(databaseTime(), -BALANCE_MAX_AGE_MS)}))`,
  )
  for (const { address } of found)
    if ((await lookUpAccount(services, address)) === undefined) return false
  return true
}

function addresses({ operators }: Pick<OperatorServices, 'operators'>): string {
  return `{${operators.all.map(({ address }) => address).join(',')}}`
}

async function readPoor(
  services: OperatorServices,
  treasury: string,
  { belowInMicroStx }: TopUpGoal,
): Promise<{ address: string; balance: number; isUnderWay: boolean }[]> {
  return rows(
    services.db,
    sql`SELECT address, balance::float8 AS balance, ${isUnderWaySql(treasury)} AS "isUnderWay" FROM operators
      WHERE address = ANY (${addresses(services)}::text::text[]) AND retired_at IS NULL AND balance < ${belowInMicroStx}::bigint
      ORDER BY balance, address`,
  )
}

/**
 * Whether a row of operators has a transfer of the treasury that may not be in its balance yet: one that can still be mined, or that
 * was mined after the balance was asked for, or a moment before.
 */
function isUnderWaySql(treasury: string): SQL {
  return sql`EXISTS (SELECT FROM transactions WHERE transactions.operator = ${treasury} AND transactions.shard = ${shardSql(treasury)}
    AND kind = 'transfer' AND recipient = operators.address AND (transactions.status IN ('signed', 'accepted', 'outbid')
      OR (transactions.status = 'mined' AND mined_at > ${later(sql`operators.balance_at`, -MINED_MARGIN_MS)})))`
}

/** What the treasury has sent in the last 24 hours, or in a run. */
function sentSql(services: OperatorServices, treasury: string, run: string | undefined): SQL {
  const which =
    run === undefined
      ? sql`created_at > ${later(services.databaseTime(), -DAY_MS)}`
      : sql`reason = ${run}`
  return sql`coalesce((SELECT sum(amount_in_micro_stx) FROM transactions WHERE transactions.operator = ${treasury}
    AND transactions.shard = ${shardSql(treasury)} AND kind = 'transfer' AND transactions.status IN ('signed', 'accepted', 'mined')
    AND ${which}), 0)`
}

async function readSent(services: OperatorServices, treasury: string, run: string | undefined) {
  const [read] = await rows<{ sent: number }>(
    services.db,
    sql`SELECT (${sentSql(services, treasury, run)})::float8 AS sent`,
  )
  return read?.sent ?? 0
}

async function estimateFee(services: OperatorServices, treasury: string): Promise<number> {
  const { STACKS_NETWORK: network, MAX_FEE_IN_MICRO_STX } = services.config
  const sample = { recipient: treasury, amountInMicroStx: 1 }
  const { payload, byteLength } = await transferPayload(sample, { network })
  return transferFee(await services.chain?.estimateFee(payload, byteLength), MAX_FEE_IN_MICRO_STX)
}

/**
 * The rows of both accounts are locked first; the statement after that sees every transfer that was stored before. So its guards need not be
 * on the UPDATE, where Citus would refuse them.
 */
async function storeTopUp(
  services: OperatorServices,
  transfer: SignedTransfer,
  goal: TopUpGoal,
  run: string,
): Promise<Result<null, TopUpRefusal>> {
  const {
    sender: treasury,
    recipient: address,
    amountInMicroStx,
    txid,
    nonce,
    feeInMicroStx,
  } = transfer
  const rawBox = await encryptTransaction(services, transfer)
  const at = services.databaseTime()
  const guards = guardsOf(services, transfer, goal, run)
  const stored = await services.db.transaction(async (tx) => {
    await lockAccount(tx, address)
    await rows(
      tx,
      sql`SELECT FROM operators WHERE address IN (${treasury}, ${address}) ORDER BY address FOR UPDATE`,
    )
    const inserted = await rows(
      tx,
      sql`WITH guarded AS (
          SELECT address FROM operators
          WHERE address = ${treasury} AND ${guards.run} AND ${guards.nonce} AND ${guards.need} AND ${guards.limits}
        ), used AS (
          UPDATE operators SET ${useNonceSql(feeInMicroStx + amountInMicroStx)} FROM guarded
          WHERE operators.address = guarded.address RETURNING operators.address
        )
        INSERT INTO transactions
          (txid, shard, kind, operator, nonce, fee_in_micro_stx, raw_box, reason, recipient, amount_in_micro_stx, created_at, check_at)
        SELECT ${txid}, ${shardSql(treasury)}, 'transfer', address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea,
          ${run}, ${address}, ${amountInMicroStx}::bigint, ${at}, ${later(at, sendLeaseMs(services.config.NODE_TIMEOUT_MS))}
        FROM used RETURNING txid`,
    )
    if (inserted.length === 0) return explain(tx, treasury, guards)
    const details = { txid, treasury, amountInMicroStx: String(amountInMicroStx) }
    return ok(
      await appendAccountEvent(tx, {
        event: 'fund_operator',
        address,
        at: services.now(),
        details,
      }),
    )
  })
  if (!stored.ok) return stored
  await services.keepHead(address, stored.value)
  return ok(null)
}

interface Guards {
  run: SQL
  nonce: SQL
  need: SQL
  limits: SQL
}

/** The conditions on the treasury's row that a transfer is stored with. */
function guardsOf(
  services: OperatorServices,
  { sender: treasury, recipient, amountInMicroStx, nonce, feeInMicroStx }: SignedTransfer,
  { belowInMicroStx, upToInMicroStx }: TopUpGoal,
  run: string,
): Guards {
  const { TREASURY_MAX_PER_RUN_IN_MICRO_STX: perRun, TREASURY_MAX_PER_DAY_IN_MICRO_STX: perDay } =
    services.config
  const amount = sql`${amountInMicroStx}::bigint`
  return {
    run: sql`EXISTS (SELECT FROM leases WHERE name = ${leaseOf(treasury)} AND holder = ${run} AND until > ${services.databaseTime()})`,
    nonce: sql`next_nonce = ${nonce}::bigint AND next_nonce < chain_nonce + ${MAX_PENDING}::bigint
      AND balance >= ${amountInMicroStx + feeInMicroStx}::bigint`,
    need: sql`EXISTS (SELECT FROM operators WHERE address = ${recipient} AND address = ANY (${addresses(services)}::text::text[])
      AND retired_at IS NULL AND balance < ${belowInMicroStx}::bigint AND balance + ${amount} <= ${upToInMicroStx}::bigint
      AND NOT ${isUnderWaySql(treasury)})`,
    limits: sql`${sentSql(services, treasury, run)} + ${amount} <= ${perRun}::bigint
      AND ${sentSql(services, treasury, undefined)} + ${amount} <= ${perDay}::bigint`,
  }
}

/** Why a transfer was not stored. For the choice of a refusal only. */
async function explain(
  tx: Database,
  treasury: string,
  guards: Guards,
): Promise<Result<never, TopUpRefusal>> {
  const [seen] = await rows<Record<keyof Guards, boolean>>(
    tx,
    sql`SELECT ${guards.run} AS run, ${guards.nonce} AS nonce, ${guards.need} AS need, ${guards.limits} AS limits
      FROM operators WHERE address = ${treasury}`,
  )
  if (!seen?.run) return refuse('treasuryBusy')
  if (!seen.need) return refuse('topUpNotNeeded')
  if (!seen.limits) return refuse('treasuryLimit')
  return refuse('treasuryNonceTaken')
}
