/** What may be spent of one input token, in its smallest unit, as text. */
export interface AmountLimit {
  perOrder?: string
  /** Per UTC day; an order counts from its creation until it is cancelled, expires or fails. */
  perDay?: string
}

/** By input token. Tokens that it does not name may not be spent at all. */
export type MaxAmountIn = Record<string, AmountLimit>

/** What narrows a key beyond its permissions. What is absent does not narrow. */
export interface KeyLimits {
  /** Addresses and CIDR ranges that it may be used from. */
  ipAllowlist?: string[]
  /** Contract ids, or `.stx`, that its orders may trade, in and out. */
  tokens?: string[]
  /** Who may receive the output, besides the owner. The grant is the owner's word for them. */
  recipients?: string[]
  maxAmountIn?: MaxAmountIn
  /** It may execute and cancel only orders that were made through it. */
  ownOrdersOnly?: true
}

/** What an order's owner, its key or a stranger wants to do with it, as far as limits care. */
export interface LimitedOrder {
  uuid: string
  owner: string
  inputToken: string
  outputToken: string
  amountIn: string
  recipient: string
  createdBy: string | null
}

/** A limit that stands in the way: which one, what was asked for, and what is allowed. */
export interface LimitViolation {
  limit:
    | 'tokens'
    | 'recipients'
    | 'maxAmountIn'
    | 'maxAmountIn.perOrder'
    | 'maxAmountIn.perDay'
    | 'ownOrdersOnly'
  value: unknown
  allowed: unknown
  [more: string]: unknown
}

/** Finds the first limit of a key that an order is beyond. What a day's other orders leave, only `reserve` knows. */
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

/** Whether an order was made through another key, or none, and this one may only touch its own. */
export function checkOwnOrdersOnly(
  order: LimitedOrder,
  { ownOrdersOnly }: KeyLimits,
  keyId: string,
): LimitViolation | undefined {
  return ownOrdersOnly === true && order.createdBy !== keyId
    ? {
        limit: 'ownOrdersOnly',
        value: order.uuid,
        allowed: 'orders that were made through this key',
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
