import type { CommittedTerms } from '../stacks/committed.ts'
import type { Quote } from './chain.ts'

/** The order as it was verified: the claim takes effect only on this very row. */
export interface VerifiedOrder {
  uuid: string
  owner: string
  termsMac: Uint8Array | null
  stateMac: Uint8Array | null
}

/** A route, and the name of the asset that its last vault pays. */
export type Route = Quote & { outputAsset: string }

/** The fields of an executable order that a swap is built from: of a row whose MACs were verified. */
export interface RoutableOrder extends VerifiedOrder {
  inputToken: string
  outputToken: string
  amountIn: string
  recipient: string
  targetPrice: string | null
  direction: 'gt' | 'lt' | null
  /** The router that the intent names. */
  router: string
  /** The terms that the uuid commits to; undefined for an order that commits to nothing. */
  terms: CommittedTerms | undefined
  /** The owner's intent signature, RSV. */
  signature: Uint8Array
}
