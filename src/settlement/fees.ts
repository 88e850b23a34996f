/** A node's minimum fee, in micro-STX a byte. */
export const MIN_FEE_PER_BYTE = 1

/** The least that a swap pays: about six times the node's minimum for a route of one hop. */
const MIN_SWAP_FEE = 3_000
/** What a swap of any size pays at least, in micro-STX a byte. */
const SWAP_FEE_PER_BYTE = 2

/** Fee of a filler in micro-STX: about three times the node's minimum for its size. */
export const FILLER_FEE_IN_MICRO_STX = 600

/** Fee of a burn that replaces nothing, in micro-STX: about three times the node's minimum for its size. */
export const BURN_FEE_IN_MICRO_STX = 1_000

/** The fee of a swap: by its size and the node's estimate, up to the ceiling. */
export function swapFee(byteLength: number, estimate: number | undefined, ceiling: number): number {
  const wanted = Math.max(MIN_SWAP_FEE, byteLength * SWAP_FEE_PER_BYTE, estimate ?? 0)
  return Math.max(byteLength * MIN_FEE_PER_BYTE, Math.min(wanted, ceiling))
}

/** Twice the fee, up to the ceiling; undefined at the ceiling. A node takes a replacement that pays more. */
export function replacementFee(
  { feeInMicroStx }: { feeInMicroStx: number },
  ceiling: number,
): number | undefined {
  const fee = Math.min(feeInMicroStx * 2, ceiling)
  return fee > feeInMicroStx ? fee : undefined
}

/** Burns and fillers may pay this many times the ceiling of swaps: they end what swaps at the ceiling block. */
export const CANCELLATION_CEILING = 2

/** The fee of a burn that replaces a swap. */
export function burnFee(replacedFeeInMicroStx: number): number {
  return Math.max(BURN_FEE_IN_MICRO_STX, Math.ceil(replacedFeeInMicroStx * 1.5))
}
