import type { OrderStatus } from '../orders/order.ts'
import type { Network } from '../stacks/network.ts'

/** When a value was read from the chain. */
export interface ReadFromChain {
  /** ISO 8601: when the chain was asked. */
  asOf: string
  /** Milliseconds between that and the response. */
  ageMs: number
}

/** What a wallet holds of a token. */
export interface WalletBalance extends Partial<ReadFromChain> {
  /** Contract id, or `.stx`. */
  token: string
  /** What the contract says of itself. */
  symbol?: string
  /** Amounts are in units of 10 to the power of minus this. */
  decimals?: number
  /** `unknown`: the chain did not tell it lately. `noToken`: the contract tells no balances. */
  state: 'known' | 'unknown' | 'noToken'
  /** Integer in the token's smallest unit, as text; of a known balance only. */
  amount?: string
}

/** An order that has not ended. */
export interface OpenOrder {
  /** Absent for a key that may not act on it. */
  uuid?: string
  status: OrderStatus
  inputToken: string
  outputToken: string
  amountIn: string
  /** ISO 8601. */
  createdAt: string
  /** ISO 8601. */
  validTo?: string
}

/** What a key has used up of a token today, in the token's smallest unit. */
export interface DailyAmount {
  /** For orders that may still be settled. */
  reserved: string
  /** By orders that were settled. */
  spent: string
  /** Absent where the limit was lifted since. */
  perDay?: string
}

/** The daily amounts of a live key, by input token. */
export interface KeyAmounts {
  keyId: string
  amounts: Record<string, DailyAmount>
}

/** What a wallet has: on chain, as the chain told it within a named time, and at the service, as of now. */
export interface AccountState {
  status: 'success'
  walletAddress: string
  network: Network
  chain: {
    /** Whether every value of the chain below is known and no older than `maxAgeMs`. */
    isCurrent: boolean
    maxAgeMs: number
  }
  /** Of the wallet's own transactions; absent while they are unknown. */
  nonces?: ReadFromChain & {
    /** Of the next transaction to be mined. */
    confirmed: number
    /** Behind those in the mempool. */
    next: number
  }
  balances: WalletBalance[]
  openOrders: {
    count: number
    /** Whether there are more than are counted. */
    hasMore: boolean
    /** By input token: what the counted orders pay together. */
    amountIn: Record<string, string>
    /** The newest 100. */
    newest: OpenOrder[]
  }
  /** Live keys that have a daily amount. */
  keys: KeyAmounts[]
}
