import { ok, type Result, refuse } from '../result.ts'
import type { Quote } from './chain.ts'
import { meetsTarget, minimumOutput } from './price.ts'
import type { SettlementServices } from './services.ts'
import type { RoutableOrder, Route } from './swap.ts'
import { MAX_CONDITION_AMOUNT } from './swap-bytes.ts'

export type PreviewReason = 'executionFailed' | 'unavailable'

/**
 * Looks before an order is claimed: at a route, at the owner's balance and at the uuid. A swap that would abort costs the
 * operator a fee and makes the owner's intent public, so it is not sent. Nothing is changed.
 */
export async function previewSwap(
  services: SettlementServices,
  order: RoutableOrder,
): Promise<Result<Route, PreviewReason>> {
  const { chain, config } = services
  const [quoted, balance, isUsed, isAllowed] = await Promise.all([
    chain.quote(order.inputToken, order.outputToken, order.amountIn),
    chain.tokenBalance(order.inputToken, order.owner),
    chain.isUuidUsed(config.INTENT_VERIFIER_CONTRACT, order.uuid),
    order.terms === undefined || chain.isInputAllowed(order.router, order.inputToken),
  ])
  if (!quoted.ok)
    return quoted.reason === 'noRoute'
      ? refuse('executionFailed', { reason: 'no_route' })
      : refuse('unavailable', { reason: 'quote' })
  if (balance === undefined || isUsed === undefined || isAllowed === undefined)
    return refuse('unavailable', { reason: 'chain' })
  if (!isAllowed)
    return refuse('executionFailed', { reason: 'input_not_allowed', token: order.inputToken })
  if (isUsed) return refuse('executionFailed', { reason: 'uuid_used' })
  if (balance < BigInt(order.amountIn))
    return refuse('executionFailed', {
      reason: 'insufficient_balance',
      token: order.inputToken,
      amountIn: order.amountIn,
      balance: String(balance),
    })
  return priceRoute(services, order, quoted.value)
}

/** The route with the least that the swap must pay, or why its price is not the order's. */
async function priceRoute(
  { chain, config }: SettlementServices,
  order: RoutableOrder,
  quote: Quote,
): Promise<Result<Route, PreviewReason>> {
  const target = config.ENFORCE_TARGET_PRICE ? order : undefined
  const { amountOut } = quote
  if (target !== undefined && !meetsTarget(target, amountOut))
    return refuse('executionFailed', {
      reason: 'target_price',
      targetPrice: order.targetPrice,
      direction: order.direction,
      amountIn: order.amountIn,
      amountOut,
    })
  const minAmountOut = order.terms?.min
  if (minAmountOut !== undefined && BigInt(amountOut) < BigInt(minAmountOut))
    return refuse('executionFailed', { reason: 'minimum_output', minAmountOut, amountOut })
  // Post-conditions are in deny mode: a transfer of an asset that none of them names aborts the swap.
  if (quote.hops.slice(0, -1).some(({ asset }) => asset === undefined))
    return refuse('executionFailed', { reason: 'route_asset_unknown' })
  const outputAsset = await chain.assetName(order.outputToken)
  if (outputAsset === undefined) return refuse('unavailable', { reason: 'token_interface' })
  const minimums = [minimumOutput(quote, config.SLIPPAGE_BPS, target), minAmountOut ?? '0']
  const minimumReceived = minimums.reduce((a, b) => (BigInt(a) > BigInt(b) ? a : b))
  // Of an order that is not committed, the post-condition is all that holds the minimum.
  if (minAmountOut === undefined && BigInt(minimumReceived) > MAX_CONDITION_AMOUNT)
    return refuse('executionFailed', { reason: 'amount_too_large', minimumReceived })
  return ok({ ...quote, minimumReceived, outputAsset })
}
