import type { Actor } from '../audit/event.ts'
import type { OrderChange } from '../orders/order.ts'

/** The stream begins here: what is read after it has all that came before. `missed`: why it does not go on after the id that was named. */
export interface StartEvent {
  type: 'start'
  missed?: 'tooOld' | 'unknown'
}

/** A change of an order's status. */
export interface OrderOfWalletEvent extends OrderChange {
  type: 'order'
}

/** An event of the wallet's audit: a change of a key or a session, or a refusal. Its details are in the audit. */
export interface KeyEvent {
  type: 'key'
  /** As `create_api_key`. */
  event: string
  /** From 1, without gaps. */
  sequence: number
  keyId?: string
  actor: Actor
  /** ISO 8601. */
  at: string
}

/** An event of a wallet, as its stream sends it. */
export type WalletEvent = StartEvent | OrderOfWalletEvent | KeyEvent

/** How far a stream has got: every event up to it was delivered. */
export interface FeedPosition {
  /** An id of `order_events`. Below it, all transactions that could still add one to the wallet's shard have ended. */
  orders: number
  /** The sequence of an audit event. */
  audit: number
  /** When that was so: milliseconds since 1970. */
  at: number
}

/** A position as the id of its event. */
export function positionText({ orders, audit, at }: FeedPosition): string {
  return `${orders}-${audit}-${at}`
}

/** Undefined for a text that no service of this release has written. */
export function parsePosition(text: string): FeedPosition | undefined {
  const [, orders, audit, at] = /^(\d{1,15})-(\d{1,10})-(\d{1,15})$/.exec(text) ?? []
  return orders === undefined
    ? undefined
    : { orders: Number(orders), audit: Number(audit), at: Number(at) }
}

/** Why the service ended a stream. */
export const STREAM_ENDS = {
  /** The process stops: another one goes on. */
  stopping: 1001,
  /** The stream is as old as one may get. */
  aged: 4000,
  /** The key was changed: it is authenticated anew. */
  keyChanged: 4001,
  /** The client left too much unread. */
  unread: 4002,
  /** The key, or the session, has ended or may not read any more. */
  credentialEnded: 4401,
} as const

export type StreamEnd = keyof typeof STREAM_ENDS
