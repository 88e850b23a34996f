import type { Result } from '../result.ts'
import type { SubmitResult } from './submit-result.ts'

/** One step of a route: a vault and its opcode. */
export interface Hop {
  vault: string
  /** Hex, at most 16 bytes. */
  opcode: string
  /** The asset that the vault pays, `contract::asset`; absent when the quote omits it, or post-conditions cannot see it. */
  asset?: string | undefined
}

export interface Quote {
  amountOut: string
  minimumReceived: string
  hops: Hop[]
}

/** The status of a transaction on chain. */
export type ChainStatus =
  | { kind: 'pending' }
  | {
      kind: 'mined'
      outcome: 'success' | 'abort_by_response' | 'abort_by_post_condition'
      height: number
      /** The amount that the last vault paid, when the result contains it. */
      amountOut?: string
    }
  /** Its block is no longer canonical. */
  | { kind: 'orphaned' }
  /** `dropped_..`: it may reappear, and the same bytes may be sent again. */
  | { kind: 'dropped'; reason: string }
  /** Unknown to the node, which is normal shortly after a submission. */
  | { kind: 'absent' }
  /** The API did not respond. */
  | { kind: 'unknown' }

/** The nonces of an account. */
export interface Nonces {
  /** The nonce of its next transaction to be mined. */
  confirmed: number
  /** The nonce after those in the mempool. */
  next: number
  /** The nonces in the mempool, as far as the API lists them. */
  pending: number[]
}

/** The Stacks API that settlement uses. One client serves every network; on devnet only its address differs. */
export interface Chain {
  /** Submits signed bytes. Submitting the same bytes again is harmless. */
  submit(raw: Uint8Array<ArrayBuffer>): Promise<SubmitResult>
  /** Looks up a transaction. */
  find(txid: string): Promise<ChainStatus>
  /** The height of the newest block; undefined when the API did not respond. */
  height(): Promise<number | undefined>
  /** Undefined when the API did not respond. */
  nonces(address: string): Promise<Nonces | undefined>
  /** A route; `noRoute` when there is none, `chainUnavailable` when the quote service did not respond. */
  quote(
    tokenIn: string,
    tokenOut: string,
    amount: string,
  ): Promise<Result<Quote, 'noRoute' | 'chainUnavailable'>>
  /** The name of a token contract's fungible asset, for post-conditions. */
  assetName(contractId: string): Promise<string | undefined>
  isReachable(): Promise<boolean>
  /** Devnet only: gives an address STX and input tokens. */
  fund(address: string): Promise<unknown>
}
