/** How far an order has got: `open` until it is executed, then on its way to `confirmed`, or ended otherwise. */
export type OrderStatus =
  | 'open'
  | 'executing'
  | 'broadcasted'
  | 'confirmed'
  | 'failed'
  | 'cancelled'
  | 'expired'

/** Every status, in the order in which a settlement passes through them; failures last. */
export const ORDER_STATUSES = [
  'open',
  'executing',
  'broadcasted',
  'confirmed',
  'failed',
  'cancelled',
  'expired',
] as const satisfies readonly OrderStatus[]

/** Terminal statuses: only a reorganisation of the chain changes them. */
export const ENDED_STATUSES = [
  'confirmed',
  'failed',
  'cancelled',
  'expired',
] as const satisfies readonly OrderStatus[]

/** Whether a status is terminal. */
export function orderHasEnded(status: OrderStatus): boolean {
  return (ENDED_STATUSES as readonly OrderStatus[]).includes(status)
}

/** A change of an order's status. Ids of one order increase in the order of its changes. */
export interface OrderEvent {
  id: number
  status: OrderStatus
  at: Date
  details: Record<string, unknown> | null
}

/** A change of an order's status, as its event stream sends it. */
export interface OrderChange {
  uuid: string
  status: OrderStatus
  /** ISO 8601. */
  at: string
  txid?: string
  blockHeight?: number
  /** Integer in the output token's smallest unit, as text. */
  amountOut?: string
  failureReason?: string
}

/** What an owner orders: the members that a client sends, without signatures. */
export interface OrderFields {
  /** The Stacks address whose intent signature the order carries. */
  owner: string
  /** Contract id of the subnet token that pays. */
  inputToken: string
  /** Contract id, or `.stx`. */
  outputToken: string
  /** Integer in the token's smallest unit, as text: 1 to 2^128 - 1. */
  amountIn: string
  /** Who receives the output; the owner when absent. */
  recipient?: string
  /** 1-36 characters of A-Z a-z 0-9 _ -; case matters. */
  uuid: string
  /** Decimal text with at most 18 places; comes with `direction` and `conditionToken` or not at all. */
  targetPrice?: string
  direction?: 'gt' | 'lt'
  /** Contract id, or `*`. */
  conditionToken?: string
  baseAsset?: string
  /** ISO 8601, before `validTo`. */
  validFrom?: string
  /** ISO 8601; from then on the order is `expired`. The deadline of a committed order when absent. */
  validTo?: string
  /**
   * The router that the intent names; of the service's routers the first of the order's kind when absent. Presented for
   * committed orders only.
   */
  routerContract?: string
  /** The least that the recipient gains, as text in the output token's smallest unit. Of a committed order only. */
  minAmountOut?: string
  /** ISO 8601 in whole seconds: no block executes the order after it. Of a committed order only. */
  deadline?: string
  /** The only address that may execute the order; any when absent. Of a committed order only. */
  executor?: string
}

/** A new order as it is sent: its terms and the owner's SIP-018 intent signature. */
export interface NewOrder extends OrderFields {
  /** 65 bytes hex, RSV or VRS. */
  signature: string
  /** 16 random bytes in lower-case hex, of a committed order: with the terms they make its uuid. */
  salt?: string
  /** The owner's signed `create_order` message; needed when `recipient` is not the owner. */
  message?: string
  messageSignature?: string
}

/** An order as the API presents it. Its signature is never part of a response. */
export interface Order extends Omit<OrderFields, 'uuid'> {
  /** Absent in public lists while a third party that knows the uuid could still burn it on chain. */
  uuid?: string
  recipient: string
  status: OrderStatus
  createdAt: string
  cancelledAt?: string
  executedAt?: string
  failedAt?: string
  failureReason?: string
  /** The transaction that was sent last, or the one that was mined. */
  txid?: string
  /** Of the block that holds the transaction. */
  blockHeight?: number
  confirmedAt?: string
  /**
   * True while the intent's signature may be public and is still good on chain although the order has ended unsettled.
   */
  intentExposed?: boolean
  /** Of an order that has ended unsettled: whether its uuid is to be used up on chain, or has been. */
  burn?: 'requested' | 'mined'
  /** What the swap paid: integer in the output token's smallest unit, as text. */
  amountOut?: string
}
