import { type SQL, sql } from 'drizzle-orm'
import { rows } from '../db/database.ts'
import { shardSql, walletShard } from '../db/shard.ts'
import { later } from '../db/time.ts'
import { lockWallet } from '../db/wallet-lock.ts'
import { hasEndedUnsettledSql } from '../orders/lifecycle.ts'
import { encryptTransaction } from './encrypt.ts'
import { BURN_FEE_IN_MICRO_STX } from './fees.ts'
import { canClaimSql, type OperatorAccount, useNonceSql } from './operator.ts'
import { type EncryptedTransaction, recordUuid } from './record.ts'
import type { SettlementServices } from './services.ts'
import { signBurn } from './transaction.ts'

/*
 * Burns: calls of the verifier that use up an order's uuid, after which its intent signature is worthless. An intent is
 * public from the moment that a node has the swap's bytes, and an aborted swap rolls its own use of the uuid back.
 */

/** A committed intent ends with its terms; the chain's clock may be behind Postgres'. */
const COMMITMENT_MARGIN_SECONDS = 3_600
const DAY_MS = 86_400_000
const MAX_ATTEMPTS = 3

interface BurnableOrder {
  uuid: string
  owner: string
  inputToken: string
  amountIn: string
  /** Whether a node has had its intent. */
  isDisclosed: boolean
}

/** Burns the uuids of orders that wait for it, up to a number of them. Resolves to how many burns were stored. */
export async function burnUuids(services: SettlementServices, limit: number): Promise<number> {
  let stored = 0
  for (const order of await ordersToBurn(services, limit)) if (await burn(services, order)) stored++
  return stored
}

/** Public intents first: a request for another one can wait. */
async function ordersToBurn(services: SettlementServices, limit: number): Promise<BurnableOrder[]> {
  const at = services.databaseTime()
  return rows<BurnableOrder>(
    services.db,
    sql`SELECT uuid, owner, input_token AS "inputToken", amount_in::text AS "amountIn",
        disclosed_at IS NOT NULL AS "isDisclosed"
      FROM orders WHERE ${isToBurnSql(at)} AND ${isWithinBudgetSql(services, at)}
      ORDER BY disclosed_at IS NULL, burn_requested_at LIMIT ${limit}::int`,
  )
}

/**
 * Whether a row of orders waits for a burn that is not under way: its uuid is neither used on chain nor past the end of its
 * commitment.
 */
function isToBurnSql(at: SQL, shard: SQL = sql`orders.shard`): SQL {
  return sql`burn_requested_at IS NOT NULL AND uuid_used_at IS NULL AND ${hasEndedUnsettledSql()}
    AND (commit_until IS NULL OR commit_until > extract(epoch FROM ${at}) - ${COMMITMENT_MARGIN_SECONDS}::int)
    AND NOT EXISTS (SELECT FROM transactions WHERE order_uuid = uuid AND transactions.shard = ${shard} AND kind = 'burn'
      AND transactions.status IN ('signed', 'accepted', 'outbid'))`
}

/**
 * Whether a row of orders has burns of the day left: the operator pays for them. A wallet has a number of them, and those of
 * orders that were never broadcast leave it those of public intents. Wallets cost nothing, so the former have a number of all
 * wallets together as well, for which all shards are read.
 */
function isWithinBudgetSql(services: SettlementServices, at: SQL): SQL {
  const { disclosed, requested } = budgetsSql(services, at, sql`orders.shard`)
  return sql`CASE WHEN orders.disclosed_at IS NOT NULL THEN ${disclosed} ELSE ${requested} END`
}

/** As `isWithinBudgetSql`, of orders with a public intent, and of the others: what concerns one wallet reads its shard only. */
function budgetsSql(
  { config }: SettlementServices,
  at: SQL,
  shard: SQL,
): { disclosed: SQL; requested: SQL } {
  const burns = (
    which: SQL,
  ) => sql`(SELECT count(*) FROM transactions JOIN orders AS own ON own.uuid = order_uuid AND own.shard = transactions.shard
      WHERE kind = 'burn' AND transactions.created_at > ${later(at, -DAY_MS)} AND ${which})`
  const isOwn = sql`own.owner = orders.owner AND own.shard = ${shard} AND transactions.shard = ${shard}`
  const isRequested = sql`own.disclosed_at IS NULL`
  const perWallet = sql`${config.MAX_BURNS_PER_WALLET_AND_DAY}::int`
  return {
    disclosed: sql`${burns(sql`${isOwn} AND NOT ${isRequested}`)} < ${perWallet}`,
    requested: sql`${burns(isOwn)} < ${perWallet} AND ${burns(isRequested)} < ${config.MAX_REQUESTED_BURNS_PER_DAY}::int`,
  }
}

