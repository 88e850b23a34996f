/** Fee of a router call in micro-STX: about six times the node's minimum of 1 a byte. */
export const SWAP_FEE_IN_MICRO_STX = 3_000

/** Fee of a filler in micro-STX: about three times the node's minimum for its size. */
export const FILLER_FEE_IN_MICRO_STX = 600

/** A node takes a transaction in place of another with the same nonce when it pays more. */
export function replacementFee(feeInMicroStx: number): number {
  return feeInMicroStx * 2
}
