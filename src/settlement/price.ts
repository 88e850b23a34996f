import type { Quote } from './chain.ts'

const BASIS_POINTS = 10_000n

/** A decimal as a fraction of whole numbers: `1.25` is 125 / 100. */
function fractionOf(decimal: string): { numerator: bigint; denominator: bigint } {
  const [whole = '0', places = ''] = decimal.split('.')
  return { numerator: BigInt(whole + places), denominator: 10n ** BigInt(places.length) }
}

/**
 * Compares the price of a swap with an order's `targetPrice`, exactly. The price is what comes out for one smallest unit
 * of what goes in: amountOut / amountIn, both in the smallest units of their tokens.
 */
export function meetsTarget(
  { amountIn, targetPrice, direction }: PriceTarget,
  amountOut: string,
): boolean {
  if (targetPrice === null || direction === null) return true
  const { numerator, denominator } = fractionOf(targetPrice)
  const difference = BigInt(amountOut) * denominator - numerator * BigInt(amountIn)
  return direction === 'gt' ? difference > 0n : difference < 0n
}

export interface PriceTarget {
  amountIn: string
  /** Decimal text with at most 18 places. */
  targetPrice: string | null
  direction: 'gt' | 'lt' | null
}

/**
 * The minimum output of a swap: the quoted amount less the slippage, rounded up, or the quote's own minimum where that is
 * more. With a target price to stay above, also no less than the target requires.
 */
export function minimumOutput(quote: Quote, slippageBps: number, target?: PriceTarget): string {
  const kept = BigInt(quote.amountOut) * (BASIS_POINTS - BigInt(slippageBps))
  const candidates = [BigInt(quote.minimumReceived), (kept + BASIS_POINTS - 1n) / BASIS_POINTS]
  if (target?.targetPrice != null && target.direction === 'gt') {
    const { numerator, denominator } = fractionOf(target.targetPrice)
    candidates.push((numerator * BigInt(target.amountIn)) / denominator + 1n)
  }
  return candidates.reduce((most, one) => (one > most ? one : most)).toString()
}
