import { isSpent } from '../actions/spend.ts'
import { atomically } from '../db/database.ts'
import type { OrderRow } from '../db/order-row.ts'
import { giveBack, letGo, type Reservation, reserve } from '../gate/reserve.ts'
import { ok, type Result, refuse } from '../result.ts'
import { type SettleReason, settle } from '../settlement/settle.ts'
import type { World } from '../world.ts'
import { type Caller, judgeOrder, type OrderReason } from './caller.ts'
import { reservationOf, sealName } from './create.ts'
import { findOrder } from './find.ts'

export interface Executed {
  row: OrderRow
  txid: string
  /** False while nobody knows whether a node has the transaction. */
  accepted: boolean
}

/** Sends an open order to the chain, for its owner's key or its owner. */
export async function executeOrder(
  world: World,
  uuid: string,
  caller: Caller,
  now: number,
): Promise<Result<Executed, OrderReason | SettleReason>> {
  const row = caller.by === 'key' ? caller.order : await findOrder(world, uuid)
  if (row === undefined) return refuse('orderNotFound')
  const judged = judgeOrder(row, caller, now, 'execute')
  if (!judged.ok) {
    const isReplay = caller.by === 'wallet' && (await isSpent(world.db, caller.action))
    return isReplay ? refuse('messageReplayed') : judged
  }

  const reservation = caller.by === 'key' ? reservationOf(row, caller, now) : undefined
  const reserved = await reserveFor(world, reservation)
  if (!reserved.ok) return reserved
  const signature = await world.seal.open(row.signatureBox, sealName(uuid))
  const settled = await settle(
    world,
    { ...row, signature },
    caller.by === 'key' ? { keyId: caller.keyId } : { action: caller.action },
    now,
  )
  if (!settled.ok) {
    if (reservation !== undefined) await letGo(world.db, reservation)
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

/** An order takes its amount of the key's day before it is sent, unless it did when the key made it. */
async function reserveFor(
  world: World,
  reservation: Reservation | undefined,
): Promise<Result<null, 'limitExceeded'>> {
  if (reservation === undefined) return ok(null)
  const attempt = () =>
    atomically<null, 'limitExceeded'>(world.db, (tx) => reserve(tx, reservation))
  const reserved = await attempt()
  if (reserved.ok) return reserved
  await giveBack(world.db, reservation)
  return attempt()
}
