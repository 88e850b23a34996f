import { fromHex, sha256, toHex } from '../crypto/bytes.ts'
import { memoize } from '../memoize.ts'

/** What the text of a Stacks address encodes. */
export interface C32Address {
  /** 0 to 31: which network, and a wallet or a script. */
  readonly version: number
  /** 20 bytes hex, lower case. */
  readonly hash160: string
}

// Crockford's base 32: no I, L, O or U. BigInt writes the digits of base 32 as 0-9 a-v.
const ALPHABET = '0123456789ABCDEFGHJKMNPQRSTVWXYZ'
const C32_TEXT = /^S([0-9A-HJKMNP-TV-Z])(0*)([1-9A-HJKMNP-TV-Z][0-9A-HJKMNP-TV-Z]*)$/
const PAYLOAD_HEX_LENGTH = 48
// `S`, the version and at most 39 digits. There is no shortest: leading zero bytes take digits away.
const MAX_TEXT_LENGTH = 41

/**
 * Encodes an address as c32check (SIP-005): `S`, the version, and the base 32 number of hash160 and checksum, with one 0
 * for each leading zero byte.
 */
export function encodeC32({ version, hash160 }: C32Address): string {
  const payload = hash160 + checksum(version, hash160)
  const zeroBytes = /^(?:00)*/.exec(payload)?.[0].length ?? 0
  const digits = BigInt(`0x${payload}`).toString(32)
  const number = Array.from(digits, (digit) => ALPHABET.charAt(Number.parseInt(digit, 32)))
  return `S${ALPHABET.charAt(version)}${'0'.repeat(zeroBytes / 2)}${number.join('')}`
}

/**
 * Decodes an address; undefined when the text is not the one that {@link encodeC32} returns. The aliases that c32 allows
 * (lower case, O for 0, I and L for 1) are refused: an owner has one spelling.
 */
export function decodeC32(text: string): C32Address | undefined {
  return text.length <= MAX_TEXT_LENGTH ? decode(text) : undefined
}

const decode = memoize(10_000, (text): C32Address | undefined => {
  const [, versionDigit = '', zeros = '', digits = ''] = C32_TEXT.exec(text) ?? []
  const hex = numberOf(digits).toString(16)
  const payload = '00'.repeat(zeros.length) + hex.padStart(hex.length + (hex.length % 2), '0')
  if (payload.length !== PAYLOAD_HEX_LENGTH) return undefined

  const version = ALPHABET.indexOf(versionDigit)
  const hash160 = payload.slice(0, 40)
  return checksum(version, hash160) === payload.slice(40) ? { version, hash160 } : undefined
})

function numberOf(digits: string): bigint {
  let number = 0n
  for (const digit of digits) number = number * 32n + BigInt(ALPHABET.indexOf(digit))
  return number
}

/** The first four bytes of the double SHA-256 of version and hash, hex. */
function checksum(version: number, hash160: string): string {
  const versionHex = version.toString(16).padStart(2, '0')
  return toHex(sha256(sha256(fromHex(versionHex + hash160)))).slice(0, 8)
}
