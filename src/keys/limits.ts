import type { KeyLimits } from './terms.ts'

/** An order, as far as limits of a key concern it. */
export interface LimitedOrder {
  uuid: string
  owner: string
  inputToken: string
  outputToken: string
  amountIn: string
  recipient: string
  createdBy: string | null
}

/** A limit that a request is beyond: which one, what was asked for, and what is allowed. */
export interface LimitViolation {
  limit: keyof KeyLimits | 'maxAmountIn.perOrder' | 'maxAmountIn.perDay'
  value: unknown
  allowed: unknown
  [more: string]: unknown
}

/** Finds the first limit of a key that an order is beyond on its own. What other orders have used up is counted when the order is stored. */
export function findLimitViolation(
  order: LimitedOrder,
  { tokens, recipients, maxAmountIn }: KeyLimits,
): LimitViolation | undefined {
  const { owner, inputToken, outputToken, amountIn, recipient } = order
  for (const value of [inputToken, outputToken])
    if (tokens !== undefined && !tokens.includes(value))
      return { limit: 'tokens', value, allowed: tokens }
  if (recipients !== undefined && recipient !== owner && !recipients.includes(recipient))
    return { limit: 'recipients', value: recipient, allowed: [owner, ...recipients] }
  if (maxAmountIn === undefined) return undefined
  if (!Object.hasOwn(maxAmountIn, inputToken))
    return { limit: 'maxAmountIn', value: inputToken, allowed: Object.keys(maxAmountIn) }
  const { perOrder, perDay } = maxAmountIn[inputToken] ?? {}
  const [limit, allowed] = isBeyond(amountIn, perOrder)
    ? (['maxAmountIn.perOrder', perOrder] as const)
    : (['maxAmountIn.perDay', perDay] as const)
  return isBeyond(amountIn, allowed)
    ? { limit, token: inputToken, value: amountIn, allowed }
    : undefined
}

/** Whether a key with ownOrdersOnly acts on an order that was created with another key, or with none. */
export function checkOwnOrdersOnly(
  order: LimitedOrder,
  { ownOrdersOnly }: KeyLimits,
  keyId: string,
): LimitViolation | undefined {
  return ownOrdersOnly === true && order.createdBy !== keyId
    ? {
        limit: 'ownOrdersOnly',
        value: order.uuid,
        allowed: 'orders that were created with this key',
      }
    : undefined
}

/** What may be spent of a token in a day; undefined when there is no such limit. */
export function perDayOf({ maxAmountIn }: KeyLimits, token: string): string | undefined {
  return maxAmountIn !== undefined && Object.hasOwn(maxAmountIn, token)
    ? maxAmountIn[token]?.perDay
    : undefined
}

function isBeyond(amount: string, limit: string | undefined): boolean {
  return limit !== undefined && BigInt(amount) > BigInt(limit)
}
