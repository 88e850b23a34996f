import type { Action } from '../actions/action.ts'

/** The members of a message before the client adds timestamp, domain, network and wallet address. */
export type ActionMembers = { action: Action } & Record<string, unknown>

/** A message with the wallet's signature, and its time by the service's clock. */
export interface SignedMessage {
  message: string
  signature: string
  walletAddress: string
  publicKey?: string
  /** When it was signed, in milliseconds since 1970. It is also a member of the message. */
  timestamp: number
  /** Until when it may be sent, in milliseconds since 1970. */
  freshUntil: number
  /** When the service refuses it, in milliseconds since 1970. */
  goodUntil: number
}

/**
 * Writes JSON that a header can carry and every hardware wallet can show: each character beyond printable ASCII is `\u` and four
 * digits.
 */
export function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
