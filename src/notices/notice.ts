import type { Json } from '../wire/json.ts'

/*
 * What the owner of a wallet is told. A notice is recorded in the transaction of the change that it is about: see
 * src/notices/announce.ts, and the triggers of drizzle/ for changes of keys and orders.
 */

/** Of keys and orders as their changes are recorded; the triggers that write them have the same names. */
const OF_CHANGES = [
  'key.created',
  'key.changed',
  'key.rotated',
  'key.suspended',
  'key.resumed',
  'key.revoked',
  'wallet.suspended',
  'wallet.resumed',
  'order.open',
  'order.broadcast',
  'order.confirmed',
  'order.failed',
  'order.cancelled',
  'order.expired',
] as const

/** What is announced by name, whether or not a webhook waits for it. */
const OF_FINDINGS = [
  'key.expiring',
  'key.limit_exceeded',
  'key.silent',
  'key.new_address',
  'key.new_network',
  'key.unusual_rate',
  'key.leaked',
  'order.exposed',
] as const

/** The types of notices that a wallet's webhook may want. */
export const NOTICE_TYPES = [...OF_CHANGES, ...OF_FINDINGS] as const

/** Those of an operator's webhook alone, which is told of every wallet. */
export const OPERATOR_NOTICE_TYPES = [...NOTICE_TYPES, 'audit.head'] as const

export type NoticeType = (typeof OPERATOR_NOTICE_TYPES)[number]

/** The type of a delivery that its owner asked for, to try a webhook out. */
export const TEST_NOTICE = 'webhook.test'

/** What `announce` is called for. */
export type AnnouncedType = (typeof OF_FINDINGS)[number]

/** An event of a wallet's audit chain, as the notice of a change names it. */
interface NamedEvent {
  sequence: number
  hash: string
}

/** The change of a key or of a wallet. */
export interface ChangeData {
  /** `owner`, `key`, `operator` or `service`. */
  actor: string
  /** Of an operator's act, or of a leak. */
  reason?: string
  /** The event of the wallet's audit that records the change. */
  auditHead: NamedEvent
}

/** A new status of an order, with what the event of the order says: `txid`, `reason` and others. */
export interface OrderData {
  status: string
  /** The id of the order's event. */
  event: number
  [detail: string]: Json
}

/** Whatever the rule that found something says of it. */
export type FindingData = { [member: string]: Json }

/** The data of a notice by its type. A later release may add members. */
export type NoticeData<Type extends string = NoticeType | typeof TEST_NOTICE> =
  Type extends `order.${'open' | 'broadcast' | 'confirmed' | 'failed' | 'cancelled' | 'expired'}`
    ? OrderData
    : Type extends AnnouncedType
      ? FindingData
      : Type extends 'audit.head'
        ? NamedEvent
        : Type extends typeof TEST_NOTICE
          ? { webhookId: string }
          : ChangeData

/** What a notice is about, beside its own data. */
export interface NoticeSubject {
  walletAddress: string
  keyId?: string
  orderUuid?: string
}

/** The body of a delivery, as Standard Webhooks recommends it. */
export type NoticePayload = {
  [Type in NoticeType | typeof TEST_NOTICE]: {
    type: Type
    /** When it happened: ISO 8601. */
    timestamp: string
    data: NoticeSubject & NoticeData<Type>
  }
}[NoticeType | typeof TEST_NOTICE]
