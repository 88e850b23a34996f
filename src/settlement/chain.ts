import type { Result } from '../result.ts'
import type { SubmitResult } from './submit-result.ts'

/** One step of a route: the vault that swaps, and what it is told. */
export interface Hop {
  vault: string
  /** Hex, at most 16 bytes. */
  opcode: string
  /** What the vault pays, `contract::asset`; absent when the quote does not say, or no post-condition can see it. */
  asset?: string | undefined
}

export interface Quote {
  amountOut: string
  minimumReceived: string
  hops: Hop[]
}

/** What the chain says of a transaction. */
export type ChainStatus =
  | { kind: 'pending' }
  | {
      kind: 'mined'
      outcome: 'success' | 'abort_by_response' | 'abort_by_post_condition'
      height: number
      /** What the last vault paid, when the result says so. */
      amountOut?: string
    }
  /** Its block is not canonical any more. */
  | { kind: 'orphaned' }
  /** `dropped_..`: it may come back, and the same bytes may be sent again. */
  | { kind: 'dropped'; reason: string }
  /** Nobody has heard of it, which is normal shortly after it was sent. */
  | { kind: 'absent' }
  /** Nobody could be asked. */
  | { kind: 'unknown' }

/** Where an account stands. */
export interface Nonces {
  /** The nonce of its next transaction to be mined. */
  confirmed: number
  /** The one after all that the mempool holds. */
  next: number
  /** Those that the mempool holds, as far as anybody says. */
  pending: number[]
}

/** What settlement asks of Stacks. There is one client; on devnet only its address differs. */
export interface Chain {
  /** Sends signed bytes. Sending the same bytes again is harmless. */
  submit(raw: Uint8Array<ArrayBuffer>): Promise<SubmitResult>
  /** Looks for a transaction. */
  find(txid: string): Promise<ChainStatus>
  /** The height of the newest block; undefined when nobody could say. */
  height(): Promise<number | undefined>
  /** Undefined when nobody could say. */
  nonces(address: string): Promise<Nonces | undefined>
  /** A way to swap; `noRoute` when there is none, `chainUnavailable` when nobody could say. */
  quote(
    tokenIn: string,
    tokenOut: string,
    amount: string,
  ): Promise<Result<Quote, 'noRoute' | 'chainUnavailable'>>
  /** The name of a token contract's fungible asset, which a post-condition needs. */
  assetName(contractId: string): Promise<string | undefined>
  isReachable(): Promise<boolean>
  /** Devnet only: gives an address STX and input tokens. */
  fund(address: string): Promise<unknown>
}