async function burn(services: SettlementServices, order: BurnableOrder): Promise<boolean> {
  const { chain, config, log } = services
  const { uuid } = order
  const isUsed = await chain.isUuidUsed(config.INTENT_VERIFIER_CONTRACT, uuid)
  if (isUsed === undefined) return false
  if (isUsed) {
    await recordUuid(services, { uuid, shard: walletShard(order.owner) }, true)
    return false
  }
  if (!order.isDisclosed && !(await isWorthBurning(services, order))) return false
  for (let tried = 0; tried < MAX_ATTEMPTS; tried++) {
    const need = { feeInMicroStx: BURN_FEE_IN_MICRO_STX, now: services.now() }
    const chosen = await services.operators.choose(need)
    if (!chosen.ok) return false
    const operator = chosen.value
    const txid = await operator.exclusively(() => burnWith(services, operator, order))
    if (txid !== undefined) {
      log('warn', 'uuid_burn_sent', { uuid, txid, operator: operator.address })
      return true
    }
    await services.operators.read()
  }
  return false
}

/**
 * Whether an intent that no node has had could move anything: its owner holds the input. Otherwise the request is dismissed,
 * so that wallets without tokens cost the operator nothing; the owner can repeat it.
 */
async function isWorthBurning(
  { chain, db, log }: SettlementServices,
  { uuid, owner, inputToken, amountIn }: BurnableOrder,
): Promise<boolean> {
  const balance = await chain.tokenBalance(inputToken, owner)
  if (balance === undefined) return false
  if (balance >= BigInt(amountIn)) return true
  await rows(
    db,
    sql`UPDATE orders SET burn_requested_at = NULL WHERE uuid = ${uuid} AND shard = ${shardSql(owner)}
      AND disclosed_at IS NULL`,
  )
  log('info', 'burn_dismissed', { uuid, owner, balance: String(balance) })
  return false
}

/** Signs for the next nonce and claims with it; undefined when the operator has no room. The reconciler sends it. */
async function burnWith(
  services: SettlementServices,
  operator: OperatorAccount,
  order: BurnableOrder,
): Promise<string | undefined> {
  const { STACKS_NETWORK: network, INTENT_VERIFIER_CONTRACT: verifier } = services.config
  const { address, privateKey } = operator
  for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
    const nonce = (await operator.expectedNonce()) ?? (await operator.reconcile())?.nextNonce
    if (nonce === undefined) return undefined
    const fields = { privateKey, nonce, feeInMicroStx: BURN_FEE_IN_MICRO_STX, network }
    const transaction = await signBurn({ verifier, uuid: order.uuid }, fields)
    const rawBox = await encryptTransaction(services, transaction)
    operator.expect(undefined)
    if (await claimBurn(services, order, address, { transaction, rawBox })) {
      operator.expect(nonce + 1)
      return transaction.txid
    }
  }
  return undefined
}

/**
 * Uses the operator's nonce and stores the burn, or changes nothing: of concurrent burns of a uuid one is stored, and a
 * wallet's burns, serialized by its lock, stay within its budget. Those that have a budget of the service are serialized by
 * the locks of all operators.
 */
async function claimBurn(
  services: SettlementServices,
  { uuid, owner, isDisclosed }: BurnableOrder,
  operator: string,
  { transaction, rawBox }: EncryptedTransaction,
): Promise<boolean> {
  const { txid, nonce, feeInMicroStx } = transaction
  const at = services.databaseTime()
  const shard = shardSql(owner)
  const { disclosed, requested } = budgetsSql(services, at, shard)
  const isWithinBudget = isDisclosed
    ? sql`disclosed_at IS NOT NULL AND ${disclosed}`
    : sql`disclosed_at IS NULL AND ${requested}`
  return services.db.transaction(async (tx) => {
    await lockWallet(tx, owner)
    if (!isDisclosed) await rows(tx, sql`SELECT FROM operators ORDER BY address FOR UPDATE`)
    const claimed = await rows(
      tx,
      sql`WITH payer AS (
          SELECT address FROM operators WHERE ${canClaimSql(operator, nonce, feeInMicroStx)} FOR UPDATE
        ), burning AS (
          UPDATE orders SET burn_requested_at = burn_requested_at FROM payer
          WHERE uuid = ${uuid} AND owner = ${owner} AND orders.shard = ${shard} AND ${isToBurnSql(at, shard)}
            AND ${isWithinBudget}
          RETURNING uuid, orders.shard, payer.address
        ), used AS (
          UPDATE operators SET ${useNonceSql(feeInMicroStx)} FROM burning WHERE operators.address = burning.address
        )
        INSERT INTO transactions
          (txid, order_uuid, shard, kind, operator, nonce, fee_in_micro_stx, raw_box, reason, created_at, check_at)
        SELECT ${txid}, uuid, shard, 'burn', address, ${nonce}::bigint, ${feeInMicroStx}::bigint, ${rawBox}::bytea, 'burn', ${at}, ${at}
        FROM burning ON CONFLICT ON CONSTRAINT transactions_pkey DO NOTHING
        RETURNING txid`,
    )
    return claimed.length === 1
  })
}
