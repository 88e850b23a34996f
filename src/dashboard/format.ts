import { language } from './language.ts'

const DAY_MS = 86_400_000
const STEPS: readonly [unit: Intl.RelativeTimeFormatUnit, ms: number][] = [
  ['year', 365 * DAY_MS],
  ['month', 30 * DAY_MS],
  ['day', DAY_MS],
  ['hour', 3_600_000],
  ['minute', 60_000],
  ['second', 1_000],
]

export function formatNumber(value: number): string {
  return new Intl.NumberFormat(language.get()).format(value)
}

export function formatTime(time: string | number): string {
  return new Intl.DateTimeFormat(language.get(), {
    dateStyle: 'medium',
    timeStyle: 'medium',
  }).format(new Date(time))
}

export function formatDate(time: string | number): string {
  return new Intl.DateTimeFormat(language.get(), { dateStyle: 'medium' }).format(new Date(time))
}

/** `3 minutes ago`, `in 2 days`. */
export function formatDistance(time: string | number, now = Date.now()): string {
  const ms = new Date(time).getTime() - now
  const [unit, length] = STEPS.find(([, length]) => Math.abs(ms) >= length) ?? ['second', 1_000]
  const format = new Intl.RelativeTimeFormat(language.get(), { numeric: 'auto', style: 'short' })
  return format.format(Math.trunc(ms / length), unit)
}

/** `4:09`, of seconds. */
export function formatCountdown(seconds: number): string {
  const left = Math.max(0, Math.ceil(seconds))
  return `${Math.floor(left / 60)}:${String(left % 60).padStart(2, '0')}`
}

export function formatList(items: readonly string[], type: 'conjunction' | 'disjunction'): string {
  return new Intl.ListFormat(language.get(), { type }).format(items)
}

/** An amount in its smallest unit, as the token's own units. Exact: no number of it passes through floating point. */
export function formatAmount(smallest: string, decimals: number): string {
  const digits = smallest.padStart(decimals + 1, '0')
  const whole = digits.slice(0, digits.length - decimals)
  const places = digits.slice(digits.length - decimals).replace(/0+$/, '')
  const format = new Intl.NumberFormat(language.get())
  const point = format.formatToParts(1.5).find(({ type }) => type === 'decimal')?.value ?? '.'
  return format.format(BigInt(whole)) + (places === '' ? '' : point + places)
}

/** As a form field has it: without grouping, with a point. */
export function writeAmount(smallest: string, decimals: number): string {
  const digits = smallest.padStart(decimals + 1, '0')
  const places = digits.slice(digits.length - decimals).replace(/0+$/, '')
  return digits.slice(0, digits.length - decimals) + (places === '' ? '' : `.${places}`)
}

/** Reads an amount in the token's own units into its smallest one; undefined for what is none, and for 0. */
export function readAmount(text: string, decimals: number): string | undefined {
  const match = /^(\d{1,39})(?:[.,](\d*))?$/.exec(text.trim().replaceAll(/[\s'’]/g, ''))
  const [, whole = '', places = ''] = match ?? []
  if (match === null || places.length > decimals) return undefined
  const smallest = BigInt(whole + places.padEnd(decimals, '0'))
  return smallest > 0n && smallest < 2n ** 128n ? String(smallest) : undefined
}

/** `ST1PQ…PGZGM`, enough to recognise an address. The full one is beside it, or one click away. */
export function shortAddress(address: string): string {
  return address.length > 16 ? `${address.slice(0, 6)}…${address.slice(-5)}` : address
}

/** `usd-token` of a contract id. */
export function contractName(contractId: string): string {
  return contractId.split('.').at(-1) ?? contractId
}
