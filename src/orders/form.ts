import { isIsoTime } from '../keys/form.ts'
import { isIntentAmount, isIntentUuid } from '../stacks/intent.ts'

/*
 * The form of an order's fields and the rules between them, without zod, because the SDK bundles it: a wallet is not asked to sign
 * what the service refuses. src/orders/schemas.ts is made of the same patterns, texts and rules.
 */

/** The form of one field. */
export interface OrderFieldForm {
  fits(text: string): boolean
  message: string
}

export const PRICE = /^(0|[1-9][0-9]{0,38})(\.[0-9]{1,18})?$/
export const PRINCIPAL = /^[\x21-\x7e]{1,96}$/
export const SALT = /^[0-9a-f]{32}$/

/** Postgres knows no year 0, and beyond 9999 ISO 8601 is written otherwise. */
export function isCommonEra(time: string): boolean {
  const year = new Date(time).getUTCFullYear()
  return year >= 1 && year <= 9999
}

const principal: OrderFieldForm = {
  fits: (text) => PRINCIPAL.test(text),
  message: 'must be printable ASCII, at most 96 characters',
}
const amount: OrderFieldForm = {
  fits: isIntentAmount,
  message: 'must be a whole number above 0, as text, in the smallest unit',
}
const time: OrderFieldForm = {
  fits: (text) => isIsoTime(text) && isCommonEra(text),
  message: 'must be ISO 8601 with a zone, as 2026-01-15T10:00:00Z',
}

const FIELDS: Readonly<Record<string, OrderFieldForm>> = {
  owner: principal,
  inputToken: principal,
  outputToken: principal,
  amountIn: amount,
  recipient: principal,
  uuid: { fits: isIntentUuid, message: 'must be 1-36 characters of A-Z a-z 0-9 _ -' },
  targetPrice: {
    fits: (text) => PRICE.test(text),
    message: 'must be a decimal with at most 18 places, not negative',
  },
  direction: { fits: (text) => text === 'gt' || text === 'lt', message: 'must be gt or lt' },
  conditionToken: principal,
  baseAsset: principal,
  validFrom: time,
  validTo: time,
  routerContract: principal,
  minAmountOut: amount,
  salt: { fits: (text) => SALT.test(text), message: 'must be 16 bytes in lower-case hexadecimal' },
  deadline: {
    fits: (text) => time.fits(text) && Date.parse(text) % 1000 === 0,
    message: 'must be ISO 8601 with a zone, in whole seconds',
  },
  executor: principal,
}
const REQUIRED = ['owner', 'inputToken', 'outputToken', 'amountIn', 'uuid']
/** Made after the fields, or checked elsewhere. */
const SIGNED = ['signature', 'message', 'messageSignature']

type Fields = Partial<Record<string, string | undefined>>

const areTogether = (fields: Fields, [first = '', ...others]: readonly string[]) =>
  others.every((name) => (fields[name] === undefined) === (fields[first] === undefined))
const comesWith = (fields: Fields, name: string, other: string) =>
  fields[name] === undefined || fields[other] !== undefined

/** What the fields of one order have to do with each other: the field that is refused, and why. */
export const ORDER_RULES: readonly {
  path: string
  message: string
  holds(order: Fields): boolean
}[] = [
  {
    path: 'validTo',
    message: 'must be after validFrom',
    holds: ({ validFrom, validTo }) =>
      validFrom === undefined ||
      validTo === undefined ||
      Date.parse(validFrom) < Date.parse(validTo),
  },
  {
    path: 'conditionToken',
    message: 'targetPrice, direction and conditionToken come together or not at all',
    holds: (order) => areTogether(order, ['targetPrice', 'direction', 'conditionToken']),
  },
  {
    path: 'targetPrice',
    message: 'no price is below 0: an order at any price has direction gt',
    holds: ({ targetPrice, direction }) =>
      targetPrice === undefined || /[1-9]/.test(targetPrice) || direction === 'gt',
  },
  {
    path: 'salt',
    message: 'minAmountOut, salt and deadline come together or not at all',
    holds: (order) => areTogether(order, ['minAmountOut', 'salt', 'deadline']),
  },
  {
    path: 'executor',
    message: 'comes with minAmountOut, salt and deadline',
    holds: (order) => comesWith(order, 'executor', 'salt'),
  },
  {
    path: 'baseAsset',
    message: 'comes with targetPrice, direction and conditionToken',
    holds: (order) => comesWith(order, 'baseAsset', 'targetPrice'),
  },
  {
    path: 'messageSignature',
    message: 'message and messageSignature come together or not at all',
    holds: (order) => areTogether(order, ['message', 'messageSignature']),
  },
]

/** Finds what has not the form of an order that is still to be signed. */
export function orderFormIssues(
  order: Readonly<Record<string, unknown>>,
): { path: string; message: string }[] {
  const unknown = Object.keys(order).filter(
    (name) => order[name] !== undefined && !Object.hasOwn(FIELDS, name) && !SIGNED.includes(name),
  )
  const unfit = Object.entries(FIELDS).flatMap(([path, { fits, message }]) => {
    const value = order[path]
    if (value === undefined) return REQUIRED.includes(path) ? [{ path, message }] : []
    return typeof value === 'string' && fits(value) ? [] : [{ path, message }]
  })
  const broken = unfit.length > 0 ? [] : ORDER_RULES.filter(({ holds }) => !holds(order as Fields))
  return [
    ...unknown.map((path) => ({ path, message: 'is not known' })),
    ...unfit,
    ...broken.map(({ path, message }) => ({ path, message })),
  ]
}
