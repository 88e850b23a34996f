import type { Action } from '../actions/action.ts'

/** What a wallet is asked to sign, less what the client adds: timestamp, domain, network and wallet address. */
export type ActionMembers = { action: Action } & Record<string, unknown>

/** A message, the wallet's signature of it, and when it says it was signed. */
export interface SignedMessage {
  message: string
  signature: string
  walletAddress: string
  publicKey?: string
  /** Milliseconds since 1970, by the service's clock. */
  timestamp: number
}

/** JSON that a header can carry: every character beyond printable ASCII is written as `\u` and four digits. */
export function asciiJson(value: object): string {
  return JSON.stringify(value).replace(
    /[^\x20-\x7e]/g,
    (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, '0')}`,
  )
}
