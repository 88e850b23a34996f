import { asciiToHex } from '../crypto/bytes.ts'
import { memoize } from '../memoize.ts'
import { decodeC32 } from './c32.ts'

declare const brand: unique symbol

/**
 * A Clarity value in consensus bytes (SIP-005), hex in lower case without 0x: what wallets take as a parameter and what
 * SIP-018 hashes. Only the types that intents and their terms need can be written.
 */
export type ClarityHex = string & { readonly [brand]: 'clarity' }

const MAX_UINT = 2n ** 128n - 1n
const ASCII = /^\p{ASCII}*$/u

/** `none`. */
export const NONE = '09' as ClarityHex

/** `(some value)`. */
export function some(value: ClarityHex): ClarityHex {
  return `0a${value}` as ClarityHex
}

/** A `uint`. Throws a RangeError outside of 0 to 2^128 - 1. */
export function uint(value: bigint): ClarityHex {
  if (value < 0n || value > MAX_UINT) throw new RangeError('A uint is 0 to 2^128 - 1.')
  return `01${value.toString(16).padStart(32, '0')}` as ClarityHex
}

/**
 * A `string-ascii`. Throws a TypeError for any other character: stacks.js keeps its low byte, so that a wallet would sign
 * another text than the one it was given.
 */
export function stringAscii(text: string): ClarityHex {
  if (!ASCII.test(text)) throw new TypeError('A string-ascii has no character beyond ASCII.')
  return `0d${hexOf(text.length, 4)}${asciiToHex(text)}` as ClarityHex
}

/** A `buff`, of its hex in lower case. */
export function buffer(hex: string): ClarityHex {
  return `02${hexOf(hex.length / 2, 4)}${hex}` as ClarityHex
}

/** The `principal` of a contract. Throws a TypeError when the text is no contract id. */
export function contractPrincipal(contractId: string): ClarityHex {
  return contractHex(contractId)
}

/** Few contracts are traded. */
const contractHex = memoize(1_000, (contractId): ClarityHex => {
  const dot = contractId.indexOf('.')
  const address = decodeC32(contractId.slice(0, dot))
  const name = contractId.slice(dot + 1)
  if (address === undefined || name === '' || name.length > 255 || !ASCII.test(name))
    throw new TypeError('A contract id is a Stacks address, a dot and a name.')
  return `06${hexOf(address.version, 1)}${address.hash160}${asciiName(name)}` as ClarityHex
})

/** The `principal` of an address, or of a contract. Throws a TypeError when the text is neither. */
export function principal(text: string): ClarityHex {
  if (text.includes('.')) return contractPrincipal(text)
  const address = decodeC32(text)
  if (address === undefined)
    throw new TypeError('A principal is a Stacks address or a contract id.')
  return `05${hexOf(address.version, 1)}${address.hash160}` as ClarityHex
}

/** A `tuple`, with its members in the order of their names. The names are ASCII, at most 128 characters. */
export function tuple(members: Readonly<Record<string, ClarityHex>>): ClarityHex {
  const names = Object.keys(members).sort()
  const entries = names.map((name) => `${asciiName(name)}${members[name]}`)
  return `0c${hexOf(names.length, 4)}${entries.join('')}` as ClarityHex
}

/** A name of ASCII characters, after the byte that says how long it is. */
export function asciiName(name: string): string {
  return nameHex(name)
}

const nameHex = memoize(1_000, (name) => hexOf(name.length, 1) + asciiToHex(name))

function hexOf(number: number, bytes: number): string {
  return number.toString(16).padStart(2 * bytes, '0')
}
