import { isMessageConsumed } from '../actions/consume.ts'
import { signatureLabel } from '../crypto/labels.ts'
import { atomically } from '../db/database.ts'
import type { OrderRow } from '../db/order-row.ts'
import {
  type Reservation,
  reclaimEnded,
  releaseReservation,
  reserveAllowance,
} from '../orders/allowance.ts'
import { refuseMissing } from '../orders/archived.ts'
import { authorizeOrder, type Caller, type OrderReason } from '../orders/authorize.ts'
import { reservationOf } from '../orders/create.ts'
import { findOrder } from '../orders/find.ts'
import { acceptedMacs, checkIntegrity } from '../orders/integrity.ts'
import { committedTermsOf } from '../orders/router.ts'
import type { OrderServices } from '../orders/services.ts'
import { ok, type Result, refuse } from '../result.ts'
import type { SettlementServices } from './services.ts'
import { type SettleReason, settle } from './settle.ts'

export interface ExecuteOutcome {
  row: OrderRow
  txid: string
  /** False while it is unknown whether a node has the transaction. */
  accepted: boolean
}

type Services = SettlementServices & OrderServices

/** Executes an open order on chain, for its owner's key or its owner. */
export async function executeOrder(
  services: Services,
  uuid: string,
  caller: Caller,
  now: number,
): Promise<Result<ExecuteOutcome, OrderReason | SettleReason | 'orderTampered'>> {
  const row = await findFor(services, uuid, caller)
  if (row === undefined) return refuseMissing(services.db, uuid)
  const refused = await refusalOf(services, row, caller, now)
  if (refused !== undefined) return refused
  const intact = await openIntent(services, row, now)
  if (!intact.ok) {
    services.log('error', 'order_tampered', { uuid, ...intact.details })
    return intact
  }

  const reservation = caller.by === 'key' ? reservationOf(row, caller, now) : undefined
  const reserved = await reserveFor(services, reservation)
  if (!reserved.ok) return reserved
  const settled = await settle(
    services,
    {
      ...row,
      ...acceptedMacs(services, row),
      router: row.routerContract ?? defaultRouter(services),
      terms: committedTermsOf(row),
      signature: intact.value,
    },
    caller.by === 'key' ? { keyId: caller.keyId } : { action: caller.action },
  )
  if (!settled.ok) {
    if (reservation !== undefined) await releaseReservation(services.db, reservation)
    // A concurrent request may have executed or ended the order; what this one met on chain followed from that.
    const latest = await findOrder(services, uuid, row.owner)
    return (latest && (await refusalOf(services, latest, caller, now))) ?? settled
  }
  const { txid, acceptedAt } = settled.value
  const executing: OrderRow = { ...row, status: 'executing', txid }
  return acceptedAt === undefined
    ? ok({ row: executing, txid, accepted: false })
    : ok({
        row: { ...executing, status: 'broadcasted', executedAt: new Date(acceptedAt) },
        txid,
        accepted: true,
      })
}

/**
 * The caller's order; another wallet's where there is none, for the choice of a refusal. The gate has read that one too, unless
 * tables are distributed.
 */
async function findFor(services: Services, uuid: string, caller: Caller) {
  const { walletAddress } = caller
  if (caller.by === 'key' && (caller.order !== undefined || services.distribution === undefined))
    return caller.order
  return (await findOrder(services, uuid, walletAddress)) ?? findOrder(services, uuid)
}

/** The owner's intent signature of a row that is as the service wrote it. */
async function openIntent(
  services: Services,
  row: OrderRow,
  now: number,
): Promise<Result<Uint8Array, 'orderTampered'>> {
  const intact = checkIntegrity(services, row, now)
  if (!intact.ok) return intact
  try {
    const label = signatureLabel(row.uuid)
    return ok(await services.encryption.decrypt(row.signatureBox, label))
  } catch {
    return refuse('orderTampered', { reason: 'edited' })
  }
}

/** Why a caller may not execute an order now; undefined when it may. Of a message that was used before, that. */
async function refusalOf(services: Services, row: OrderRow, caller: Caller, now: number) {
  const authorized = authorizeOrder(row, caller, now, 'execute')
  if (authorized.ok) return undefined
  const isReplay = caller.by === 'wallet' && (await isMessageConsumed(services.db, caller.action))
  return isReplay ? refuse('messageReplayed') : authorized
}

/** The router of orders of a release that had one. */
function defaultRouter({ config }: Services): string {
  return config.ROUTERS.find(({ commits }) => !commits)?.contract ?? ''
}

/** Reserves the order's amount of the key's day, unless it was reserved when the key created the order. */
async function reserveFor(
  services: Services,
  reservation: Reservation | undefined,
): Promise<Result<null, 'limitExceeded'>> {
  if (reservation === undefined) return ok(null)
  const attempt = () =>
    atomically<null, 'limitExceeded'>(services.db, (tx) =>
      reserveAllowance(tx, services, reservation),
    )
  const reserved = await attempt()
  if (reserved.ok) return reserved
  await reclaimEnded(services, reservation)
  return attempt()
}
