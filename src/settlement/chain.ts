import type { Result } from '../result.ts'
import type { Answer } from './answer.ts'

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

/** What settlement asks of Stacks. There is one client; on devnet only its address differs. */
export interface Chain {
  /** Sends signed bytes. Sending the same bytes again is harmless. */
  submit(raw: Uint8Array<ArrayBuffer>): Promise<Answer>
  /** The nonce that the node expects next, transactions in its mempool included. */
  nextNonce(address: string): Promise<number>
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
