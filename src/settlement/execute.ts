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
import { authorizeOrder, type Caller, type OrderReason } from '../orders/authorize.ts'
import { reservationOf } from '../orders/create.ts'
import { findOrder } from '../orders/find.ts'
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

/** Executes an open order on chain, for its owner's key or its owner. */
export async function executeOrder(
  services: SettlementServices & OrderServices,
  uuid: string,
  caller: Caller,
  now: number,
): Promise<Result<ExecuteOutcome, OrderReason | SettleReason>> {
  const row = caller.by === 'key' ? caller.order : await findOrder(services, uuid)
  if (row === undefined) return refuse('orderNotFound')
  const authorized = authorizeOrder(row, caller, now, 'execute')
  if (!authorized.ok) {
    const isReplay = caller.by === 'wallet' && (await isMessageConsumed(services.db, caller.action))
    return isReplay ? refuse('messageReplayed') : authorized
  }

  const reservation = caller.by === 'key' ? reservationOf(row, caller, now) : undefined
  const reserved = await reserveFor(services, reservation)
  if (!reserved.ok) return reserved
  const signature = await services.encryption.decrypt(row.signatureBox, signatureLabel(uuid))
  const settled = await settle(
    services,
    { ...row, signature },
    caller.by === 'key' ? { keyId: caller.keyId } : { action: caller.action },
    now,
  )
  if (!settled.ok) {
    if (reservation !== undefined) await releaseReservation(services.db, reservation)
    return settled
  }
  const { txid, state } = settled.value
  return state === 'accepted'
    ? ok({
        row: { ...row, status: 'broadcasted', txid, executedAt: new Date(now) },
        txid,
        accepted: true,
      })
    : ok({ row: { ...row, status: 'executing', txid }, txid, accepted: false })
}

/** Reserves the order's amount of the key's day, unless it was reserved when the key created the order. */
async function reserveFor(
  services: SettlementServices & OrderServices,
  reservation: Reservation | undefined,
): Promise<Result<null, 'limitExceeded'>> {
  if (reservation === undefined) return ok(null)
  const attempt = () =>
    atomically<null, 'limitExceeded'>(services.db, (tx) => reserveAllowance(tx, reservation))
  const reserved = await attempt()
  if (reserved.ok) return reserved
  await reclaimEnded(services.db, reservation)
  return attempt()
}
