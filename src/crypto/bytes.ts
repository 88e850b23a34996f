import {
  sha256 as sha256OfBytes,
  sha512_256 as sha512_256OfBytes,
  sha512 as sha512OfBytes,
} from '@noble/hashes/sha2.js'

const HEX = Array.from({ length: 256 }, (_, byte) => byte.toString(16).padStart(2, '0'))

const HEX_CODES = Uint8Array.from('0123456789abcdef', (digit) => digit.charCodeAt(0))
const ASCII = new TextDecoder()
/** From so many bytes on, a text that is decoded at once costs less than one of as many parts. */
const MANY = 256

/** Hexadecimal text, lower case, of bytes. */
export function toHex(bytes: Uint8Array): string {
  if (bytes.length >= MANY) return manyToHex(bytes)
  let text = ''
  for (const byte of bytes) text += HEX[byte]
  return text
}

function manyToHex(bytes: Uint8Array): string {
  const codes = new Uint8Array(2 * bytes.length)
  for (const [at, byte] of bytes.entries()) {
    codes[2 * at] = HEX_CODES[byte >> 4] as number
    codes[2 * at + 1] = HEX_CODES[byte & 15] as number
  }
  return ASCII.decode(codes)
}

/** As `toHex`, of the bytes of a text without characters beyond ASCII. */
export function asciiToHex(text: string): string {
  let hex = ''
  for (let at = 0; at < text.length; at++) hex += HEX[text.charCodeAt(at)]
  return hex
}

/** Bytes of an even number of hexadecimal digits. Not checked: the caller knows them to be hexadecimal. */
export function fromHex(hex: string): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(hex.length / 2)
  for (let at = 0; at < bytes.length; at++) {
    const high = hex.charCodeAt(2 * at)
    const low = hex.charCodeAt(2 * at + 1)
    // The low four bits of 0-9 are the digit; those of A-F and a-f are 1 to 6, and bit 6 is set.
    bytes[at] = (((high & 15) + (high >> 6) * 9) << 4) | ((low & 15) + (low >> 6) * 9)
  }
  return bytes
}

const UTF8 = new TextEncoder()

/** SHA-256 of bytes, or of a text's UTF-8. */
export function sha256(data: string | Uint8Array): Uint8Array {
  return sha256OfBytes(typeof data === 'string' ? UTF8.encode(data) : data)
}

/** SHA-512 of a text's UTF-8. */
export function sha512(text: string): Uint8Array {
  return sha512OfBytes(UTF8.encode(text))
}

/** SHA-512/256 of bytes, which Stacks hashes transactions with. */
export function sha512_256(data: Uint8Array): Uint8Array {
  return sha512_256OfBytes(data)
}

/** Digits, then letters. */
export const BASE62 = '0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz'

/** Base62 text of bytes read as one big-endian number, padded with zeros to `length`. */
export function toBase62(bytes: Uint8Array, length: number): string {
  let number = BigInt(`0x${toHex(bytes)}`)
  let text = ''
  while (text.length < length) {
    text = BASE62.charAt(Number(number % 62n)) + text
    number /= 62n
  }
  return text
}
