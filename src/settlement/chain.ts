import type { Result } from '../result.ts'
import type { SubmitResult } from './submit-result.ts'

/** One step of a route: a vault and its opcode. */
export interface Hop {
  /** A contract id of the network. */
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

/** How a mined transaction ended. `problematic_skipped`: the fee is paid and the nonce used, the payload did not run. */
export const OUTCOMES = [
  'success',
  'abort_by_response',
  'abort_by_post_condition',
  'problematic_skipped',
] as const
export type Outcome = (typeof OUTCOMES)[number]

/** The status of a transaction on chain. */
export type ChainStatus =
  | { kind: 'pending' }
  | {
      kind: 'mined'
      outcome: Outcome
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

/** How a token's amounts are written. */
export interface TokenFacts {
  symbol: string
  decimals: number
}

/** An account as its node has it. */
export interface Account {
  /** The nonce of its next transaction to be mined. */
  nonce: number
  /** In micro-STX. */
  balance: bigint
}

/** The nonces of an account. */
export interface Nonces {
  /** The nonce of its next transaction to be mined. */
  confirmed: number
  /** The nonce after those in the mempool. */
  next: number
  /** What the account has, in micro-STX. */
  balance: bigint
  /** Whether no pending transaction has this nonce, as far as the API can tell: false where it does not list all of them. */
  isUnused(nonce: number): boolean
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
  account(address: string): Promise<Account | undefined>
  /** Undefined when the API did not respond. */
  nonces(address: string): Promise<Nonces | undefined>
  /** The node's estimate for a payload of the given size in micro-STX; undefined when it has none. */
  estimateFee(payload: Uint8Array, byteLength: number): Promise<number | undefined>
  /** A token balance in its smallest unit, 0 of a contract that tells none; undefined when the API did not respond. */
  tokenBalance(contractId: string, owner: string): Promise<bigint | undefined>
  /** As `tokenBalance`, but `absent` where the contract tells no balance: what is shown to an owner is never a made-up 0. */
  tokenHolding(contractId: string, owner: string): Promise<bigint | 'absent' | undefined>
  /** Whether an intent's uuid is used at the verifier; undefined when the API did not respond. */
  isUuidUsed(verifier: string, uuid: string): Promise<boolean | undefined>
  /** Whether a committed router takes a token as input; undefined when the API did not respond. */
  isInputAllowed(router: string, token: string): Promise<boolean | undefined>
  /** A route; `noRoute` when there is none, `chainUnavailable` when the quote service did not respond. */
  quote(
    tokenIn: string,
    tokenOut: string,
    amount: string,
  ): Promise<Result<Quote, 'noRoute' | 'chainUnavailable'>>
  /** The name of a token contract's only fungible asset, for post-conditions; undefined when it is not known. */
  assetName(contractId: string): Promise<string | undefined>
  /** What a SIP-010 contract says of itself; `absent` where it is none; undefined when the API did not respond. */
  tokenFacts(contractId: string): Promise<TokenFacts | 'absent' | undefined>
  isReachable(): Promise<boolean>
  /** Devnet only: gives an address STX and input tokens. */
  fund(address: string): Promise<unknown>
}
